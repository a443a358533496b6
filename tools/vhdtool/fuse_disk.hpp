/// A disk as a file: a FUSE file system with disk.raw in it and nothing else.
#pragma once

#include <cstdint>
#include <memory>
#include <openvhd/parallel_disk.hpp>
#include <string>

namespace vhdtool {

struct FuseState;

/// The part of the disk that the file shows.
struct DiskWindow {
  std::uint64_t at = 0;
  std::uint64_t length = 0;
};

/// The name of the file, and of the type of the mount as /proc/self/mountinfo has it.
inline constexpr const char* kDiskFile = "disk.raw";
inline constexpr const char* kMountType = "fuse.vhdtool";
/// An attribute of the root folder: the process that serves it, in decimal digits.
inline constexpr const char* kServerAttribute = "user.vhdtool.pid";

/// Threads of libfuse call the disk side by side. What a program wrote is in the image's file when
/// its write returns; fsync makes it durable. Holes of the file (SEEK_HOLE) are what the image does
/// not store, and punching one trims. The size never changes.
class FuseDisk {
  struct Key {};

 public:
  struct Options {
    std::string image{};  ///< For lists of mounts.
    bool read_only = false;
  };

  /// Mounts; nothing is served yet. `disk` is borrowed. Empty: `problem` says why.
  static std::unique_ptr<FuseDisk> mount(openvhd::ParallelDisk& disk, const DiskWindow& window,
                                         const std::string& folder, const Options& options,
                                         std::string& problem);
  FuseDisk(Key, std::unique_ptr<FuseState> state) noexcept;
  FuseDisk(const FuseDisk&) = delete;
  FuseDisk& operator=(const FuseDisk&) = delete;
  /// Unmounts, where nobody else has.
  ~FuseDisk();

  /// Serves until it is unmounted, or SIGINT, SIGTERM or SIGHUP comes. Takes over those signals.
  /// False where libfuse could not go on.
  bool serve();

 private:
  std::unique_ptr<FuseState> state_;
};

}  // namespace vhdtool
