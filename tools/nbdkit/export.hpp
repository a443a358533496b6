/// A disk as NBD wants it: what nbdkit asks, answered by a ParallelDisk.
#pragma once

#include <cstdint>
#include <openvhd/parallel_disk.hpp>
#include <string>

#define NBDKIT_API_VERSION 2  // NOLINT(readability-identifier-naming): theirs
#include <nbdkit-plugin.h>

namespace openvhd::nbd {

/// One image, for all connections: they share the disk, so what one wrote all others read, and a
/// flush of one covers all. Each thread of nbdkit has a queue of its own in ParallelDisk.
///
/// Calls return 0, or -1 with nbdkit's error number set and one line in its log. Thread: any.
class Export {
 public:
  Export(std::string name, std::string file, ParallelDisk disk) noexcept
      : name_{std::move(name)}, file_{std::move(file)}, disk_{std::move(disk)} {}

  const std::string& name() const noexcept { return name_; }
  const std::string& file() const noexcept { return file_; }
  std::uint64_t size() const noexcept { return disk_.geometry().virtual_size; }
  bool writable() const noexcept { return disk_.writable(); }
  std::uint32_t sector() const noexcept { return disk_.geometry().logical_sector_size; }
  std::uint32_t preferred_block() const noexcept;

  int read(void* into, std::uint32_t count, std::uint64_t at) noexcept;
  int write(const void* from, std::uint32_t count, std::uint64_t at, std::uint32_t flags) noexcept;
  int flush() noexcept;
  int trim(std::uint32_t count, std::uint64_t at, std::uint32_t flags) noexcept;
  /// ENOTSUP, with nothing done: a fast zero that would have to write, or one that must keep its
  /// space in an image that cannot; nbdkit then writes zeros for the latter.
  int zero(std::uint32_t count, std::uint64_t at, std::uint32_t flags) noexcept;
  int extents(std::uint32_t count, std::uint64_t at, std::uint32_t flags,
              nbdkit_extents* into) noexcept;
  /// Says in the log where something was lost.
  void close() noexcept;

 private:
  int answer(const Status& status) noexcept;
  bool covers_whole_blocks(std::uint32_t count, std::uint64_t at) const noexcept;

  std::string name_;
  std::string file_;
  ParallelDisk disk_;
};

}  // namespace openvhd::nbd
