/// A disk that many threads use at once, with calls that block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <openvhd/disk.hpp>
#include <openvhd/disk_info.hpp>
#include <openvhd/error.hpp>
#include <openvhd/queue.hpp>
#include <openvhd/types.hpp>
#include <span>
#include <string>
#include <vector>

namespace openvhd {

namespace detail {
class ParallelState;
}

/// What a server or a file system needs: any number of threads call it side by side, each blocks
/// until its own request is done. Mapped bytes move in the thread that calls, without a lock, in
/// one system call; the rest is done by the image's owner, as for a Queue. Threads beyond
/// kMostDoors have the owner do everything.
///
/// Byte ranges need no alignment. Calls that overlap take effect in any order, and a write in parts
/// of a sector never brings back what another call has just written beside it; requests in queues
/// of open_queue() know nothing of that. Errors of all calls: those of Disk. Thread: any, but for
/// close(), moves and the destructor: no other call is under way. Not across fork().
class ParallelDisk {
 public:
  /// Threads with a door of their own at once, from their first call until they end; open_queue()
  /// gets what is left of 64.
  static constexpr std::size_t kMostDoors = 48;

  /// As Disk::open(). No thread runs before the first read, write, zero, trim or flush: until then
  /// a process may fork and go on in the child.
  static Result<ParallelDisk> open(const std::string& path, const OpenOptions& options);

  /// The other one may only be destroyed or assigned to afterwards.
  ParallelDisk(ParallelDisk&&) noexcept;
  /// Likewise; what was here is closed.
  ParallelDisk& operator=(ParallelDisk&&) noexcept;
  /// Closes without reporting: call close() to know.
  ~ParallelDisk();

  /// As it is now: resize() makes another one of it.
  Geometry geometry() const noexcept;
  /// Of the leaf.
  Format format() const noexcept;
  /// Of the leaf.
  DiskType type() const noexcept;
  /// Opened for writing.
  bool writable() const noexcept;
  /// Paths by layer, the leaf first, as they are now.
  std::vector<std::string> files() const;

  /// All of `into`, or an error.
  Status read(VirtualOffset at, std::span<std::byte> into) noexcept;
  /// `durable`: on stable storage when this returns Ok (RELIABILITY D3), whatever else is not.
  Status write(VirtualOffset at, std::span<const std::byte> from, bool durable) noexcept;
  /// The range reads as zeros; blocks that it covers whole give their space back.
  Status zero(VirtualOffset at, std::uint64_t length, bool durable) noexcept;
  /// The range is no longer needed and reads as zeros; space goes back to the host.
  Status trim(VirtualOffset at, std::uint64_t length, bool durable) noexcept;
  /// What completed before, on any thread, survives a power cut (RELIABILITY D2).
  Status flush() noexcept;

  /// As Disk::resize(), beside all other calls: those that have been started are served first.
  Result<ResizeResult> resize(const ResizeOptions& options) noexcept;

  /// As Disk::map(): whole sectors.
  Result<MapEntry> map(VirtualOffset at, std::uint64_t length) noexcept;
  /// As Disk::info().
  Result<DiskInfo> info(bool count_blocks) noexcept;

  /// A queue on the same disk, for the calling thread. As Queue::open().
  Result<Queue> open_queue(const QueueOptions& options) noexcept;

  /// Flushes, empties the log and releases locks. Errors also: busy while queues of open_queue()
  /// are open, and then nothing was done.
  Status close() noexcept;

 private:
  friend class detail::ParallelState;
  explicit ParallelDisk(std::shared_ptr<detail::ParallelState> state) noexcept;
  std::shared_ptr<detail::ParallelState> state_;
};

}  // namespace openvhd
