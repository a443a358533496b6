#include <openvhd/disk.hpp>

bool flushes(openvhd::Disk& disk) {
#ifdef MISUSE
  disk.flush();
  return true;
#else
  return bool{disk.flush()};
#endif
}
