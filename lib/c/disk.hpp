/// What is behind the handles of the C interface.
#pragma once

#include <openvhd/openvhd.h>

#include <openvhd/parallel_disk.hpp>

struct ovhd_disk {  // NOLINT(readability-identifier-naming)
  openvhd::ParallelDisk disk;
};
