/// What a change of size is decided on, of images that are closed and of disks in use.
#pragma once

#include <cstdint>
#include <openvhd/disk.hpp>
#include <openvhd/resize.hpp>
#include <optional>

#include "image/partitions.hpp"
#include "io/file.hpp"
#include "io/host.hpp"

namespace openvhd {

/// What is known of the disk before its size changes, and the size it is to have.
struct ResizeRequest {
  std::uint64_t size = 0;
  /// As it was: where the first copy is damaged, the backup is not found at a new end.
  std::optional<Gpt> gpt{};
};

/// Decides on the size, from what the disk holds. Errors: out_of_range, and those of reading.
Result<ResizeRequest> decide_resize(Disk& disk, const ResizeOptions& options, ResizeResult& out);

/// Changes the size in an image without a dirty log, all or nothing (C07).
Status change_size(Format format, File& file, std::uint64_t size, Host& host, Progress* progress,
                   ResizeResult& out);

/// Both copies are there, the backup at the end of the new disk.
bool gpt_fits(const Gpt& gpt, const ResizeResult& sizes);

}  // namespace openvhd
