/// A PIIX IDE function on a port bus with a disk and a CD, as a guest sees it.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "base/stored.hpp"
#include "devices/ata_disk.hpp"
#include "devices/atapi_cd.hpp"
#include "devices/piix_ide.hpp"
#include "hypervisor/chipset/parts.hpp"
#include "hypervisor/devices/memory_block.hpp"

namespace openvhd::vmm::test {

constexpr std::uint16_t kDisk = 0x1f0, kCd = 0x170, kMaster = 0xc000;

class IdeTest : public testing::Test {
 protected:
  IdeTest() {
    for (std::size_t i = 0; i < block.bytes().size(); ++i)
      block.bytes()[i] = static_cast<std::byte>(i / 512 + i % 7);
    for (std::size_t i = 0; i < disc.bytes().size(); ++i)
      disc.bytes()[i] = static_cast<std::byte>(i / 2048 + i % 5);
    ide.channel(0).insert(0, std::make_unique<AtaDisk>(block));
    ide.channel(1).insert(0, std::make_unique<AtapiCd>(disc));
    ide.write(0x20, 4, kMaster);
    ide.write(0x04, 2, 5);
  }
  void out8(unsigned port, unsigned value) {
    ports.write(static_cast<std::uint16_t>(port), 1, value);
  }
  unsigned in8(unsigned port) { return ports.read(static_cast<std::uint16_t>(port), 1); }
  void address28(std::uint16_t base, std::uint32_t sector, unsigned count) {
    out8(base + 6U, 0xe0 | (sector >> 24));
    out8(base + 2U, count);
    out8(base + 3U, sector & 0xff);
    out8(base + 4U, sector >> 8 & 0xff);
    out8(base + 5U, sector >> 16 & 0xff);
  }
  std::vector<std::byte> take(std::uint16_t base, std::size_t bytes) {
    std::vector<std::byte> got;
    for (std::size_t i = 0; i < bytes / 2; ++i) {
      const auto word = ports.read(base, 2);
      got.push_back(static_cast<std::byte>(word));
      got.push_back(static_cast<std::byte>(word >> 8));
    }
    return got;
  }
  void give(std::uint16_t base, std::size_t bytes, unsigned value) {
    for (std::size_t i = 0; i < bytes / 2; ++i) ports.write(base, 2, value << 8 | value);
  }
  void packet(std::initializer_list<unsigned> bytes, bool dma = false, unsigned limit = 0xfffe) {
    out8(kCd + 6, 0xa0);
    out8(kCd + 1, dma ? 1 : 0);
    out8(kCd + 4, limit & 0xff);
    out8(kCd + 5, limit >> 8);
    out8(kCd + 7, 0xa0);
    ASSERT_EQ(in8(kCd + 7) & 0x88, 0x08U) << "the drive waits for the packet";
    std::array<unsigned, 12> all{};
    std::copy(bytes.begin(), bytes.end(), all.begin());
    for (std::size_t i = 0; i < 12; i += 2) ports.write(kCd, 2, all.at(i) | all.at(i + 1) << 8);
  }
  // A table at 0x1000; the last entry ends it.
  void descriptors(std::initializer_list<std::pair<std::uint32_t, std::uint16_t>> entries,
                   bool last = true) {
    std::uint64_t at = 0x1000;
    std::size_t left = entries.size();
    for (const auto& [base, bytes] : entries) {
      std::array<std::byte, 8> raw{};
      store(std::span<std::byte>{raw}, Le32{base});
      store(std::span<std::byte>{raw}.subspan(4), Le16{bytes});
      if (--left == 0 && last) raw[7] = std::byte{0x80};
      ASSERT_TRUE(memory.write({at}, raw));
      at += 8;
    }
  }
  void start_master(unsigned channel, bool to_memory) {
    const unsigned base = kMaster + channel * 8;
    ports.write(static_cast<std::uint16_t>(base + 4), 4, 0x1000);
    out8(base + 2, 0x06);
    out8(base, to_memory ? 9 : 1);
  }
  std::vector<std::byte> at_sector(std::size_t sector, std::size_t count = 1) {
    const auto begin = block.bytes().begin() + static_cast<std::ptrdiff_t>(sector * 512);
    return {begin, begin + static_cast<std::ptrdiff_t>(count * 512)};
  }
  std::vector<std::byte> memory_at(std::size_t at, std::size_t bytes) {
    const auto from = memory.low().subspan(at, bytes);
    return {from.begin(), from.end()};
  }

  GuestMemory memory = *GuestMemory::create({.bytes = kMinMemory});
  FakeLine line14, line15;
  PortBus ports;
  MemoryBlock block{1 << 20};
  MemoryBlock disc{64 * 2048, false};
  PiixIde ide{{.bus = ports, .memory = memory, .primary = line14, .secondary = line15}};
};

}  // namespace openvhd::vmm::test
