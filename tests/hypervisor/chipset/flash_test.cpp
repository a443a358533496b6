#include "chipset/flash.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace openvhd::vmm {
namespace {

class FlashTest : public testing::Test, public FlashHost {
 protected:
  FlashTest() { bus.attach({kBase}, content.size(), flash); }
  void show_array(bool array) noexcept override {
    shown = array;
    ++switches;
  }
  bool keep(std::uint64_t offset, std::uint64_t bytes) noexcept override {
    kept.emplace_back(offset, bytes);
    return !broken;
  }
  void put(std::uint64_t offset, unsigned value) {
    const auto byte = static_cast<std::byte>(value);
    bus.write({kBase + offset}, {&byte, 1});
  }
  unsigned get(std::uint64_t offset) {
    std::byte byte{};
    bus.read({kBase + offset}, {&byte, 1});
    return std::to_integer<unsigned>(byte);
  }

  static constexpr std::uint64_t kBase = 0xffc0'0000;
  std::vector<std::byte> content = std::vector<std::byte>(4 * Flash::kBlock, std::byte{0xff});
  bool shown = true, broken = false;
  unsigned switches = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> kept;
  MemoryBus bus;
  Flash flash{content, *this};
};

// The accesses by which OVMF tells flash from RAM and from ROM.
TEST_F(FlashTest, FirmwareRecognisesIt) {
  content[1] = std::byte{0x5a};
  put(1, 0x50);
  EXPECT_EQ(get(1), 0x5aU) << "RAM would have kept 50h";
  put(1, 0x70);
  EXPECT_EQ(get(1), 0x00U) << "ROM would not have changed, RAM have kept 70h";
  EXPECT_FALSE(shown);
  put(1, 0xff);
  EXPECT_TRUE(shown);
  EXPECT_EQ(get(1), 0x5aU);
}

TEST_F(FlashTest, ProgrammingClearsBitsAndErasingSetsThem) {
  put(5000, 0x10);
  put(5000, 0xf0);
  EXPECT_EQ(get(5000), 0x80U) << "the status, ready";
  put(5000, 0x40);
  put(5000, 0x3c);
  put(0, 0xff);
  EXPECT_EQ(get(5000), 0x30U);
  put(5001, 0x20);
  put(5001, 0xd0);
  put(0, 0xff);
  EXPECT_EQ(get(5000), 0xffU);
  EXPECT_EQ(kept, (std::vector<std::pair<std::uint64_t, std::uint64_t>>{
                      {5000, 1}, {5000, 1}, {4096, 4096}}));
}

TEST_F(FlashTest, AnEraseThatIsNotConfirmedChangesNothing) {
  content[0] = std::byte{1};
  put(0, 0x20);
  put(0, 0x00);
  EXPECT_EQ(get(0), 0xb0U);
  put(0, 0x50);
  EXPECT_EQ(get(0), 1U);
  EXPECT_TRUE(kept.empty());
}

TEST_F(FlashTest, WhatCannotBeKeptIsAnErrorToTheGuest) {
  broken = true;
  put(0, 0x10);
  put(0, 0);
  EXPECT_EQ(get(0), 0x90U);
  put(0, 0x50);
  put(0, 0x20);
  put(0, 0xd0);
  EXPECT_EQ(get(0), 0xa0U);
}

TEST_F(FlashTest, TheTableDescribesBlocksAndSize) {
  put(0, 0x98);
  EXPECT_EQ(get(0x10), static_cast<unsigned>('Q'));
  EXPECT_EQ(get(0x27), 14U) << "16 KiB";
  EXPECT_EQ(get(0x2d), 3U);
  EXPECT_EQ(get(0x30) << 16 | get(0x2f) << 8, Flash::kBlock);
  EXPECT_EQ(get(0x3fff), 0U);
  put(0, 0x90);
  EXPECT_EQ(get(0), 0x89U);
}

TEST_F(FlashTest, AccessesThatPassTheEndAreNobodys) {
  std::vector<std::byte> eight(8);
  bus.read({kBase + content.size() - 4}, eight);
  EXPECT_EQ(eight, std::vector<std::byte>(8, std::byte{0xff}));
  bus.write({kBase + content.size() - 4}, eight);
  bus.write({~0ULL - 3}, eight);
  EXPECT_EQ(switches, 0U);
  std::vector<std::byte> many(9);
  bus.read({kBase}, many);
  EXPECT_EQ(many[8], std::byte{0xff});
}

}  // namespace
}  // namespace openvhd::vmm
