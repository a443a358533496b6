#include <openvhd/types.hpp>

std::uint64_t distance(openvhd::FileOffset a, openvhd::VirtualOffset b) {
#ifdef MISUSE
  return a - b;
#else
  return a.value - b.value;
#endif
}
