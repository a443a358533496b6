/// The region table ([MS-VHDX] 2.2.3).
#pragma once

#include <openvhd/error.hpp>
#include <vector>

#include "io/file.hpp"
#include "vhdx/image_state.hpp"
#include "vhdx/judge.hpp"
#include "vhdx/layout.hpp"

namespace openvhd::vhdx {

/// One copy of the table, as it is in the file.
struct RegionTableCopy {
  RegionTableHeader header;
  std::vector<RegionTableEntry> entries;  ///< At most kMaxRegions, whatever the count says.
  const char* problem = nullptr;  ///< Why it is not valid (signature, checksum); null when it is.
};

/// Errors: io, corrupt (end of file).
Result<RegionTableCopy> read_region_table(File& file, unsigned copy);

/// Reads both copies, uses the first valid one, and fills `out`: bat, metadata, unknown_regions,
/// fixed, current_region_table, other_region_table_valid. `out.log` and `out.file_bytes` are set.
/// An error means that one of the two regions that every file has is not known; other broken
/// rules are in `judge` alone.
Status parse_regions(File& file, ParsedImage& out, Judge& judge);

}  // namespace openvhd::vhdx
