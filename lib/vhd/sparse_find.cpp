// What any thread may ask of a SparseLayer, beside the owner that changes it: look-ups in memory,
// and the end of overwrites. What makes it right:
//
// One word. An entry says where a block is and what is known of its bits, or leads to bits that
// know both; it is loaded once. So a look-up sees a block's place and state of one moment, never
// the place of one life with the bits of another.
//
// Its bits belong to one life of the block, from the change that gave it its place to the one that
// takes it: another life has others (BitmapCache::add_clear, load after drop). In one life bits
// go from clear to set alone, each after its data was written. One that is found set is data at
// that place; one that is still clear is the old data of a write that has not completed.
//
// Out of sight. A page leaves by its home, bits leave by the entry that leads to them, a block by
// its entry. Memory of the first two is used again when every look-up from before has ended
// (Limbo); an entry in such a page, a bit in such a bitmap, is what it was when the look-up had
// begun, or newer: old, as for any read beside a change. A page that left may lead to bits that
// leave later: those wait for the same look-up. What completed before a look-up began is seen: the
// owner stored it, and whatever led to an older copy was out of sight, before it said so.
//
// Space of a block is neither used nor punched before every transfer of a reader that began before
// has ended (ActiveOperations): so no other block gets it meanwhile. An overwrite whose block is
// freed on its way goes nowhere, as it does beside a trim in any order.
//
// Kept answers. A whole block's place may be kept by who looks at terms().moves first: the owner
// moves that on after the entry of a block that it frees, and before anything follows from that, so
// whoever still sees the old count is one of the transfers that the space waits for. A block that
// is full stays full as long as it lives, whatever is known of it.
//
// States. Unknown becomes full or partial when the owner has looked at the bits; partial becomes
// full when all are set, and unknown when they leave memory. Each says less than or as much as
// what a look-up that still has the former found.
//
// Settled. The owner says "not settled" before the store that makes an entry or a bit visible, and
// both are found by acquire loads: who has found one sees that, or the later "settled" of a round
// that made it durable. Freeing maps nothing, and does not unsettle.
#include <algorithm>

#include "vhd/sparse_layer.hpp"

namespace openvhd::vhd {

void SparseLayer::share(Readers& readers) noexcept {
  active_.watch(readers);
  table_.share(readers);
  bitmaps_.share(readers);
}

/// Neighbouring blocks have their bitmaps in between: each is an extent of its own.
bool SparseLayer::find(VirtualOffset at, std::uint64_t length, Extent& extent) noexcept {
  const Spot spot = spot_of(at, length);
  const BatPage* const page = table_.in_memory(spot.block);
  if (page == nullptr) return false;
  const BlockEntry entry = page->entry(spot.index);
  switch (entry.state()) {
    case BlockState::full:
      extent = data(entry.start(), spot, spot.sectors);
      extent.whole_block = true;
      return true;
    case BlockState::partial:
      extent = partial_from(entry.bits(), spot);
      return true;
    case BlockState::unused:
      extent = {Extent::Kind::absent, {}, absent_from(*page, spot, length)};
      return true;
    case BlockState::unknown:
    case BlockState::out_of_bounds:
    case BlockState::shared:
      return false;
  }
  return false;
}

bool SparseLayer::find_writable(VirtualOffset at, std::uint64_t length, Extent& extent) noexcept {
  if (!shared_.terms.may_overwrite.load(std::memory_order_acquire)) return false;
  const Spot spot = spot_of(at, length);
  const BatPage* const page = table_.in_memory(spot.block);
  if (page == nullptr) return false;
  const BlockEntry entry = page->entry(spot.index);
  if (!holds_all(entry, spot)) return false;
  extent = data(entry.start(), spot, spot.sectors);
  return true;
}

void SparseLayer::overwritten() noexcept {
  // After the write on the host; start_round() has the other half.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (shared_.data_written.load(std::memory_order_relaxed)) return;
  shared_.data_written.store(true, std::memory_order_release);
}

bool SparseLayer::settled() const noexcept {
  return shared_.settled.load(std::memory_order_acquire);
}

/// True when writing there changes nothing but payload: all bits of the range are set.
bool SparseLayer::holds_all(BlockEntry entry, const Spot& spot) noexcept {
  if (entry.state() == BlockState::full) return true;
  if (entry.state() != BlockState::partial) return false;
  entry.bits().note_use();
  return entry.bits().all_set(spot.sector, spot.sectors);
}

Extent SparseLayer::partial_from(const SectorBits& bits, const Spot& spot) const noexcept {
  bits.note_use();
  const BitRun run = bits.run(spot.sector, spot.sectors);
  if (run.set) return data(bits.start(), spot, run.length);
  const auto kind = differencing() ? Extent::Kind::absent : Extent::Kind::zero;
  return {kind, {}, std::uint64_t{run.length} * kSectorBytes};
}

/// Blocks that are not there are answered together, as far as one page of the table reaches. The
/// first is known not to be: it is not looked at again, as it may have changed since.
std::uint64_t SparseLayer::absent_from(const BatPage& page, const Spot& spot,
                                       std::uint64_t length) const noexcept {
  std::uint64_t covered = image_.block_size - std::uint64_t{spot.sector} * kSectorBytes;
  for (std::uint32_t i = spot.index + 1; i < BatPage::kEntries && covered < length; ++i) {
    if (page.entry(i).state() != BlockState::unused) break;
    covered += image_.block_size;
  }
  return std::min(covered, length);
}

void SparseLayer::admit_overwrites(bool may) noexcept {
  if (shared_.terms.may_overwrite.load(std::memory_order_relaxed) == may) return;
  shared_.terms.may_overwrite.store(may, std::memory_order_release);
}

void SparseLayer::unsettle() noexcept {
  if (!shared_.settled.load(std::memory_order_relaxed)) return;
  // The change that follows is a release: who sees it sees this.
  shared_.settled.store(false, std::memory_order_relaxed);
}

}  // namespace openvhd::vhd
