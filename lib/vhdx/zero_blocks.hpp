/// Blocks that hold nothing but zeros.
#pragma once

#include <cstddef>
#include <functional>
#include <openvhd/error.hpp>
#include <optional>
#include <vector>

#include "io/file.hpp"
#include "vhdx/owned_space.hpp"

namespace openvhd::vhdx {

/// Looks at blocks of one image.
class ZeroScan {
 public:
  ZeroScan(File& file, const ParsedImage& image, const OwnedSpace& owned);

  /// The entry that says without space what `block`, a payload block with data, reads as: zeros, or
  /// all of the parent. Empty where it takes the block to say it. Errors: io, corrupt.
  Result<std::optional<BatEntry>> without_space(const OwnedBlock& block);

 private:
  /// Bytes that belong to the disk, all zeros.
  Result<bool> is_zero(const OwnedBlock& block, std::uint64_t length);
  Result<std::optional<BatEntry>> partial(const OwnedBlock& block, std::uint64_t number,
                                          std::uint64_t length);

  File& file_;
  const ParsedImage& image_;
  std::vector<FileOffset> bitmaps_;  // by chunk; 0: none
  std::vector<std::byte> buffer_;
};

}  // namespace openvhd::vhdx
