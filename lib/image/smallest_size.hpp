/// How small a disk may become without losing what is in use.
#pragma once

#include <openvhd/disk.hpp>
#include <openvhd/progress.hpp>
#include <openvhd/resize.hpp>

#include "image/partitions.hpp"

namespace openvhd {

/// Reads and writes of `disk` as partitions.hpp wants them; borrow it.
ReadDisk reads_of(Disk& disk);
WriteDisk writes_of(Disk& disk);

/// Errors: those of reading, corrupt (a GPT without a valid copy), cancelled.
Result<SmallestSize> smallest_of(Disk& disk, Progress* progress);

/// The size of the parent; 0 without one.
Result<std::uint64_t> parent_size_of(Disk& disk);

}  // namespace openvhd
