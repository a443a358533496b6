/// Reading a log as the ring of 4 KiB sectors that it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <openvhd/error.hpp>
#include <span>
#include <vector>

#include "io/file.hpp"
#include "vhdx/image_state.hpp"

namespace openvhd::vhdx {

/// Reads the ring forward, one piece of 1 MiB in memory.
class RingReader {
 public:
  RingReader(File& file, Area log) : file_{file}, log_{log}, piece_(kPieceBytes) {}

  /// The sector at `at` bytes of the log, wherever that is in the ring; valid until the next call.
  Result<std::span<const std::byte>> sector(std::uint64_t at);
  /// Where that sector is in the file.
  FileOffset place(std::uint64_t at) const noexcept { return log_.at + at % log_.length; }

 private:
  static constexpr std::uint64_t kPieceBytes = kMiB;
  static constexpr std::uint64_t kNothing = ~std::uint64_t{0};
  File& file_;
  Area log_;
  std::vector<std::byte> piece_;
  std::uint64_t loaded_ = kNothing;
};

/// `length` bytes of the log from `at`, in one piece: they may wrap around its end. `at` is below
/// log.length, and `length` not above it.
Result<std::vector<std::byte>> read_ring(File& file, Area log, std::uint64_t at,
                                         std::uint64_t length);

}  // namespace openvhd::vhdx
