#include "image/queue/chain_finder.hpp"

#include <algorithm>
#include <bit>

#include "base/checked.hpp"

namespace openvhd {
namespace {

constexpr unsigned kFineShift = 12;
constexpr unsigned kLeastCoarseShift = 16;
constexpr unsigned kMostCoarseShift = 28;

// A word: bit 63 says that there is something; then the tag, the layer, the place in sectors.
constexpr unsigned kTagBits = 17;
constexpr unsigned kLayerBits = 6;
constexpr unsigned kPlaceBits = 40;
constexpr unsigned kSectorShift = 9;
static_assert(1 + kTagBits + kLayerBits + kPlaceBits == 64);
constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;
constexpr std::uint64_t kPlaceMask = (std::uint64_t{1} << kPlaceBits) - 1;
constexpr std::uint64_t kZeroPlace = kPlaceMask;
constexpr std::uint64_t kMixedPlace = kPlaceMask - 1;

}  // namespace

void ChainFinder::Memory::open(unsigned granule_shift, std::uint64_t words) {
  granule_shift_ = granule_shift;
  index_bits_ = static_cast<unsigned>(std::bit_width(words) - 1);
  words_ = std::make_unique<std::atomic<std::uint64_t>[]>(std::uint64_t{1} << index_bits_);
}

std::atomic<std::uint64_t>& ChainFinder::Memory::word_of(std::uint64_t granule) const noexcept {
  return words_[granule & ((std::uint64_t{1} << index_bits_) - 1)];
}

/// What tells granules apart that share a word; empty for one too far up to be told.
std::optional<std::uint64_t> ChainFinder::Memory::tag_of(std::uint64_t granule) const noexcept {
  const std::uint64_t tag = granule >> index_bits_;
  if (tag >> kTagBits != 0) return std::nullopt;
  return kPresent | tag << (kLayerBits + kPlaceBits);
}

ChainFinder::Memory::Answer ChainFinder::Memory::look(std::uint64_t granule,
                                                      Found& out) const noexcept {
  const auto tag = tag_of(granule);
  if (!tag) return Answer::mixed;
  const std::uint64_t word = word_of(granule).load(std::memory_order_relaxed);
  if (word >> (kLayerBits + kPlaceBits) != *tag >> (kLayerBits + kPlaceBits))
    return Answer::unknown;
  const std::uint64_t place = word & kPlaceMask;
  if (place == kMixedPlace) return Answer::mixed;
  out.layer = static_cast<std::uint32_t>(word >> kPlaceBits & ((1u << kLayerBits) - 1));
  out.extent.kind = place == kZeroPlace ? Extent::Kind::zero : Extent::Kind::data;
  out.extent.at = {place == kZeroPlace ? 0 : place << kSectorShift};
  return Answer::known;
}

void ChainFinder::Memory::keep(std::uint64_t granule, const Found& found) noexcept {
  const auto tag = tag_of(granule);
  const bool zero = found.extent.kind == Extent::Kind::zero;
  const std::uint64_t place = zero ? kZeroPlace : found.extent.at.value >> kSectorShift;
  const bool fits = zero || (place < kMixedPlace &&
                             found.extent.at.value % (std::uint64_t{1} << kSectorShift) == 0);
  if (!tag || !fits || found.layer >> kLayerBits != 0) return;
  word_of(granule).store(*tag | std::uint64_t{found.layer} << kPlaceBits | place,
                         std::memory_order_relaxed);
}

void ChainFinder::Memory::keep_mixed(std::uint64_t granule) noexcept {
  if (const auto tag = tag_of(granule))
    word_of(granule).store(*tag | kMixedPlace, std::memory_order_relaxed);
}

ChainFinder::ChainFinder(const Chain& chain, std::uint64_t cache_bytes) : chain_{chain} {
  if (chain.depth() < 2) return;
  // Granules as large as the blocks that answer, so that one word answers for one.
  std::uint64_t least = std::uint64_t{1} << kMostCoarseShift;
  for (std::uint32_t i = 0; i < chain.depth(); ++i) {
    const std::uint64_t block = chain.layer(i).geometry().block_size;
    if (block != 0) least = std::min(least, block);
  }
  const auto shift = static_cast<unsigned>(std::bit_width(least) - 1);
  const std::uint64_t words =
      std::max<std::uint64_t>(1024, cache_bytes / 2 / sizeof(std::uint64_t));
  coarse_.open(std::clamp(shift, kLeastCoarseShift, kMostCoarseShift), words);
  fine_.open(kFineShift, words);
}

bool ChainFinder::find_in_parents(VirtualOffset at, std::uint64_t length, Found& out) noexcept {
  if (chain_.depth() == 1) {
    if (!chain_.complete()) return false;
    out.extent = {.kind = Extent::Kind::zero, .at = {}, .length = length};
    out.layer = 0;
    return true;
  }
  bool mixed = false;
  if (remembered(coarse_, at, length, out, mixed)) return true;
  if (mixed && remembered(fine_, at, length, out, mixed)) return true;
  return walk(at, length, out);
}

/// The answer by the granule that `at` lies in, looked up now if nobody has; false when it has
/// not one, or cannot be had from memory.
bool ChainFinder::remembered(Memory& memory, VirtualOffset at, std::uint64_t length, Found& out,
                             bool& mixed) noexcept {
  const std::uint64_t granule = at.value >> memory.granule_shift();
  const VirtualOffset start{granule << memory.granule_shift()};
  const std::uint64_t bytes = std::min(std::uint64_t{1} << memory.granule_shift(),
                                       chain_.geometry().virtual_size - start.value);
  auto answer = memory.look(granule, out);
  if (answer == Memory::Answer::unknown) {
    if (!walk(start, bytes, out)) return false;
    if (out.extent.length == bytes) {
      memory.keep(granule, out);
      answer = Memory::Answer::known;
    } else {
      memory.keep_mixed(granule);
      answer = Memory::Answer::mixed;
    }
  }
  mixed = answer == Memory::Answer::mixed;
  if (mixed) return false;
  if (out.extent.kind == Extent::Kind::data) out.extent.at = out.extent.at + (at - start);
  out.extent.length = std::min(length, bytes - (at - start));
  return true;
}

/// Layer by layer, without the leaf.
bool ChainFinder::walk(VirtualOffset at, std::uint64_t length, Found& out) const noexcept {
  for (std::uint32_t i = 1; i < chain_.depth(); ++i) {
    // A child may be larger than its parent: beyond that there are zeros.
    const std::uint64_t parent_size = chain_.layer(i).geometry().virtual_size;
    if (at.value >= parent_size) break;
    length = std::min(length, parent_size - at.value);
    if (!chain_.layer(i).find(at, length, out.extent)) return false;
    if (out.extent.kind != Extent::Kind::absent) {
      out.layer = i;
      return true;
    }
    length = out.extent.length;
    if (i + 1 == chain_.depth() && !chain_.complete()) return false;
  }
  out.extent = {.kind = Extent::Kind::zero, .at = {}, .length = length};
  out.layer = chain_.depth() - 1;
  return true;
}

}  // namespace openvhd
