/// What resize and compaction share: an image file that is open alone, and steps run on it.
#pragma once

#include <memory>
#include <openvhd/disk.hpp>
#include <openvhd/progress.hpp>
#include <string>
#include <vector>

#include "io/file_steps.hpp"
#include "io/posix_file.hpp"

namespace openvhd {

/// An image file that nobody else has open, its log replayed.
struct EditedFile {
  std::unique_ptr<PosixFile> file{};
  Format format{};
};

/// Errors: busy, not_found, denied, unsupported (neither VHD nor VHDX), corrupt, io.
Result<EditedFile> open_for_edit(const std::string& path);

/// Runs `steps` to their end. Where `progress` says stop before they have committed, the file is
/// as it was; afterwards they end first. Errors: those of the steps, cancelled.
Status run_steps(std::vector<FileStep> steps, std::uint64_t file_bytes, File& file,
                 Progress* progress);

/// The disk as it is, beside the lock that open_for_edit() holds.
Result<Disk> look_inside(const std::string& path, const ParentPolicy& parents, OpenReport* report);

}  // namespace openvhd
