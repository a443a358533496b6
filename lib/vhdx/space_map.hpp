/// Who owns which MiB of an image file: everything in a VHDX is whole MiB ([MS-VHDX] 2.1).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/checked.hpp"

namespace openvhd::vhdx {

/// The largest file that is written: four times what the largest disk can need. It bounds the
/// map to 32 MiB whatever offsets an image names.
inline constexpr std::uint64_t kMaxSpaceBytes = 256 * kTiB;

/// One bit per MiB, in parts that are allocated when a bit in them is set.
class SpaceMap {
 public:
  /// Sets `count` bits from `first`. False, with nothing changed, when one of them was set or
  /// they reach past kMaxSpaceBytes.
  bool claim(std::uint64_t first, std::uint64_t count);
  /// Sets bits whether they were set or not; past kMaxSpaceBytes nothing is done.
  void mark(std::uint64_t first, std::uint64_t count);
  void release(std::uint64_t first, std::uint64_t count) noexcept;

  /// The first set, or clear, bit in [from, end); `end` when there is none.
  std::uint64_t next_set(std::uint64_t from, std::uint64_t end) const noexcept;
  std::uint64_t next_clear(std::uint64_t from, std::uint64_t end) const noexcept;
  /// `count` clear bits in a row that begin in [from, end) and end there too.
  std::optional<std::uint64_t> find_clear(std::uint64_t from, std::uint64_t end,
                                          std::uint64_t count) const noexcept;
  /// One past the highest set bit; 0 when none is.
  std::uint64_t end() const noexcept;

 private:
  static constexpr std::uint64_t kPartWords = 256;
  static constexpr std::uint64_t kPartBits = kPartWords * 64;
  static constexpr std::uint64_t kMaxBits = kMaxSpaceBytes / kMiB;
  using Part = std::array<std::uint64_t, kPartWords>;

  std::uint64_t word(std::uint64_t index) const noexcept;
  std::uint64_t next(std::uint64_t from, std::uint64_t end, bool set) const noexcept;
  template <class Change>
  void change(std::uint64_t first, std::uint64_t count, Change&& apply);

  std::vector<std::unique_ptr<Part>> parts_;
};

}  // namespace openvhd::vhdx
