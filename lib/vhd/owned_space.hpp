/// Who owns what in a sparse VHD that is closed.
#pragma once

#include <cstdint>
#include <openvhd/error.hpp>
#include <vector>

#include "vhd/parse.hpp"

namespace openvhd::vhd {

struct OwnedBlock {
  std::uint32_t block = 0;
  FileOffset at{};  ///< Of its bitmap.
};

struct OwnedSpace {
  std::vector<OwnedBlock> blocks;     ///< In the order of the table.
  std::vector<FileRange> structures;  ///< All that blocks keep clear of, sorted.
  std::uint64_t end = 0;              ///< Of everything: where the footer belongs.
};

/// Reads the whole table; an image that breaks a rule is not changed. Errors: io, corrupt.
Result<OwnedSpace> read_owned_space(File& file, const ParsedImage& image);

}  // namespace openvhd::vhd
