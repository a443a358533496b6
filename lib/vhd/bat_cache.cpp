#include "vhd/bat_cache.hpp"

#include <algorithm>

#include "vhd/scan.hpp"

namespace openvhd::vhd {
namespace {

constexpr std::size_t kPageBytes = BatPage::kEntries * kEntryBytes;
constexpr std::uint32_t kEntriesPerSector = kSectorBytes / kEntryBytes;
/// Neighbouring pages are written in one go up to this.
constexpr std::size_t kMostSnapshotBytes = 256 * kKiB;

}  // namespace

BatCache::BatCache(const ParsedImage& image, std::uint64_t budget_bytes, std::uint64_t seed)
    : image_{image},
      most_pages_{std::max<std::uint64_t>(4, budget_bytes / sizeof(BatPage))},
      data_limit_{image.data_limit()},
      claims_{narrow<std::uint32_t>(image.stride() / kSectorBytes), image.blocks, seed},
      pages_(div_ceil(image.blocks, BatPage::kEntries)),
      seen_(pages_.size()),
      unseen_{pages_.size()} {}

std::size_t BatCache::page_length(std::uint32_t page) const noexcept {
  return static_cast<std::size_t>(
      std::min<std::uint64_t>(kPageBytes, image_.table_bytes - std::uint64_t{page} * kPageBytes));
}

Pending BatCache::load(std::uint32_t block) noexcept {
  BatPage* const page = resident(block);
  if (page == nullptr) return load_page(block / BatPage::kEntries);
  page->used = true;
  return std::nullopt;
}

Pending BatCache::load_page(std::uint32_t index) noexcept {
  auto& page = pages_[index];
  if (!page) {
    make_room();
    page = std::make_unique<BatPage>();
    ++in_memory_;
  }
  if (page->call.idle()) {
    page->call.read(entry_at(first_entry(index)),
                    std::as_writable_bytes(std::span{page->entries}).first(page_length(index)),
                    "block allocation table: read (V03)");
  }
  if (auto blocked = advance(page->call, token_of(TokenKind::table_page, index))) return blocked;
  page->call.reset();
  page->loaded = true;
  page->used = true;
  judge(index);
  if (!seen_[index]) {
    seen_[index] = true;
    --unseen_;
  }
  return std::nullopt;
}

void BatCache::complete(std::uint32_t page, std::int32_t result) noexcept {
  pages_[page]->call.completed(result);
}

Pending BatCache::load_all() noexcept {
  while (unseen_ != 0) {
    if (!seen_[scan_]) {
      if (auto blocked = load(first_entry(scan_))) return blocked;
    }
    scan_ = scan_ + 1 == pages_.size() ? 0 : scan_ + 1;
  }
  return std::nullopt;
}

void BatCache::judge(std::uint32_t index) noexcept {
  BatPage& page = *pages_[index];
  const std::uint32_t first = first_entry(index);
  const std::uint32_t count = std::min(BatPage::kEntries, image_.blocks - first);
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t start = page.entries[i];
    page.states[i] = BlockState::unknown;
    if (start == kUnused) continue;
    page.states[i] = judge_entry(first + i, start);
    if (page.states[i] != BlockState::unknown && !damage_)
      damage_ = error_of(first + i, page.states[i]);
  }
}

BlockState BatCache::judge_entry(std::uint32_t block, std::uint32_t start) noexcept {
  if (judge_place(image_, block, start, data_limit_) != EntryVerdict::good)
    return BlockState::out_of_bounds;
  if (claims_.claim(start, block)) return BlockState::unknown;
  if (BatPage* const other = resident(claims_.rival()))
    other->states[claims_.rival() % BatPage::kEntries] = BlockState::shared;
  return BlockState::shared;
}

Error BatCache::error_of(std::uint32_t block, BlockState state) const noexcept {
  return {.code = Errc::corrupt,
          .where = entry_at(block),
          .what = state == BlockState::shared
                      ? "block allocation table: two entries share a block (V04)"
                      : "block allocation table: entry out of bounds (V04)"};
}

void BatCache::set(std::uint32_t block, std::uint32_t start, BlockState state) noexcept {
  BatPage& page = page_of(block);
  const std::uint32_t i = block % BatPage::kEntries;
  page.entries[i] = start;
  page.states[i] = state;
  if (page.dirty == 0) ++dirty_pages_;
  page.dirty = static_cast<std::uint8_t>(page.dirty | 1u << (i / kEntriesPerSector));
}

void BatCache::snapshot(std::uint64_t round, std::vector<Snapshot>& out) {
  for (std::uint32_t index = 0; dirty_pages_ != 0 && index < pages_.size(); ++index) {
    BatPage* const page = pages_[index].get();
    if (page == nullptr || page->dirty == 0) continue;
    const auto first = static_cast<std::size_t>(std::countr_zero(page->dirty)) * kSectorBytes;
    const auto end = static_cast<std::size_t>(std::bit_width(page->dirty)) * kSectorBytes;
    const auto bytes = std::as_bytes(std::span{page->entries}).subspan(first, end - first);
    const FileOffset at = entry_at(first_entry(index)) + first;
    const bool continues = !out.empty() && out.back().at + out.back().bytes.size() == at &&
                           out.back().bytes.size() < kMostSnapshotBytes;
    if (!continues) out.push_back({at, {}});
    out.back().bytes.insert(out.back().bytes.end(), bytes.begin(), bytes.end());
    page->dirty = 0;
    page->round = round;
    --dirty_pages_;
  }
}

/// Second chance: a page that was used since the hand passed is spared once.
void BatCache::make_room() noexcept {
  for (std::size_t steps = 2 * pages_.size(); steps > 0 && in_memory_ >= most_pages_; --steps) {
    auto& page = pages_[hand_];
    hand_ = hand_ + 1 == pages_.size() ? 0 : hand_ + 1;
    if (!page || !page->loaded || page->dirty != 0 || page->round > finished_round_) continue;
    if (std::exchange(page->used, false)) continue;
    page.reset();
    --in_memory_;
  }
}

}  // namespace openvhd::vhd
