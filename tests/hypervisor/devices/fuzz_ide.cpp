// Any accesses to both channels and their bus masters, with completions now or later: only memory
// that is RAM is written, only the disk is read, and nothing is completed twice.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "devices/ata_disk.hpp"
#include "devices/atapi_cd.hpp"
#include "devices/piix_ide.hpp"
#include "hypervisor/chipset/parts.hpp"
#include "hypervisor/devices/memory_block.hpp"

namespace {

using namespace openvhd::vmm;

constexpr std::uint16_t kBases[] = {0x1f0, 0x170, 0xc000, 0xc008, 0x3f6, 0x376, 0x1f0, 0x170};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static auto memory = *GuestMemory::create({.bytes = kMinMemory});
  // What an input finds in memory: descriptors made of its own bytes.
  std::ranges::fill(memory.low().first(0x1000), std::byte{0});
  for (std::size_t i = 0; i < std::min<std::size_t>(size, 0x800); ++i)
    memory.low()[i] = std::byte{data[i]};
  test::FakeLine line;
  PortBus ports;
  test::MemoryBlock disk{256 * 512};
  test::MemoryBlock second{64 * 512, false};
  test::MemoryBlock disc{40 * 2048, false};
  PiixIde ide{{.bus = ports, .memory = memory, .primary = line, .secondary = line}};
  ide.channel(0).insert(0, std::make_unique<AtaDisk>(disk));
  ide.channel(0).insert(1, std::make_unique<AtaDisk>(second));
  ide.channel(1).insert(0, std::make_unique<AtapiCd>(disc));
  ide.write(0x20, 4, 0xc000);
  ide.write(0x04, 2, 5);
  for (std::size_t i = 0; i + 4 <= size; i += 4) {
    const auto port = static_cast<std::uint16_t>(kBases[data[i] & 7] + (data[i] >> 3 & 7));
    const std::uint32_t width = (data[i + 1] & 0x30) == 0x30 ? 4
                                : (data[i + 1] & 0x10) != 0  ? 2
                                                             : 1;
    const std::uint32_t value = data[i + 2] | static_cast<std::uint32_t>(data[i + 3]) << 8;
    disk.held = disc.held = (data[i + 1] & 2) != 0;
    if ((data[i + 1] & 4) != 0) {
      disk.release();
      disc.release();
    }
    // Strings of data, as "rep insw" makes them.
    const unsigned times = (data[i + 1] & 8) != 0 ? 300 : 1;
    for (unsigned k = 0; k < times; ++k) {
      if ((data[i + 1] & 1) != 0)
        ports.write(port, width, value);
      else
        static_cast<void>(ports.read(port, width));
    }
    if (disk.requests.size() + second.requests.size() > 2 || disc.requests.size() > 1)
      std::abort();  // a drive has one request at a time
  }
  disk.release();
  disc.release();
  return 0;
}
