/// The region table as it is to be ([MS-VHDX] 2.2.3).
#pragma once

#include <openvhd/error.hpp>

#include "io/file.hpp"
#include "vhdx/edit.hpp"
#include "vhdx/image_state.hpp"

namespace openvhd::vhdx {

/// Both copies of the table say that the BAT region is at `area`; only sectors that change become
/// part of `edits`. A damaged copy is mended with it. Errors: io, corrupt.
Status put_bat_region(File& file, const ParsedImage& image, const Area& area, SectorEdits& edits);

}  // namespace openvhd::vhdx
