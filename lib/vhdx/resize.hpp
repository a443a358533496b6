/// Changing the size of the disk in a VHDX that is closed.
#pragma once

#include <cstdint>
#include <openvhd/error.hpp>
#include <vector>

#include "io/file.hpp"
#include "io/file_steps.hpp"
#include "io/host.hpp"

namespace openvhd::vhdx {

struct ResizePlan {
  std::vector<FileStep> steps{};  ///< For FileSteps; none where the size is that already.
  std::uint64_t file_bytes = 0;   ///< Size of the file before.
  std::uint64_t file_bytes_after = 0;
  bool table_moved = false;  ///< The table outgrew its region and gets a new one.
};

/// Plans to make the disk `virtual_bytes` long; reads the whole table, writes nothing. New bytes
/// read as zeros. What a smaller disk no longer reaches is lost: whether that may be is the
/// caller's to know. The log is empty: replay() first.
///
/// The plan's steps can end anywhere: until the header that names the log is durable the disk has
/// its old size, its contents and its DataWriteGuid, from then on the new ones (C07).
///
/// Errors: invalid (no multiple of the sector size, 0, over 64 TiB), unsupported (log too small,
/// table over 4 GiB, file over 256 TiB), corrupt, io.
Result<ResizePlan> plan_resize(File& file, std::uint64_t virtual_bytes, Host& host);

}  // namespace openvhd::vhdx
