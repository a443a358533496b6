/// Extents that are really written, for targets that refuse sparse files.
#pragma once

#include <openvhd/error.hpp>
#include <openvhd/progress.hpp>

#include "io/file.hpp"

namespace openvhd {

/// Writes zeros to `range`, as data: unlike File::zero() and reserve(), which ask the host for
/// zeros that nobody wrote. A file that is open for direct I/O is written past the page cache, so
/// that what is reported is on its way to the disk, and little is left to sync. Progress is asked
/// at every MiB, and with nothing done. Errors: no_space, io, cancelled.
Status fill_with_zeros(File& file, FileRange range, Progress* progress) noexcept;

}  // namespace openvhd
