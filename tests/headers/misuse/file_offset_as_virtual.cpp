#include <openvhd/disk.hpp>

bool reads(openvhd::Disk& disk, std::span<std::byte> into) {
#ifdef MISUSE
  const openvhd::FileOffset at{4096};
#else
  const openvhd::VirtualOffset at{4096};
#endif
  return bool{disk.read(at, into)};
}
