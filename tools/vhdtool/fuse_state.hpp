/// What the calls of libfuse work on; only these two files know libfuse.
#pragma once

#include <sys/stat.h>

#include <openvhd/parallel_disk.hpp>

#include "fuse_disk.hpp"

struct fuse_session;
struct fuse_lowlevel_ops;

namespace vhdtool {

struct FuseState {
  openvhd::ParallelDisk& disk;
  DiskWindow window{};
  bool read_only = false;
  struct stat root{};
  struct stat file{};
  fuse_session* session = nullptr;
  bool mounted = false;
};

/// The calls; each gets a FuseState as its session's user data.
const fuse_lowlevel_ops& fuse_calls() noexcept;

}  // namespace vhdtool
