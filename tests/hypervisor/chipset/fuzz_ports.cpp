// Any accesses to the ports of a PC without disks: PCI configuration, fw_cfg, clock, UART,
// keyboard, power management. Nothing but answers; memory outside of RAM stays as it is.
#include <cstdint>
#include <cstdlib>

#include "chipset/fw_cfg.hpp"
#include "chipset/i440fx.hpp"
#include "chipset/i8042.hpp"
#include "chipset/piix_pm.hpp"
#include "chipset/rtc.hpp"
#include "chipset/uart.hpp"
#include "hypervisor/chipset/parts.hpp"

namespace {

using namespace openvhd::vmm;

struct NoMap : ShadowMap {
  explicit NoMap(GuestMemory& of) : memory{&of} {}
  void remap(std::size_t segment, Shadow shadow) noexcept override {
    memory->set_shadow(segment, shadow);
  }
  GuestMemory* memory;
};

struct NoSink : ByteSink {
  void put(std::span<const std::byte>) noexcept override {}
};

struct Machine {
  explicit Machine(GuestMemory& memory) : map{memory}, config{memory} {
    // What an input left behind must not change what the next one meets.
    for (std::size_t i = 0; i < GuestMemory::kShadowSegments; ++i) memory.set_shadow(i, {});
    config.add_file("etc/file", std::vector<std::byte>(5000, std::byte{0x5a}));
    pci.attach(0, 0, bridge);
    pci.attach(1, 0, isa);
    pci.attach(1, 3, pm);
    ports.attach(0x60, I8042::kPorts, keyboard);
    ports.attach(0x70, Rtc::kPorts, rtc);
    ports.attach(0x3f8, Uart::kPorts, uart);
    ports.attach(0x510, FwCfg::kPorts, config);
    ports.attach(0xcf8, PciBus::kPorts, pci);
  }
  test::FakeLine line;
  test::FakeEvents events;
  test::FakeClock clock;
  NoSink sink;
  NoMap map;
  PortBus ports;
  I440fx bridge{map};
  PlainPciFunction isa{kPiix3Isa};
  PiixPm pm{{.bus = ports, .sci = line, .clock = clock, .events = events}};
  PciBus pci{events};
  I8042 keyboard{line, events};
  Rtc rtc{clock};
  Uart uart{line, sink};
  FwCfg config;
};

constexpr std::uint16_t kBases[] = {0x60, 0x70, 0x3f8, 0x510, 0x514, 0xcf8, 0xcfc, 0x600};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static auto memory = *GuestMemory::create({.bytes = kMinMemory});
  Machine machine{memory};
  for (; size >= 7; data += 7, size -= 7) {
    const auto port = static_cast<std::uint16_t>(kBases[data[0] & 7] +
                                                 ((data[0] & 0x80) != 0 ? data[1] : data[1] & 7));
    const std::uint32_t width = 1U << ((data[2] >> 1) % 3);
    const std::uint32_t value = data[3] | static_cast<std::uint32_t>(data[4]) << 8 |
                                static_cast<std::uint32_t>(data[5]) << 16 |
                                static_cast<std::uint32_t>(data[6]) << 24;
    if ((data[2] & 1) != 0)
      machine.ports.write(port, width, value);
    else if ((machine.ports.read(port, width) & ~all_ones(width)) != 0)
      std::abort();
  }
  return 0;
}
