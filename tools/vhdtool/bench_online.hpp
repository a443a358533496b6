// What changes a disk while its queues are measured.
#pragma once

#include <atomic>
#include <cstdint>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <optional>

namespace vhdtool {

enum class OnlineWork : std::uint8_t { none, resize, checkpoint, merge, compact };
const char* online_work_name(OnlineWork work) noexcept;

struct OnlineReport {
  std::uint64_t done = 0;   // calls that have succeeded
  std::uint64_t bytes = 0;  // that they moved
  double seconds = 0;       // that they took
  bool cut_short = false;   // the last one was stopped at the end of the run
  std::optional<openvhd::Error> error{};
};

/// Does `work` again and again until `over`, or once where it has an end: resize gives the disk
/// 64 MiB more, and takes them away again; checkpoint makes one each second; merge goes on until
/// one file is left. `rate`: bytes per second that are moved; 0: as the library sees fit.
OnlineReport work_online(openvhd::Disk& disk, OnlineWork work, std::uint64_t rate,
                         const std::atomic<bool>& over);

}  // namespace vhdtool
