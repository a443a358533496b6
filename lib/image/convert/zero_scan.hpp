/// Finding zeros in buffers, at the speed of memory.
#pragma once

#include <cstddef>
#include <span>

namespace openvhd {

/// True when every byte is zero; an empty buffer is. Stops at the first kibibyte that has another.
bool is_zero(std::span<const std::byte> bytes) noexcept;

/// What is worth leaving out: zeros are found in pieces of `unit` bytes, and a run of them is left
/// out when it is at least `gap` long or reaches an end of the buffer. Both are powers of two,
/// `unit` is not above `gap`.
struct ZeroGrain {
  std::size_t unit = 4096;
  std::size_t gap = std::size_t{32} * 1024;
};

/// A part of a buffer.
struct ByteRun {
  std::size_t at = 0;
  std::size_t length = 0;  ///< 0: none.
  friend bool operator==(const ByteRun&, const ByteRun&) = default;
};

/// The first run of `buffer` at or after `from`, a multiple of `grain.unit`, that is to be written.
/// Everything between `from` and it is zero, and so is the rest when there is none.
ByteRun next_data_run(std::span<const std::byte> buffer, std::size_t from,
                      const ZeroGrain& grain) noexcept;

}  // namespace openvhd
