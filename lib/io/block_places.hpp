/// Where whole blocks of the leaf are, as one queue has found them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "io/layer.hpp"

namespace openvhd {

/// Answers of Layer::find() that say `whole_block`, kept by block: what serves a mapped request
/// without asking the layer. An answer counts as long as the layer's terms say so; each block has
/// one place here, where it may displace another. One thread's.
class BlockPlaces {
 public:
  /// Remembers nothing, as long as open() was not called.
  BlockPlaces() : entries_(1) {}

  /// Forgets what was kept, and keeps answers of `leaf` from now on; none of layers that have no
  /// terms or no blocks. The layer may go away: its terms have to say so first.
  void open(const Layer& leaf);
  /// Keeps nothing any more.
  void close() noexcept;

  /// True when [at, at + length) lies in one block that is known, and is not empty; `out` is where.
  /// To be called, and used, inside a transfer of Readers.
  bool look(VirtualOffset at, std::uint64_t length, FileOffset& out) const noexcept {
    const std::uint64_t block = at.value >> shift_;
    const std::uint64_t offset = at.value & (block_bytes_ - 1);
    const std::uint64_t rest = block_bytes_ - offset;
    const Entry& entry = entries_.data()[block & index_mask_];
    if (entry.moves != terms_->moves.load(std::memory_order_acquire) || entry.block != block ||
        length - 1 >= rest) {
      return false;
    }
    out = entry.place + offset;
    return true;
  }
  /// The same for a write that changes nothing but payload.
  bool look_writable(VirtualOffset at, std::uint64_t length, FileOffset& out) const noexcept {
    return terms_->may_overwrite.load(std::memory_order_acquire) && look(at, length, out);
  }

  /// How many moves there have been: to be asked before the look-up whose answer is kept.
  std::uint64_t moves() const noexcept { return terms_->moves.load(std::memory_order_acquire); }
  /// Keeps what the leaf found for `at`, a data extent in a whole block.
  void keep(VirtualOffset at, FileOffset found, std::uint64_t moves) noexcept;

 private:
  static constexpr std::uint64_t kMostEntries = 16384;
  static constexpr std::uint64_t kNever = ~std::uint64_t{0};

  struct Entry {
    std::uint64_t moves = kNever;  // when it was found
    std::uint64_t block = 0;
    FileOffset place{};
  };

  static const AnswerTerms kNoTerms;
  std::shared_ptr<const AnswerTerms> keeper_;
  const AnswerTerms* terms_ = &kNoTerms;
  unsigned shift_ = 63;
  std::uint64_t block_bytes_ = 1;
  std::uint64_t whole_blocks_ = 0;  // that lie inside the disk to their end
  std::uint64_t index_mask_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace openvhd
