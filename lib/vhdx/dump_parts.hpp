/// The larger parts of a dump: the log and the metadata region.
#pragma once

#include <cstdint>
#include <openvhd/dump.hpp>
#include <openvhd/error.hpp>

#include "io/file.hpp"
#include "vhdx/headers.hpp"
#include "vhdx/image_state.hpp"

namespace openvhd::vhdx {

/// Entries of the header's log GUID, valid and not, with at most `max_entries` descriptors each.
/// Errors: io.
Result<DumpNode> dump_log(File& file, const ParsedHead& head, std::uint64_t max_entries);

/// Table and items, each decoded as far as it is known. Errors: io.
Result<DumpNode> dump_metadata(File& file, const Area& region, std::uint64_t max_entries);

}  // namespace openvhd::vhdx
