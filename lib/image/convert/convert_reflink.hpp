/// Copying a disk by sharing extents between files, where the host file system can.
#pragma once

#include <cstdint>
#include <openvhd/error.hpp>
#include <openvhd/progress.hpp>
#include <vector>

#include "image/convert/endpoint_masked.hpp"
#include "image/disk_state.hpp"

namespace openvhd {

struct ClonePlan {
  VirtualOffset source_at{};
  std::uint64_t length = 0;      ///< Bytes, to the start of the target.
  std::uint64_t total = 0;       ///< For progress.
  Progress* progress = nullptr;  ///< Borrowed; may be null.
};

struct Cloned {
  std::uint64_t bytes = 0;
  /// What is left to copy, in the source: ranges that are not aligned in both files alike, and
  /// everything once the host has said that it cannot.
  std::vector<DiskRange> rest;
};

/// Shares what can be shared of a disk with a new, empty one: places each extent in the target
/// and clones it there. Moves no data; nothing is durable before the target is flushed. Errors:
/// of place and of the host, cancelled.
Result<Cloned> clone_extents(detail::DiskState& source, detail::DiskState& target,
                             const ClonePlan& plan);

}  // namespace openvhd
