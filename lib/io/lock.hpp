/// Which lock an open of a file holds.
#pragma once

#include <cstdint>

namespace openvhd {

enum class Lock : std::uint8_t {
  none,
  reader,  ///< Other readers may come, QEMU's too; writers may not.
  writer,  ///< Nobody else may come. Needs a descriptor that is open for writing.
};

}  // namespace openvhd
