/// A virtio SCSI host on buses of its own, and a driver of it as Linux's is.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "base/stored.hpp"
#include "devices/virtio_scsi.hpp"
#include "hypervisor/chipset/parts.hpp"
#include "scsi_cd.hpp"
#include "scsi_disk.hpp"
#include "vsp-storage/memory_backend.hpp"

namespace openvhd::vmm::test {

class FakeMessages : public MessageSink {
 public:
  void send(std::uint64_t address, std::uint32_t data) noexcept override {
    sent.emplace_back(address, data);
  }
  std::vector<std::pair<std::uint64_t, std::uint32_t>> sent;
};

class FakeDoorbell : public Doorbell {
 public:
  void ring() noexcept override { ++rings; }
  void place(std::optional<GuestAddress> first, unsigned) noexcept override { at = first; }
  unsigned rings = 0;
  std::optional<GuestAddress> at;
};

class VirtioTest : public testing::Test {
 protected:
  static constexpr std::uint32_t kBar = 0x8000'0000;
  static constexpr std::uint16_t kSize = 16;
  static constexpr std::uint64_t kRings = 0x10000;  // a page each: descriptors, driver, device

  VirtioTest() {
    EXPECT_TRUE(
        target.attach(0, std::make_unique<scsi::ScsiDisk>(
                             scsi::ScsiIdentity{.serial = "V"},
                             scsi::DiskShape{.bytes = 1 << 20, .writable = true, .thin = true})));
    device.port().connect(0, disk);
    for (std::size_t i = 0; i < disk.bytes.size(); ++i)
      disk.bytes[i] = static_cast<std::byte>(i / 512);
    device.PciFunction::write(0x10, 4, kBar);
    device.PciFunction::write(0x04, 2, 6);
  }
  std::uint64_t get(std::uint64_t offset, std::size_t width) {
    std::array<std::byte, 8> raw{};
    bus.read({kBar + offset}, std::span{raw}.first(width));
    return load<Le64>(raw);
  }
  void put(std::uint64_t offset, std::size_t width, std::uint64_t value) {
    std::array<std::byte, 8> raw{};
    store(std::span<std::byte>{raw}, Le64{value});
    bus.write({kBar + offset}, std::span{raw}.first(width));
  }
  /// Features, queues, DRIVER_OK. Vectors are 0 for changes and the queue's number + 1.
  void start(std::uint64_t features = 1ULL << 32) {
    put(0x14, 1, 1);
    put(0x14, 1, 3);
    for (unsigned half = 0; half < 2; ++half) {
      put(0x08, 4, half);
      put(0x0c, 4, features >> (32 * half) & 0xffff'ffff);
    }
    put(0x14, 1, 11);
    for (unsigned i = 0; i < 4; ++i) {
      put(0x4000 + 16 * i, 8, 0xfee0'0000);
      put(0x4008 + 16 * i, 4, 0x40 + i);
      put(0x400c + 16 * i, 4, 0);
    }
    device.PciFunction::write(0x9a, 2, 0x8000);
    put(0x10, 2, 0);
    for (unsigned queue = 0; queue < 3; ++queue) {
      put(0x16, 2, queue);
      put(0x18, 2, kSize);
      put(0x1a, 2, queue + 1);
      put(0x20, 8, descriptors(queue));
      put(0x28, 4, driver(queue));
      put(0x2c, 4, 0);
      put(0x30, 8, used(queue));
      put(0x1c, 2, 1);
      next_[queue] = 0;
    }
    put(0x14, 1, 15);
  }
  static std::uint64_t descriptors(unsigned queue) { return kRings + queue * 0x3000ULL; }
  static std::uint64_t driver(unsigned queue) { return descriptors(queue) + 0x1000; }
  static std::uint64_t used(unsigned queue) { return descriptors(queue) + 0x2000; }

  template <class T>
  void poke(std::uint64_t at, T value) {
    store(memory.low().subspan(at), value);
  }
  std::uint32_t peek32(std::uint64_t at) { return load<Le32>(memory.low().subspan(at)); }
  std::uint16_t peek16(std::uint64_t at) { return load<Le16>(memory.low().subspan(at)); }

  struct Piece {
    std::uint64_t at;
    std::uint32_t bytes;
    bool writable;
  };
  void describe(std::uint64_t table, std::uint16_t first, const std::vector<Piece>& pieces) {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const auto at = table + 16 * (first + i);
      const bool last = i + 1 == pieces.size();
      poke(at, Le64{pieces[i].at});
      poke(at + 8, Le32{pieces[i].bytes});
      poke(at + 12,
           Le16{static_cast<std::uint16_t>((last ? 0 : 1) | (pieces[i].writable ? 2 : 0))});
      poke(at + 14, Le16{static_cast<std::uint16_t>(first + i + 1)});
    }
  }
  void offer(unsigned queue, std::uint16_t head) {
    poke(driver(queue) + 4 + 2ULL * (next_[queue] % kSize), Le16{head});
    poke(driver(queue) + 2, Le16{++next_[queue]});
  }
  /// A command header at `at`, for unit `lun`.
  void command_at(std::uint64_t at, std::initializer_list<unsigned> cdb, unsigned lun = 0,
                  unsigned controller_target = 0, std::uint64_t tag = 7) {
    std::fill_n(memory.low().begin() + static_cast<std::ptrdiff_t>(at), 64, std::byte{0});
    poke(at, std::byte{1});
    poke(at + 1, static_cast<std::byte>(controller_target));
    poke(at + 2, std::byte{0x40});
    poke(at + 3, static_cast<std::byte>(lun));
    poke(at + 8, Le64{tag});
    for (auto byte = cdb.begin(); byte != cdb.end(); ++byte)
      poke(at + 19 + static_cast<std::size_t>(byte - cdb.begin()), static_cast<std::byte>(*byte));
  }
  /// One READ(10) of block 3 to 0x5000: header at 0x4000, answer at 0x4100.
  void offer_read(std::uint16_t head = 0, std::uint64_t tag = 7) {
    command_at(0x4000, {0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0}, 0, 0, tag);
    describe(descriptors(2), head, {{0x4000, 51, false}, {0x4100, 108, true}, {0x5000, 512, true}});
    offer(2, head);
  }
  /// Serves until nothing is left to do.
  void serve() {
    for (bool more = true; more;) {
      more = device.serve();
      more = !disk.waiting.empty() || more;
      disk.run();
    }
    static_cast<void>(device.serve());
  }
  std::uint16_t given(unsigned queue) { return peek16(used(queue) + 2); }
  std::uint8_t byte_at(std::uint64_t at) { return std::to_integer<std::uint8_t>(memory.low()[at]); }
  std::uint8_t status() { return static_cast<std::uint8_t>(get(0x14, 1)); }

  GuestMemory memory = *GuestMemory::create({.bytes = kMinMemory});
  MemoryBus bus;
  FakeMessages messages;
  FakeDoorbell doorbell;
  scsi::test::MemoryBackend disk{1 << 20};
  scsi::ScsiTarget target;
  VirtioScsi device{{.memory = memory, .bus = bus, .messages = messages, .doorbell = doorbell},
                    target};
  std::array<std::uint16_t, 3> next_{};
};

}  // namespace openvhd::vmm::test
