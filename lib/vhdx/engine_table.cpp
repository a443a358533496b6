// Table entries and sector bitmaps of an Engine: finding, judging, changing.
#include <algorithm>

#include "base/try.hpp"
#include "vhdx/engine_impl.hpp"

namespace openvhd::vhdx {
namespace {

// Most reasons kept; further bad entries are judged again when somebody asks.
constexpr std::size_t kMostBadEntries = 1024;

constexpr std::uint64_t kBitsPerPage = kTablePageBytes * 8;

}  // namespace

std::uint64_t Engine::block_bytes_in_disk(std::uint64_t block) const noexcept {
  return std::min(image_.geometry.block_size,
                  image_.geometry.virtual_size - (block << block_shift_));
}

Step<TablePage*> Engine::bat_page(std::uint64_t index) noexcept {
  const std::uint64_t page = index / kTablePageWords;
  return cache_.get(bat_pages_[page], bat_page_at(page), false);
}

Step<TablePage*> Engine::bat_page_to_change(std::uint64_t index) noexcept {
  const std::uint64_t page = index / kTablePageWords;
  if (!is_hole(page)) return bat_page(index);
  TablePage* zeros = cache_.make_zero(bat_pages_[page], bat_page_at(page));
  if (zeros == nullptr) return Wait{};
  return zeros;
}

void Engine::put_entry(TablePage& page, std::uint64_t index, BatEntry entry, Order order) noexcept {
  unsettle();
  if (order == Order::data_first) journal_.require_data_first();
  const std::uint64_t word = index % kTablePageWords;
  const BatEntry before = entry_in(page, index);
  page.words[word].store(table_order(entry.raw), std::memory_order_release);
  if (before.payload_state() == PayloadState::fully_present && before.raw != entry.raw)
    shared_.terms.moves.fetch_add(1, std::memory_order_release);
  cache_.mark_dirty(page, word);
  // No longer a hole, and all that it holds came from Space: nothing to claim when it is loaded.
  // The page is dirty: whoever does not find it in memory, once it has left, sees this.
  const std::uint64_t number = index / kTablePageWords;
  if (is_hole(number)) bat_holes_[number].store(false, std::memory_order_release);
  bat_claimed_[number] = true;
}

void Engine::judge_bat_page(TablePage& page) noexcept {
  const std::uint64_t number = (page.at - image_.bat.at) / kTablePageBytes;
  const std::uint64_t first = number * kTablePageWords;
  const std::uint64_t end = std::min(first + kTablePageWords, image_.counts.entries);
  const bool claim = !bat_claimed_[number];
  for (std::uint64_t index = first; index < end; ++index) {
    const BatEntry entry = entry_in(page, index);
    if (entry.raw == 0) continue;
    if (const Status good = judge_entry(entry, index, claim); !good) {
      keep_bad_entry(page, index, good.error());
    }
  }
  // What was found to overlap when the page was first loaded is not found again by itself.
  for (auto bad = bad_entries_.lower_bound(first); bad != bad_entries_.end() && bad->first < end;
       ++bad) {
    page.words[bad->first - first].store(table_order(kBadEntry), std::memory_order_release);
  }
  bat_claimed_[number] = true;
}

Status Engine::judge_entry(BatEntry entry, std::uint64_t index, bool claim) noexcept {
  const EntryRules rules = image_.entry_rules(space_.file_bytes());
  const FileOffset at = entry_at(index);
  const bool is_bitmap = is_bitmap_index(index, image_.counts.chunk_ratio);
  bool owns = false;
  if (is_bitmap) {
    OVHD_CHECK(validate_bitmap_entry(entry, rules, at));
    owns = bitmap_has_data(entry);
  } else {
    const std::uint64_t block = block_of_index(index, image_.counts.chunk_ratio);
    OVHD_CHECK(validate_payload_entry(entry, block, rules, at));
    owns = payload_has_data(entry);
  }
  if (!claim) return Ok{};
  const std::uint64_t length = is_bitmap ? kBitmapBlockBytes : image_.geometry.block_size;
  if (owns && (!is_bitmap || image_.has_parent)) {
    if (!is_bitmap) ++present_blocks_;
    if (range_fits(entry.offset().value, length, kMaxSpaceBytes) &&
        !space_.claim(entry.offset(), length)) {
      return Error{.code = Errc::corrupt,
                   .where = at,
                   .what = "BAT entry: shares file space with another one (2.5, X14)"};
    }
  } else if (owns && range_fits(entry.offset().value, length, rules.file_bytes)) {
    space_.avoid(entry.offset(), length);  // seen in the wild in files without a parent
  } else if (!is_bitmap) {
    if (const auto anchor = soft_anchor(entry, rules)) space_.avoid(*anchor, length);
  }
  return Ok{};
}

void Engine::keep_bad_entry(TablePage& page, std::uint64_t index, const Error& error) noexcept {
  page.words[index % kTablePageWords].store(table_order(kBadEntry), std::memory_order_release);
  shared_.terms.moves.fetch_add(1, std::memory_order_release);
  if (bad_entries_.size() < kMostBadEntries) bad_entries_.try_emplace(index, error);
  if (!damage_) damage_ = error;
  publish_state();
}

Error Engine::bad_entry(std::uint64_t index) const noexcept {
  if (const auto found = bad_entries_.find(index); found != bad_entries_.end()) {
    return found->second;
  }
  return {.code = Errc::corrupt,
          .where = entry_at(index),
          .what = "BAT entry: breaks a rule (2.5.1, X12-X14), in a table with many that do"};
}

Step<Ok> Engine::claim_all() noexcept {
  for (; claim_cursor_ < bat_page_count_; ++claim_cursor_) {
    if (is_hole(claim_cursor_) || bat_claimed_[claim_cursor_]) continue;
    OVHD_STEP_DONE(cache_.get(bat_pages_[claim_cursor_], bat_page_at(claim_cursor_), false));
  }
  return Ok{};
}

PageHome& Engine::bitmap_home(std::uint64_t chunk, std::uint64_t page) {
  std::atomic<BitmapHomes*>& pages = bitmap_pages_[chunk];
  if (pages.load(std::memory_order_relaxed) == nullptr) {
    bitmap_homes_.push_back(std::make_unique<BitmapHomes>());
    pages.store(bitmap_homes_.back().get(), std::memory_order_release);
  }
  return (*pages.load(std::memory_order_relaxed))[page];
}

Engine::Bits Engine::bits_of_piece(const Piece& piece) const noexcept {
  const std::uint64_t block_in_chunk = piece.block & ((std::uint64_t{1} << ratio_shift_) - 1);
  const std::uint64_t bit = ((block_in_chunk << block_shift_) + piece.offset) >> sector_shift_;
  // The bits of a block lie in one page: at most 64 KiB of them, aligned to their number.
  return {.page = nullptr,
          .page_in_block = bit / kBitsPerPage,
          .first = bit % kBitsPerPage,
          .count = piece.length >> sector_shift_};
}

Step<Engine::Bits> Engine::load_bits(const Piece& piece) noexcept {
  const std::uint64_t chunk = piece.block >> ratio_shift_;
  const std::uint64_t index = bitmap_index(chunk, image_.counts.chunk_ratio);
  BatEntry entry;
  if (!is_hole(index / kTablePageWords)) {
    OVHD_STEP(const TablePage* table, bat_page(index));
    entry = entry_in(*table, index);
  }
  if (entry.state_bits() == kBadEntry) return bad_entry(index);
  if (!bitmap_has_data(entry)) {
    return Error{.code = Errc::corrupt,
                 .where = entry_at(index),
                 .what = "BAT: a PARTIALLY_PRESENT block without its sector bitmap (2.5.1, X15)"};
  }
  Bits bits = bits_of_piece(piece);
  OVHD_STEP(bits.page, cache_.get(bitmap_home(chunk, bits.page_in_block),
                                  entry.offset() + bits.page_in_block * kTablePageBytes, true));
  return bits;
}

Engine::Bits Engine::bits_in_memory(const Piece& piece) noexcept {
  Bits bits = bits_of_piece(piece);
  bits.page = TableCache::in_memory(bitmap_home(piece.block >> ratio_shift_, bits.page_in_block));
  return bits;
}

void Engine::change_bits(const Bits& bits, bool value) noexcept {
  unsettle();
  journal_.require_data_first();
  if (!put_bits(bits.page->words, bits.first, bits.count, value)) return;
  constexpr std::uint64_t kSectorWords = kLogSectorBytes / sizeof(TableWord);
  const std::uint64_t last = (bits.first + bits.count - 1) / 64;
  for (std::uint64_t word = bits.first / 64; word <= last; word += kSectorWords) {
    cache_.mark_dirty(*bits.page, word);
  }
  cache_.mark_dirty(*bits.page, last);
}

}  // namespace openvhd::vhdx
