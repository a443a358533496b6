/// Who owns what in an image that is closed: everything that its table names, in one walk.
#pragma once

#include <cstdint>
#include <openvhd/error.hpp>
#include <vector>

#include "io/file.hpp"
#include "vhdx/image_state.hpp"
#include "vhdx/space_map.hpp"

namespace openvhd::vhdx {

/// An entry that owns space.
struct OwnedBlock {
  FileOffset at{};
  std::uint64_t index = 0;  ///< In the table.
  BatEntry entry{};
  bool anchor = false;  ///< Only kept by an UNDEFINED or UNMAPPED block: holds no data.

  bool is_bitmap(std::uint64_t ratio) const noexcept { return is_bitmap_index(index, ratio); }
};

struct OwnedSpace {
  std::vector<OwnedBlock> blocks;  ///< In table order.
  SpaceMap map;                    ///< Those and everything at a fixed place.
  std::uint64_t allocated = 0;     ///< Bytes of blocks, bitmaps and anchors.
};

/// Judges the whole table first: an image that breaks a rule is not changed. Memory: 32 bytes for
/// each block that is there. Errors: io, corrupt, cancelled.
Result<OwnedSpace> read_owned_space(File& file, const ParsedImage& image);

}  // namespace openvhd::vhdx
