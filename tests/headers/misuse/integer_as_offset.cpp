#include <openvhd/disk.hpp>

bool trims(openvhd::Disk& disk) {
#ifdef MISUSE
  return bool{disk.trim(4096U, 512)};
#else
  return bool{disk.trim(openvhd::VirtualOffset{4096}, 512)};
#endif
}
