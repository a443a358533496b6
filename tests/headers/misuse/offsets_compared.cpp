#include <openvhd/types.hpp>

bool before(openvhd::FileOffset a, openvhd::VirtualOffset b) {
#ifdef MISUSE
  return a < b;
#else
  return a.value < b.value;
#endif
}
