/// What is known of a block, in one word: other threads see all of it as it was at one moment.
#pragma once

#include <bit>
#include <cstdint>

#include "vhd/layout.hpp"
#include "vhd/sector_bits.hpp"

namespace openvhd::vhd {

enum class BlockState : std::uint8_t {
  unused,   ///< The image does not hold it.
  unknown,  ///< Its bits have not been looked at, or have left memory.
  full,     ///< All bits of sectors inside the disk are set.
  partial,  ///< Some are clear, or were when last looked at: bits() has them.
  out_of_bounds,
  shared,  ///< With another entry.
};

class BlockEntry {
 public:
  /// What BatPage keeps.
  explicit BlockEntry(std::uint64_t word) noexcept : word_{word} {}
  static BlockEntry unused() noexcept { return at(kUnused, BlockState::unused); }
  /// Any state but partial, whose entry leads to its bits, and they know the place.
  static BlockEntry at(std::uint32_t start, BlockState state) noexcept {
    return BlockEntry{std::uint64_t{start} << kStateBits | static_cast<std::uint64_t>(state)};
  }
  static BlockEntry partial(const SectorBits& bits) noexcept {
    return BlockEntry{std::bit_cast<std::uintptr_t>(&bits) |
                      static_cast<std::uint64_t>(BlockState::partial)};
  }

  BlockState state() const noexcept { return static_cast<BlockState>(word_ & kStateMask); }
  /// Where the block's bitmap lies, in sectors, as the table in the file has it.
  std::uint32_t start() const noexcept {
    if (state() == BlockState::partial) return bits().start();
    return static_cast<std::uint32_t>(word_ >> kStateBits);
  }
  /// Of a partial one.
  const SectorBits& bits() const noexcept {
    return *std::bit_cast<const SectorBits*>(static_cast<std::uintptr_t>(word_ & ~kStateMask));
  }
  std::uint64_t word() const noexcept { return word_; }
  friend bool operator==(BlockEntry, BlockEntry) = default;

 private:
  static constexpr unsigned kStateBits = 3;
  static constexpr std::uint64_t kStateMask = (std::uint64_t{1} << kStateBits) - 1;
  static_assert(alignof(SectorBits) > kStateMask, "the state goes where an address has zeros");

  std::uint64_t word_;
};

}  // namespace openvhd::vhd
