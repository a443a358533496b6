// Any rings in memory, any accesses to the registers and to configuration space, completions now
// or later: guest memory alone is written, nothing is served twice, and each step ends.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "base/stored.hpp"
#include "devices/virtio_scsi.hpp"
#include "scsi_cd.hpp"
#include "scsi_disk.hpp"
#include "vsp-storage/memory_backend.hpp"

namespace {

using namespace openvhd;
using namespace openvhd::vmm;

struct NoMessages : MessageSink {
  void send(std::uint64_t, std::uint32_t) noexcept override {}
};
struct NoDoorbell : Doorbell {
  void ring() noexcept override {}
  void place(std::optional<GuestAddress>, unsigned) noexcept override {}
};

constexpr std::uint32_t kBar = 0x8000'0000;

void put(MemoryBus& bus, std::uint64_t offset, std::size_t width, std::uint64_t value) {
  std::array<std::byte, 8> raw{};
  store(std::span<std::byte>{raw}, Le64{value});
  bus.write({kBar + offset}, std::span{raw}.first(width));
}

// What a driver does before its first request; rings of 8 in the first pages.
void start(MemoryBus& bus, std::uint8_t how) {
  put(bus, 0x14, 1, 3);
  put(bus, 0x08, 4, 1);
  put(bus, 0x0c, 4, 1);
  put(bus, 0x08, 4, 0);
  put(bus, 0x0c, 4, (how & 1) != 0 ? 0x3000'0004 : 0x1000'0000);
  put(bus, 0x14, 1, 11);
  for (unsigned queue = 0; queue < 3; ++queue) {
    put(bus, 0x16, 2, queue);
    put(bus, 0x18, 2, 8);
    put(bus, 0x20, 8, queue * 0x200);
    put(bus, 0x28, 8, queue * 0x200 + 0x80);
    put(bus, 0x30, 8, queue * 0x200 + 0x100);
    put(bus, 0x1c, 2, 1);
  }
  put(bus, 0x14, 1, 15);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static auto memory = *GuestMemory::create({.bytes = kMinMemory});
  if (size < 2) return 0;
  const auto low = memory.low();
  std::ranges::fill(low.first(0x4000), std::byte{0});
  MemoryBus bus;
  NoMessages messages;
  NoDoorbell doorbell;
  scsi::test::MemoryBackend disk{64 << 10};
  scsi::ScsiTarget target;
  static_cast<void>(target.attach(
      0, std::make_unique<scsi::ScsiDisk>(
             scsi::ScsiIdentity{},
             scsi::DiskShape{.bytes = disk.bytes.size(), .writable = true, .thin = true})));
  VirtioScsi device{{.memory = memory, .bus = bus, .messages = messages, .doorbell = doorbell},
                    target};
  device.port().connect(0, disk);
  device.PciFunction::write(0x10, 4, kBar);
  device.PciFunction::write(0x04, 2, 6);
  if ((data[0] & 2) == 0) start(bus, data[0]);
  // Records of 8: bytes for memory, an access to a register, or time that passes.
  for (data += 1, size -= 1; size >= 8; data += 8, size -= 8) {
    const std::uint32_t where = data[1] | static_cast<std::uint32_t>(data[2]) << 8;
    const std::uint32_t value = data[4] | static_cast<std::uint32_t>(data[5]) << 8 |
                                static_cast<std::uint32_t>(data[6]) << 16 |
                                static_cast<std::uint32_t>(data[7]) << 24;
    const std::uint32_t width = 1U << (data[3] & 3);
    switch (data[0] & 7) {
      case 0:
      case 1:
      case 2:
        for (unsigned i = 0; i < 4; ++i)
          low[(where + i) % 0x4000] = static_cast<std::byte>(value >> (8 * i));
        break;
      case 3:
        put(bus, where % VirtioPci::kBarBytes, width, value);
        break;
      case 4: {
        std::array<std::byte, 8> raw{};
        bus.read({kBar + where % VirtioPci::kBarBytes}, std::span{raw}.first(width));
        break;
      }
      case 5:
        device.PciFunction::write(static_cast<std::uint8_t>(where & 0xfc), 4, value);
        static_cast<void>(device.guest_read(static_cast<std::uint8_t>(value & 0xfc), 4));
        device.PciFunction::write(0x10, 4, kBar);
        device.PciFunction::write(0x04, 2, 6);
        break;
      case 6:
        disk.run();
        break;
      default: {
        const std::lock_guard held{device.lock()};
        for (unsigned i = 0; i < 4 && device.serve(); ++i) {
        }
        if (disk.waiting.size() > VirtioScsi::kMostCommands) std::abort();
        break;
      }
    }
  }
  disk.run();
  if (!device.is_idle()) std::abort();
  return 0;
}
