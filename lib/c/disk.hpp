/// What is behind the handles of the C interface.
#pragma once

#include <openvhd/openvhd.h>

#include <openvhd/parallel_disk.hpp>
#include <string>
#include <vector>

struct ovhd_disk {  // NOLINT(readability-identifier-naming)
  openvhd::ParallelDisk disk;
  /// By layer. No call of this interface changes the layers of a disk that is open.
  std::vector<std::string> files;
};
