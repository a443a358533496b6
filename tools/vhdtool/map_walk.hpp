/// Asks a disk, range after range, what holds its bytes.
#pragma once

#include <functional>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <openvhd/progress.hpp>

namespace vhdtool {

/// Calls `visit` with every entry from the start of the disk to its end. Errors as Disk::map(),
/// and cancelled.
openvhd::Status walk_map(openvhd::Disk& disk, openvhd::Progress& progress,
                         const std::function<void(const openvhd::MapEntry&)>& visit);

}  // namespace vhdtool
