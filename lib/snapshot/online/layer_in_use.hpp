/// One layer of a disk in use, alone, for work in the background.
#pragma once

#include <cstdint>
#include <openvhd/disk.hpp>
#include <span>

#include "image/disk_state.hpp"

namespace openvhd::snapshot {

/// Every call is a job of the disk's owner, beside requests. Good as long as the disk keeps the
/// layer: not beyond another Change, nor a still moment that opens it again. One thread's.
class LayerInUse {
 public:
  /// `complete`: what the layer does not hold reads as zeros and maps as a hole.
  LayerInUse(detail::DiskState& disk, std::size_t index, bool complete)
      : disk_{disk},
        first_layer_{static_cast<std::uint32_t>(index)},
        chain_{{&disk.image(index)}, complete} {}

  Status read(VirtualOffset at, std::span<std::byte> into) noexcept {
    return transfer(Job::Kind::read, at, into);
  }
  /// A write never changes the bytes.
  Status write(VirtualOffset at, std::span<std::byte> from) noexcept {
    return transfer(Job::Kind::write, at, from);
  }
  Status zero(VirtualOffset at, std::uint64_t length) noexcept {
    Job job = job_of(Job::Kind::zero);
    job.at = at;
    job.length = length;
    return disk_.run_in_background(job);
  }
  Result<MapEntry> map(VirtualOffset at, std::uint64_t length) noexcept {
    Job job = job_of(Job::Kind::map);
    job.at = at;
    job.length = length;
    if (const Status mapped = disk_.run_in_background(job); !mapped) return mapped.error();
    return job.entry;
  }
  Status flush() noexcept {
    Job job = job_of(Job::Kind::flush);
    return disk_.run_in_background(job);
  }
  /// Leaves a closed image, which is only read from now on.
  Status close() noexcept {
    Job job = job_of(Job::Kind::close);
    return disk_.run_in_background(job);
  }

 private:
  Job job_of(Job::Kind kind) noexcept {
    return {.kind = kind, .chain = &chain_, .first_layer = first_layer_};
  }
  Status transfer(Job::Kind kind, VirtualOffset at, std::span<std::byte> bytes) noexcept {
    const iovec buffer{bytes.data(), bytes.size()};
    Job job = job_of(kind);
    job.at = at;
    job.buffers = {&buffer, 1};
    return disk_.run_in_background(job);
  }

  detail::DiskState& disk_;
  std::uint32_t first_layer_;
  Chain chain_;
};

}  // namespace openvhd::snapshot
