#include "io/block_places.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/checked.hpp"

namespace openvhd {

constinit const AnswerTerms BlockPlaces::kNoTerms{};

void BlockPlaces::open(const Layer& leaf) {
  close();
  auto terms = leaf.terms();
  const std::uint64_t block_bytes = leaf.geometry().block_size;
  if (terms == nullptr || block_bytes == 0) return;
  const std::uint64_t blocks = div_ceil(leaf.geometry().virtual_size, block_bytes);
  if (!std::has_single_bit(block_bytes)) return;
  keeper_ = std::move(terms);
  terms_ = keeper_.get();
  shift_ = static_cast<unsigned>(std::countr_zero(block_bytes));
  block_bytes_ = block_bytes;
  whole_blocks_ = leaf.geometry().virtual_size / block_bytes;
  entries_.assign(std::bit_ceil(std::clamp<std::uint64_t>(blocks, 1, kMostEntries)), {});
  index_mask_ = entries_.size() - 1;
}

void BlockPlaces::close() noexcept {
  terms_ = &kNoTerms;
  keeper_.reset();
  shift_ = 63;
  block_bytes_ = 1;
  whole_blocks_ = 0;
  index_mask_ = 0;
  entries_.assign(1, {});
}

void BlockPlaces::keep(VirtualOffset at, FileOffset found, std::uint64_t moves) noexcept {
  const std::uint64_t block = at.value >> shift_;
  if (block >= whole_blocks_) return;
  entries_[block & index_mask_] = {moves, block, {found.value - (at.value & (block_bytes_ - 1))}};
}

}  // namespace openvhd
