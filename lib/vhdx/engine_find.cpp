// What any thread may ask of an Engine, beside the owner that changes it: look-ups in memory, and
// the end of overwrites. What makes it right:
//
// One entry. A page is reached through its home by an acquire load, and its words are atomics. A
// page that has left the cache keeps its bytes until the look-up has ended (TableCache), so an
// entry in it is what it was when the look-up had begun: old, as for any read beside a change. What
// completed before the look-up began is seen: the owner stored it before it said so.
//
// Kept answers. A whole block's place may be kept by who looks at terms().moves first: the owner
// moves that on after the entry, and before anything follows from the change, so whoever still
// sees the old count is one of the transfers that its space waits for.
//
// Its space. A block that is cleared or replaced meanwhile gives up its space, which is neither
// used nor punched before every transfer of a reader that began earlier has ended
// (ActiveOperations).
//
// Holes. A page that is no longer a hole became dirty before that, so it cannot leave the cache
// before is_hole() says false. Whoever finds no page, and then a hole, looked before the first
// entry of the page was made.
//
// PARTIALLY_PRESENT: see find_partial().
#include "vhdx/engine_impl.hpp"

namespace openvhd::vhdx {
namespace {

// How many table entries one answer looks at, so that no call takes long.
constexpr unsigned kMostEntriesPerAnswer = 16384;

}  // namespace

void Engine::share(Readers& readers) noexcept {
  operations_.watch(readers);
  cache_.share(readers);
}

// The hot path, alone: what it does not need, it does not make room for.
bool Engine::find(VirtualOffset at, std::uint64_t length, Extent& extent) noexcept {
  const Piece piece = piece_of(at, length);
  const TablePage* const page = TableCache::in_memory(bat_pages_[piece.index / kTablePageWords]);
  if (page == nullptr) return find_elsewhere(at, length, extent);
  const BatEntry entry = entry_in(*page, piece.index);
  if (entry.payload_state() != PayloadState::fully_present) {
    return find_elsewhere(at, length, extent);
  }
  put_data(piece, entry, length, extent);
  return true;
}

bool Engine::find_elsewhere(VirtualOffset at, std::uint64_t length, Extent& extent) const noexcept {
  const Piece piece = piece_of(at, length);
  const std::uint64_t number = piece.index / kTablePageWords;
  const TablePage* const page = TableCache::in_memory(bat_pages_[number]);
  if (page == nullptr) {
    if (!is_hole(number)) return false;
    extent = empty_from(piece, length, Extent::Kind::absent);
    return true;
  }
  const BatEntry entry = entry_in(*page, piece.index);
  switch (entry.payload_state()) {
    case PayloadState::fully_present:
      put_data(piece, entry, length, extent);
      return true;
    case PayloadState::partially_present:
      return find_partial(piece, *page, entry, extent);
    case PayloadState::not_present:
      extent = empty_from(piece, length, Extent::Kind::absent);
      return true;
    case PayloadState::undefined:
    case PayloadState::zero:
    case PayloadState::unmapped:
      extent = empty_from(piece, length, Extent::Kind::zero);
      return true;
  }
  return false;
}

// A block that is being moved must not be overwritten where it was: from hide() on this does not
// answer for it, nor does anybody keep where it is, and before it is copied all who had an answer
// have ended their transfers (BlockMover::over()).
bool Engine::find_writable(VirtualOffset at, std::uint64_t length, Extent& extent) noexcept {
  if (!shared_.terms.may_overwrite.load(std::memory_order_acquire)) return false;
  const Piece piece = piece_of(at, length);
  const TablePage* const page = TableCache::in_memory(bat_pages_[piece.index / kTablePageWords]);
  if (page == nullptr) return false;
  // In this order. A transfer that began before hide() is waited for; one that began after it sees
  // that the block moves or, once show() has taken that back, the entry that was stored before.
  const std::uint64_t moving = shared_.moving.load(std::memory_order_acquire);
  if (moving == piece.block) return false;
  const BatEntry entry = entry_in(*page, piece.index);
  if (entry.payload_state() == PayloadState::fully_present) {
    put_data(piece, entry, length, extent);
    return moving < piece.block || moving > (at.value + extent.length - 1) >> block_shift_;
  }
  if (entry.payload_state() != PayloadState::partially_present) return false;
  // Sectors that are there stay there as long as the block lives: writing them sets no bit. As for
  // a read, the look-up belongs to one life of the block, whose space waits for this transfer.
  return find_partial(piece, *page, entry, extent) && extent.kind == Extent::Kind::data;
}

void Engine::overwritten() noexcept {
  // After the write on the host; noted() has the other half.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (shared_.data_written.load(std::memory_order_relaxed)) return;
  shared_.data_written.store(true, std::memory_order_release);
}

bool Engine::settled() const noexcept { return shared_.settled.load(std::memory_order_acquire); }

void Engine::extend_data(std::uint64_t block, std::uint64_t wanted, Extent& extent) const noexcept {
  for (unsigned looked = 0; extent.length < wanted && looked < kMostEntriesPerAnswer; ++looked) {
    ++block;
    const std::uint64_t index = block + (block >> ratio_shift_);
    const TablePage* page = TableCache::in_memory(bat_pages_[index / kTablePageWords]);
    if (page == nullptr) return;
    const BatEntry next = entry_in(*page, index);
    if (next.payload_state() != PayloadState::fully_present) return;
    if (next.offset() != extent.at + extent.length) return;
    extent.length += std::min(block_bytes(), wanted - extent.length);
  }
}

Extent Engine::empty_from(const Piece& piece, std::uint64_t wanted,
                          Extent::Kind kind) const noexcept {
  const std::uint64_t ratio = image_.counts.chunk_ratio;
  const std::uint64_t start = (piece.block << block_shift_) + piece.offset;
  const std::uint64_t end_block = div_ceil(start + wanted, block_bytes());
  // The first block is known. It is not looked at again: it may have changed since.
  std::uint64_t block = piece.block + 1;
  for (unsigned looked = 0; block < end_block && looked < kMostEntriesPerAnswer; ++looked) {
    const std::uint64_t index = block + (block >> ratio_shift_);
    const std::uint64_t number = index / kTablePageWords;
    const TablePage* page = TableCache::in_memory(bat_pages_[number]);
    if (page == nullptr) {
      if (kind != Extent::Kind::absent || !is_hole(number)) break;
      block = block_of_index((number + 1) * kTablePageWords, ratio);
      continue;
    }
    const unsigned state = entry_in(*page, index).state_bits();
    const bool alike = kind == Extent::Kind::absent ? state == 0 : state >= 1 && state <= 3;
    if (!alike) break;
    ++block;
  }
  const std::uint64_t end = std::min(start + wanted, block << block_shift_);
  return {.kind = kind, .at = {}, .length = end - start};
}

// What a look-up combines here, in the order in which it looks: an entry, whether bits are late,
// bits, and the entry again. In one life of a block, from the allocation that made it PARTIALLY to
// the change that ends that, bits go from clear to set alone, each after its data was written; a
// bit that is still clear is the old data of a write that has not completed.
//  - Bits of another life: they are cleared before the entry names the block, and an entry changes
//    before the next life clears and sets them. Bits are acquired, so a look-up that saw bits of a
//    later life sees another entry, or another page in the home, the second time.
//  - The same entry again is the same life: the space that it names is not used again while the
//    transfer that this look-up belongs to lasts, so no second life can have it.
//  - A whole block that was written becomes FULLY with its bits left clear: the second look.
//  - Bits that are late: the data is written, and the bits are not set because their page, or the
//    table's, is not in memory. `late` says so before the write is said to be complete, until they
//    are set. Hence it is asked before the bits.
//  - A bitmap page that left the cache: its bits are as old as the look-up.
//  - The place of a sector bitmap block: it is given once, and never changes. (Compaction will.)
bool Engine::find_partial(const Piece& piece, const TablePage& page, BatEntry entry,
                          Extent& extent) const noexcept {
  if (shared_.late.load(std::memory_order_acquire)) return false;
  BitmapHomes* const homes =
      bitmap_pages_[piece.block >> ratio_shift_].load(std::memory_order_acquire);
  if (homes == nullptr) return false;
  Bits bits = bits_of_piece(piece);
  bits.page = TableCache::in_memory((*homes)[bits.page_in_block]);
  if (bits.page == nullptr) return false;
  extent = partial_from(piece, entry, bits);
  const PageHome& home = bat_pages_[piece.index / kTablePageWords];
  return home.load(std::memory_order_acquire) == &page &&
         entry_in(page, piece.index).raw == entry.raw;
}

Extent Engine::partial_from(const Piece& piece, BatEntry entry, const Bits& bits) const noexcept {
  const BitRun run = bit_run(bits.page->words, bits.first, bits.count);
  return {.kind = run.set ? Extent::Kind::data : Extent::Kind::absent,
          .at = run.set ? entry.offset() + piece.offset : FileOffset{},
          .length = run.length << sector_shift_};
}

}  // namespace openvhd::vhdx
