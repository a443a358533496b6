/// Byte ranges of a disk, which moves whole sectors.
#pragma once

#include <algorithm>
#include <cstdint>
#include <openvhd/types.hpp>

#include "base/checked.hpp"

namespace openvhd {

/// A byte range as the part of a first sector, whole sectors, and the part of a last one.
struct SectorSplit {
  std::uint64_t head = 0;
  std::uint64_t middle = 0;
  std::uint64_t tail = 0;
};

inline SectorSplit split_at_sectors(VirtualOffset at, std::uint64_t length,
                                    std::uint64_t sector) noexcept {
  SectorSplit out;
  const std::uint64_t into = at.value % sector;
  if (into != 0) out.head = std::min(length, sector - into);
  out.middle = align_down(length - out.head, sector);
  out.tail = length - out.head - out.middle;
  return out;
}

}  // namespace openvhd
