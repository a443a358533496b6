/// What opening a VHDX learns: every structure at a fixed place, checked and copied.
#pragma once

#include <array>
#include <cstdint>
#include <openvhd/disk_info.hpp>
#include <openvhd/types.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/image_layer.hpp"
#include "vhdx/bat_math.hpp"
#include "vhdx/layout.hpp"

namespace openvhd::vhdx {

/// A run of whole MiB in the file.
struct Area {
  FileOffset at{};
  std::uint64_t length = 0;  ///< Bytes.
};

/// A region of the region table (2.2.3.2).
struct Region {
  Guid id;
  Area area;
  bool required = false;
};

/// A metadata item (2.6.1.2); its bytes are at `at` in the file.
struct MetadataItem {
  Guid id;
  FileOffset at{};
  std::uint32_t length = 0;
  std::uint32_t flags = 0;  ///< kMetadataIs...
};

/// The log as open found it.
struct LogSummary {
  bool was_dirty = false;              ///< LogGuid was not nil: entries were replayed.
  std::uint64_t replayed_entries = 0;  ///< Into the file or into the overlay.
};

/// Valid as a whole: X01-X11, X17 and the region part of X07 hold. Entries of the BAT have not
/// been looked at. When the log was dirty, this is what the file says after the replay.
struct ParsedImage {
  Header header;                ///< The current one. Its log GUID is nil when opened writable.
  unsigned current_header = 0;  ///< Index into kHeaderAt; an update goes to the other one.
  unsigned current_region_table = 0;  ///< Index into kRegionTableAt.
  bool other_header_valid = false;    ///< False: repair or the next update mends it.
  bool other_region_table_valid = false;
  std::uint64_t file_bytes = 0;  ///< Size of the file when it was parsed.

  Area log;
  Area bat;
  Area metadata;
  std::vector<Region> unknown_regions;  ///< Not required; kept, and not to be overlapped.
  std::vector<MetadataItem> items;      ///< All of them, known and unknown, in table order.

  Geometry geometry;  ///< Sizes in bytes; all valid.
  bool leave_blocks_allocated = false;
  bool has_parent = false;
  Guid page83_id;
  std::optional<ParentLink> parent;  ///< Set exactly when has_parent.
  std::string creator;               ///< UTF-8; unpaired surrogates replaced.

  BatCounts counts;
  LogSummary log_summary;
  std::vector<OwnedRange> fixed;   ///< Header section, log, regions: pairwise disjoint, sorted.
  std::vector<std::string> notes;  ///< Deviations that were tolerated, one line each.

  /// LeaveBlocksAllocated counts only where there is no parent (FORMAT 62).
  DiskType type() const noexcept {
    if (has_parent) return DiskType::differencing;
    return leave_blocks_allocated ? DiskType::fixed : DiskType::dynamic;
  }
  /// For validate_payload_entry() and validate_bitmap_entry(); borrows `fixed`.
  EntryRules entry_rules(std::uint64_t file_bytes_now) const noexcept {
    return {.has_parent = has_parent,
            .block_bytes = geometry.block_size,
            .virtual_bytes = geometry.virtual_size,
            .file_bytes = file_bytes_now,
            .fixed = fixed};
  }
};

}  // namespace openvhd::vhdx
