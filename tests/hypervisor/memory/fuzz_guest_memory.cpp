// Any address, length and shadow state: a slice is RAM that the rules allow, or it is refused.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "memory/guest_memory.hpp"

namespace {

using openvhd::vmm::GuestMemory;

struct Step {
  std::uint64_t at, length;
  std::uint16_t reads, writes;
};

// What the rules say, byte by byte near the edges and by construction elsewhere.
bool byte_is_ram(const Step& step, std::uint64_t at, std::uint64_t size, bool write) {
  if (at >= size || (at >= 0xa0000 && at < 0xc0000)) return false;
  if (at < 0xc0000 || at >= 0x10'0000) return true;
  return (((write ? step.writes : step.reads) >> ((at - 0xc0000) / 0x4000)) & 1) != 0;
}

bool range_is_ram(const Step& step, std::uint64_t size, bool write) {
  if (step.length > std::numeric_limits<std::uint64_t>::max() - step.at) return false;
  const auto end = step.at + step.length;
  if (end > size) return false;
  // What answers changes only at multiples of 16 KiB.
  for (auto at = step.at; at < end; at = (at / 0x4000 + 1) * 0x4000)
    if (!byte_is_ram(step, at, size, write)) return false;
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::uint64_t kSize = 4 << 20;
  static auto memory = *GuestMemory::create({.bytes = kSize});
  for (; size >= 20; data += 20, size -= 20) {
    Step step{};
    std::memcpy(&step.at, data, 8);
    std::memcpy(&step.length, data + 8, 8);
    std::memcpy(&step.reads, data + 16, 2);
    std::memcpy(&step.writes, data + 18, 2);
    if ((data[7] & 3) != 0) step.at &= 0x3f'ffff;
    if ((data[15] & 3) != 0) step.length &= 0xf'ffff;
    for (unsigned i = 0; i < GuestMemory::kShadowSegments; ++i)
      memory.set_shadow(i, {.read_ram = ((step.reads >> i) & 1) != 0,
                            .write_ram = ((step.writes >> i) & 1) != 0});
    for (const bool write : {false, true}) {
      const auto slice = memory.slice({step.at}, step.length,
                                      write ? GuestMemory::Use::write : GuestMemory::Use::read);
      if (step.length != 0 && slice.has_value() != range_is_ram(step, kSize, write)) std::abort();
      if (slice && slice->size() != step.length) std::abort();
    }
  }
  return 0;
}
