// Changes to a sparse image: allocating, freeing and clearing blocks.
#include <algorithm>
#include <cassert>
#include <functional>

#include "vhd/sparse_layer.hpp"

namespace openvhd::vhd {
namespace {

/// Data of new blocks begins on this, for transfers past the page cache and shared extents.
constexpr std::uint64_t kDataAlignment = 4096;
/// What the table's sector numbers reach; all ones is no place.
constexpr std::uint64_t kMostBytes = std::uint64_t{kUnused} * kSectorBytes;

}  // namespace

/// Before the first change the whole table is judged, so that no damaged image is made worse.
Pending SparseLayer::ready_to_change() noexcept {
  if (poison_) return Blocked{refusal()};
  if (!writable_) return Blocked{Error{.code = Errc::read_only, .what = "opened for reading"}};
  if (!table_.all_seen()) {
    if (auto blocked = table_.load_all()) return blocked;
  }
  if (table_.damage()) return Blocked{*table_.damage()};
  if (!space_known_) find_space();
  admit_overwrites(true);
  return std::nullopt;
}

/// Another writer may have damaged a page since it was seen.
Pending SparseLayer::load_to_change(std::uint32_t block) noexcept {
  if (auto blocked = load_table(block)) return blocked;
  if (table_.damage()) return Blocked{*table_.damage()};
  return std::nullopt;
}

/// False for a last block that is cut off at the end of the disk, as long as nothing was put
/// behind it: the space of a whole block would reach over the footer.
bool SparseLayer::whole_in_file(std::uint32_t start) const noexcept {
  return range_fits(std::uint64_t{start} * kSectorBytes, image_.stride(), table_.data_limit());
}

std::uint64_t SparseLayer::end_of_blocks() noexcept {
  std::uint64_t end = table_.claims().end() * kSectorBytes;
  for (const FileRange& kept : image_.kept_ranges())
    end = std::max(end, kept.at.value + kept.length);
  return align_up(end, kSectorBytes);
}

void SparseLayer::find_space() noexcept {
  space_known_ = true;
  end_ = end_of_blocks();
  // Alignment costs up to 4 KiB a block: not where the table could then not reach the last one.
  const std::uint64_t missing = image_.blocks - table_.claims().count();
  aligned_ = range_fits(end_, missing * (image_.stride() + kDataAlignment), kMostBytes);
  find_gaps();
}

/// Space between blocks that a freed one, or another program, left behind. A gap may have room for
/// millions: it is kept as a run, or as few where something else lies in it. The first is to be
/// used first, and so comes last.
void SparseLayer::find_gaps() noexcept {
  std::vector<FileRange> kept = image_.kept_ranges();
  const auto end_of = [](const FileRange& k) { return k.at.value + k.length; };
  std::ranges::sort(kept, std::greater{}, end_of);
  const std::vector<std::uint32_t> starts = table_.claims().sorted_starts();
  for (std::size_t i = starts.size(); i-- > 1;) {
    const std::uint64_t begin = std::uint64_t{starts[i - 1]} * kSectorBytes + image_.stride();
    std::uint64_t end = std::uint64_t{starts[i]} * kSectorBytes;
    for (const FileRange& k : kept) {
      if (begin + image_.stride() > end) break;
      if (!ranges_overlap(begin, end - begin, k.at.value, k.length)) continue;
      add_gap(std::max(begin, align_up(end_of(k), kSectorBytes)), end);
      end = std::max(begin, k.at.value);
    }
    add_gap(begin, end);
  }
}

void SparseLayer::add_gap(std::uint64_t begin, std::uint64_t end) noexcept {
  if (begin + image_.stride() > end) return;
  free_.unused(narrow<std::uint32_t>(begin / kSectorBytes),
               narrow<std::uint32_t>((end - begin) / image_.stride()),
               narrow<std::uint32_t>(image_.stride() / kSectorBytes));
}

/// What waits for a flush takes memory: beyond the budget one is done here.
Pending SparseLayer::relieve() noexcept {
  if (!bitmaps_.crowded() && !table_.crowded() && relief_.target == 0) return std::nullopt;
  const auto step = flush(relief_);
  if (std::holds_alternative<IoCommand>(step)) return Blocked{std::get<IoCommand>(step)};
  if (std::holds_alternative<Wait>(step)) return Blocked{Wait{}};
  relief_ = {};
  if (const auto* error = std::get_if<Error>(&step)) return Blocked{*error};
  return std::nullopt;
}

Step<Extent> SparseLayer::place(VirtualOffset at, std::uint64_t length) noexcept {
  if (auto blocked = ready_to_change()) return *blocked;
  const Spot spot = spot_of(at, length);
  if (auto blocked = load_to_change(spot.block)) return *blocked;
  if (!holds_all(table_.entry(spot.block), spot)) {
    if (auto blocked = relieve()) return *blocked;
    if (table_.entry(spot.block).state() == BlockState::unused) {
      if (auto blocked = allocate(spot.block)) return *blocked;
    }
    if (auto blocked = look_at_bitmap(spot)) return *blocked;
    if (table_.entry(spot.block).state() == BlockState::partial)
      bitmaps_.promise(*bitmaps_.find(spot.block), spot.sectors);
  }
  return data(table_.entry(spot.block).start(), spot, spot.sectors);
}

void SparseLayer::wrote(VirtualOffset at, const Extent& placed) noexcept {
  overwritten();
  const Spot spot = spot_of(at, placed.length);
  Bitmap* const bitmap = bitmaps_.find(spot.block);
  if (bitmap == nullptr || !bitmap->loaded) return;
  // The block may have been freed and placed elsewhere since: then this write went nowhere.
  if (data_at(bitmap->bits.start(), spot.sector) != placed.at) return;
  bitmaps_.redeem(*bitmap, spot.sectors);
  if (!bitmap->bits.all_set(spot.sector, spot.sectors)) hold(*bitmap, spot);
}

/// The sectors of `spot` are data from now on. Not before that was written: until their bits are
/// set, look-ups find what was there.
void SparseLayer::hold(Bitmap& bitmap, const Spot& spot) noexcept {
  unsettle();
  bitmaps_.set(bitmap, spot.sector, spot.sectors);
  // Sequential writers have a clear bit right behind: no need to look at all of them.
  const std::uint32_t behind = spot.sector + spot.sectors;
  const std::uint32_t all = sectors_in(spot.block);
  if (behind < all && !bitmap.bits.all_set(behind, 1)) return;
  if (bitmap.bits.all_set(0, all)) table_.hide_bits(spot.block, bitmap.bits, BlockState::full);
}

Pending SparseLayer::allocate(std::uint32_t block) noexcept {
  auto found = std::ranges::find(allocations_, block, [](const auto& a) { return a->block; });
  if (found == allocations_.end()) {
    std::uint32_t start = 0;
    bool stale = false;
    if (auto blocked = pick_space(start, stale)) return blocked;
    layout_changed_ = true;
    table_.claims().claim(start, block);
    const auto first = stale ? Allocation::Stage::clear : Allocation::Stage::bitmap;
    allocations_.push_back(std::make_unique<Allocation>(Allocation{block, start, first, {}}));
    found = allocations_.end() - 1;
    begin(**found);
  }
  Allocation& allocation = **found;
  while (allocation.stage != Allocation::Stage::done) {
    if (auto blocked = advance(allocation.call, token_of(TokenKind::allocation, block))) {
      if (const auto* error = std::get_if<Error>(&blocked->why)) {
        table_.claims().release(allocation.start);
        free_.unused(allocation.start);
        if (fall_back(allocation, *error)) continue;
        forget(block);
      }
      return blocked;
    }
    allocation.call.reset();
    allocation.stage = allocation.stage == Allocation::Stage::clear ? Allocation::Stage::bitmap
                                                                    : Allocation::Stage::done;
    begin(allocation);
  }
  finish(allocation);
  forget(block);
  return std::nullopt;
}

Pending SparseLayer::pick_space(std::uint32_t& start, bool& stale) noexcept {
  start = free_.take(active_.oldest());
  stale = true;
  if (start != FreeBlocks::kNone) {
    assert(whole_in_file(start));
    return std::nullopt;
  }
  const std::uint64_t at = next_at_end();
  if (!range_fits(at, image_.stride(), kMostBytes)) {
    return Blocked{Error{.code = Errc::no_space,
                         .where = {at},
                         .what = "block allocation table: sector numbers end at 2 TiB (V04)"}};
  }
  if (auto blocked = tail_.make_room(at + image_.stride())) return blocked;
  start = take_at_end(at);
  stale = at < tail_.fresh_from();
  return std::nullopt;
}

std::uint64_t SparseLayer::next_at_end() const noexcept {
  if (!aligned_) return end_;
  return align_up(end_ + image_.bitmap_length, kDataAlignment) - image_.bitmap_length;
}

std::uint32_t SparseLayer::take_at_end(std::uint64_t at) noexcept {
  // A page that is loaded again holds entries up to here.
  table_.set_data_limit(tail_.limit());
  end_ = at + image_.stride();
  return narrow<std::uint32_t>(at / kSectorBytes);
}

/// Space of freed blocks went back to the host: it may have none to give when the file has room
/// ahead still. True when the allocation goes on there.
bool SparseLayer::fall_back(Allocation& allocation, const Error& error) noexcept {
  const std::uint64_t at = next_at_end();
  if (error.code != Errc::no_space || allocation.stage != Allocation::Stage::clear ||
      at < tail_.fresh_from() ||
      !range_fits(at, image_.stride(), std::min(tail_.limit(), kMostBytes)))
    return false;
  allocation.start = take_at_end(at);
  table_.claims().claim(allocation.start, allocation.block);
  allocation.stage = Allocation::Stage::bitmap;
  begin(allocation);
  return true;
}

void SparseLayer::begin(Allocation& allocation) noexcept {
  const FileOffset at{std::uint64_t{allocation.start} * kSectorBytes};
  if (allocation.stage == Allocation::Stage::clear) {
    allocation.call.run(IoCommand::Kind::zero, at, image_.stride(), "new block: clear (V08)");
  } else if (allocation.stage == Allocation::Stage::bitmap) {
    // A differencing block starts with all bits clear, as its space is; a dynamic one has no
    // parent to hide, and readers that never look at bitmaps agree with those that do.
    if (differencing())
      allocation.stage = Allocation::Stage::done;
    else
      allocation.call.write(at, full_bitmap_, "sector bitmap: write (V05)");
  }
}

void SparseLayer::finish(const Allocation& allocation) noexcept {
  overwritten();
  unsettle();
  ++counters_.allocated_blocks;
  const std::uint32_t block = allocation.block;
  table_.set(block, differencing()
                        ? BlockEntry::partial(bitmaps_.add_clear(block, allocation.start).bits)
                        : BlockEntry::at(allocation.start, BlockState::full));
}

void SparseLayer::forget(std::uint32_t block) noexcept {
  std::erase_if(allocations_, [block](const auto& a) { return a->block == block; });
}

Step<Cleared> SparseLayer::clear(VirtualOffset at, std::uint64_t length, ClearKind kind) noexcept {
  if (auto blocked = ready_to_change()) return *blocked;
  const Spot spot = spot_of(at, length);
  if (auto blocked = load_to_change(spot.block)) return *blocked;
  const bool unused = table_.entry(spot.block).state() == BlockState::unused;
  if (unused && !differencing())
    return Cleared{absent_from(*table_.in_memory(spot.block), spot, length), {}};
  if (auto blocked = relieve()) return *blocked;
  // Only sectors that are here hide the parent's.
  if (unused) {
    if (auto blocked = allocate(spot.block)) return *blocked;
  }
  const bool whole = spot.sector == 0 && spot.sectors == sectors_in(spot.block);
  // A batmap would go on calling a freed block full: there blocks stay and are cleared. So does
  // a block whose space nobody else could use.
  if (whole && !differencing() && !image_.has_batmap &&
      whole_in_file(table_.entry(spot.block).start()))
    return free_block(spot);
  return clear_sectors(spot, kind);
}

/// Out of sight first: what other threads have found until then, they may still use.
Step<Cleared> SparseLayer::free_block(const Spot& spot) noexcept {
  const std::uint32_t start = table_.entry(spot.block).start();
  if (bitmaps_.find(spot.block) != nullptr) {
    if (auto blocked = bitmaps_.load(spot.block, start)) return *blocked;
  }
  layout_changed_ = true;
  table_.claims().release(start);
  table_.set(spot.block, BlockEntry::unused());
  shared_.terms.moves.fetch_add(1, std::memory_order_release);
  bitmaps_.drop(spot.block);
  free_.freed(start, active_.latest());
  return Cleared{std::uint64_t{spot.sectors} * kSectorBytes, {}};
}

Step<Cleared> SparseLayer::clear_sectors(const Spot& spot, ClearKind kind) noexcept {
  if (auto blocked = look_at_bitmap(spot)) return *blocked;
  const BlockEntry entry = table_.entry(spot.block);
  std::uint32_t sectors = spot.sectors;
  if (entry.state() == BlockState::partial) {
    if (!differencing()) {
      const BitRun run = entry.bits().run(spot.sector, spot.sectors);
      sectors = run.length;
      if (!run.set) return Cleared{std::uint64_t{sectors} * kSectorBytes, {}};
    }
    bitmaps_.promise(*bitmaps_.find(spot.block), sectors);
  }
  const auto host = kind == ClearKind::trim ? IoCommand::Kind::punch : IoCommand::Kind::zero;
  return Cleared{std::uint64_t{sectors} * kSectorBytes,
                 Cleared::OnHost{host, data_at(entry.start(), spot.sector)}};
}

}  // namespace openvhd::vhd
