/// The metadata region ([MS-VHDX] 2.6): its table and the items that this library knows.
#pragma once

#include <openvhd/error.hpp>
#include <vector>

#include "io/file.hpp"
#include "vhdx/image_state.hpp"
#include "vhdx/judge.hpp"
#include "vhdx/layout.hpp"

namespace openvhd::vhdx {

/// The table as it is in the file.
struct MetadataTable {
  MetadataTableHeader header;
  std::vector<MetadataTableEntry> entries;  ///< At most kMaxMetadataItems; none when not valid.
  bool valid = false;                       ///< The signature is right.
};

/// Errors: io, corrupt (end of file).
Result<MetadataTable> read_metadata_table(File& file, FileOffset region);

/// Reads table and items and fills `out`: items, geometry, flags, page83_id, parent, counts.
/// `out.metadata` and `out.bat` are set. An error means that the shape of the disk is not known;
/// other broken rules (X08-X11, X17) are in `judge` alone.
Status parse_metadata(File& file, ParsedImage& out, Judge& judge);

}  // namespace openvhd::vhdx
