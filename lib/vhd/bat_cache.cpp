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
      unseen_{pages_.size()} {
  homes_ = std::make_unique<std::atomic<BatPage*>[]>(pages_.size());
}

std::size_t BatCache::page_length(std::uint32_t page) const noexcept {
  return static_cast<std::size_t>(
      std::min<std::uint64_t>(kPageBytes, image_.table_bytes - std::uint64_t{page} * kPageBytes));
}

Pending BatCache::load(std::uint32_t block) noexcept {
  if (in_memory(block) != nullptr) return std::nullopt;
  return load_page(block / BatPage::kEntries);
}

Pending BatCache::load_page(std::uint32_t index) noexcept {
  auto& page = pages_[index];
  if (!page) {
    make_room();
    page = std::make_unique<BatPage>();
    page->loading = std::make_unique<BatPage::Loading>();
    ++in_memory_;
  }
  BatPage::Loading& loading = *page->loading;
  if (loading.call.idle()) {
    loading.call.read(entry_at(first_entry(index)),
                      std::as_writable_bytes(std::span{loading.entries}).first(page_length(index)),
                      "block allocation table: read (V03)");
  }
  if (auto blocked = advance(loading.call, token_of(TokenKind::table_page, index))) return blocked;
  judge(index);
  page->loading.reset();
  page->used.store(true, std::memory_order_relaxed);
  homes_[index].store(page.get(), std::memory_order_release);
  if (!seen_[index]) {
    seen_[index] = true;
    --unseen_;
  }
  return std::nullopt;
}

void BatCache::complete(std::uint32_t page, std::int32_t result) noexcept {
  pages_[page]->loading->call.completed(result);
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

/// What lies behind the entries that the disk uses is kept as it is, as it goes back to the file
/// with them.
void BatCache::judge(std::uint32_t index) noexcept {
  BatPage& page = *pages_[index];
  const std::uint32_t first = first_entry(index);
  const std::uint32_t count = std::min(BatPage::kEntries, image_.blocks - first);
  for (std::uint32_t i = 0; i < BatPage::kEntries; ++i) {
    const std::uint32_t start = page.loading->entries[i];
    BlockState state = start == kUnused ? BlockState::unused : BlockState::unknown;
    if (i < count && start != kUnused) {
      state = judge_entry(first + i, start);
      if (state != BlockState::unknown && !damage_) damage_ = error_of(first + i, state);
    }
    page.put(i, BlockEntry::at(start, state));
  }
}

BlockState BatCache::judge_entry(std::uint32_t block, std::uint32_t start) noexcept {
  if (judge_place(image_, block, start, data_limit_) != EntryVerdict::good)
    return BlockState::out_of_bounds;
  if (claims_.claim(start, block)) return BlockState::unknown;
  mark_rival_shared(claims_.rival());
  return BlockState::shared;
}

/// One whose page is not in memory is found out when that is loaded.
void BatCache::mark_rival_shared(std::uint32_t rival) noexcept {
  BatPage* const page = pages_[rival / BatPage::kEntries].get();
  if (page == nullptr) return;
  const std::uint32_t index = rival % BatPage::kEntries;
  page->put(index, BlockEntry::at(page->entry(index).start(), BlockState::shared));
}

Error BatCache::error_of(std::uint32_t block, BlockState state) const noexcept {
  return {.code = Errc::corrupt,
          .where = entry_at(block),
          .what = state == BlockState::shared
                      ? "block allocation table: two entries share a block (V04)"
                      : "block allocation table: entry out of bounds (V04)"};
}

void BatCache::set(std::uint32_t block, BlockEntry entry) noexcept {
  BatPage& page = *pages_[block / BatPage::kEntries];
  const std::uint32_t i = block % BatPage::kEntries;
  page.put(i, entry);
  if (page.dirty == 0) ++dirty_pages_;
  page.dirty = static_cast<std::uint8_t>(page.dirty | 1u << (i / kEntriesPerSector));
}

void BatCache::learn(std::uint32_t block, BlockEntry entry) noexcept {
  pages_[block / BatPage::kEntries]->put(block % BatPage::kEntries, entry);
}

void BatCache::hide_bits(std::uint32_t block, const SectorBits& bits, BlockState state) noexcept {
  BatPage* const page = pages_[block / BatPage::kEntries].get();
  const std::uint32_t i = block % BatPage::kEntries;
  if (page == nullptr || page->entry(i) != BlockEntry::partial(bits)) return;
  page->put(i, BlockEntry::at(bits.start(), state));
}

void BatCache::snapshot(std::uint64_t round, std::vector<Snapshot>& out) {
  for (std::uint32_t index = 0; dirty_pages_ != 0 && index < pages_.size(); ++index) {
    BatPage* const page = pages_[index].get();
    if (page == nullptr || page->dirty == 0) continue;
    const auto first = static_cast<std::uint32_t>(std::countr_zero(page->dirty));
    const auto end = static_cast<std::uint32_t>(std::bit_width(page->dirty));
    const FileOffset at = entry_at(first_entry(index)) + std::uint64_t{first} * kSectorBytes;
    const bool continues = !out.empty() && out.back().at + out.back().bytes.size() == at &&
                           out.back().bytes.size() < kMostSnapshotBytes;
    if (!continues) out.push_back({at, {}});
    std::vector<std::byte>& bytes = out.back().bytes;
    for (std::uint32_t i = first * kEntriesPerSector; i < end * kEntriesPerSector; ++i) {
      const Be32 start{page->entry(i).start()};
      const auto stored = std::as_bytes(std::span{&start, 1});
      bytes.insert(bytes.end(), stored.begin(), stored.end());
    }
    page->dirty = 0;
    page->round = round;
    --dirty_pages_;
  }
}

/// Second chance: a page that was used since the hand passed is spared once.
void BatCache::make_room() noexcept {
  limbo_.reclaim();
  for (std::size_t steps = 2 * pages_.size();
       steps > 0 && in_memory_ >= most_pages_ && !limbo_.is_full(); --steps) {
    const std::size_t index = hand_;
    auto& page = pages_[index];
    hand_ = hand_ + 1 == pages_.size() ? 0 : hand_ + 1;
    if (!page || page->loading || page->dirty != 0 || page->round > finished_round_) continue;
    if (page->used.exchange(false, std::memory_order_relaxed)) continue;
    homes_[index].store(nullptr, std::memory_order_release);
    limbo_.put(std::move(page));
    --in_memory_;
  }
}

}  // namespace openvhd::vhd
