/// Which runs of the file the blocks of a table occupy, so that two entries that share one are
/// found while the table is read, whatever its size.
#pragma once

#include <cstdint>
#include <vector>

#include "io/host.hpp"

namespace openvhd::vhd {

/// For BlockClaims.
std::uint64_t random_seed(Host& host) noexcept;

/// All blocks of an image are equally long, so at most one can start in each stretch of that
/// length: the claims are a hash table by stretch, and an overlap is with the same stretch or a
/// neighbouring one. 8 bytes a claim and a third of that in slack; not thread safe.
class BlockClaims {
 public:
  /// `length` of a block with its bitmap, in sectors. `seed` keeps an image from choosing
  /// numbers that collide. `most` claims will be made.
  BlockClaims(std::uint32_t length, std::uint32_t most, std::uint64_t seed);

  /// Claims [start, start + length) for table entry `owner`. False when it overlaps another
  /// claim: that one is then marked as shared too, and this one is not kept. Claiming the same
  /// again is allowed, and false where it has become shared since.
  bool claim(std::uint32_t start, std::uint32_t owner);
  /// Owner of the claim that the last failed claim() ran into.
  std::uint32_t rival() const noexcept { return rival_; }
  void release(std::uint32_t start) noexcept;

  std::uint32_t count() const noexcept { return count_; }
  /// The highest sector that is claimed, plus one; 0 when none is. Looks at all of them.
  std::uint64_t end() const noexcept;
  /// All starts, sorted.
  std::vector<std::uint32_t> sorted_starts() const;

 private:
  struct Slot {
    std::uint32_t start = 0;
    std::uint32_t owner = kEmpty;  // with kShared
  };
  static constexpr std::uint32_t kEmpty = 0xffff'ffff;
  static constexpr std::uint32_t kShared = 0x8000'0000;

  std::uint64_t home(std::uint64_t stretch) const noexcept;
  Slot* find(std::uint64_t stretch) noexcept;
  bool overlaps(const Slot* slot, std::uint32_t start) const noexcept;
  void insert(Slot slot) noexcept;
  void grow();

  std::uint32_t length_;
  std::uint64_t most_slots_;
  std::uint64_t seed_;
  std::vector<Slot> slots_;
  std::uint32_t count_ = 0;
  std::uint32_t rival_ = 0;
};

}  // namespace openvhd::vhd
