#include "chipset/fw_cfg.hpp"

#include <gtest/gtest.h>

#include "base/stored.hpp"
#include "hypervisor/chipset/parts.hpp"

namespace openvhd::vmm {
namespace {

using namespace test;

class FwCfgTest : public testing::Test {
 protected:
  FwCfgTest() {
    config.add_file("b/second", {std::byte{1}, std::byte{2}, std::byte{3}});
    config.add_file("a/first", {std::byte{9}});
  }
  // Control word of the request after it has run.
  std::uint32_t dma(std::uint32_t control, std::uint32_t length, std::uint64_t address,
                    std::uint64_t at = 0x1000) {
    std::array<std::byte, 16> request{};
    store(std::span<std::byte>{request}, Be32{control});
    store(std::span<std::byte>{request}.subspan(4), Be32{length});
    store(std::span<std::byte>{request}.subspan(8), Be64{address});
    EXPECT_TRUE(memory.write({at}, request));
    out(config, 4, byteswap(static_cast<std::uint32_t>(at >> 32)), 4);
    out(config, 8, byteswap(static_cast<std::uint32_t>(at)), 4);
    return load<Be32>(memory.low().subspan(at));
  }
  std::uint8_t byte_at(std::uint64_t at) { return std::to_integer<std::uint8_t>(memory.low()[at]); }

  GuestMemory memory = *GuestMemory::create({.bytes = kMinMemory});
  FwCfg config{memory};
};

TEST_F(FwCfgTest, SignatureAndFeaturesByPort) {
  out(config, 0, 0, 2);
  for (const char c : {'Q', 'E', 'M', 'U'}) EXPECT_EQ(in(config, 1), static_cast<std::uint32_t>(c));
  EXPECT_EQ(in(config, 1), 0U) << "beyond the end";
  out(config, 0, 1, 2);
  EXPECT_EQ(in(config, 1), 3U);
  EXPECT_EQ(in(config, 4, 4), byteswap(0x51454d55U));
}

TEST_F(FwCfgTest, TheDirectoryIsSortedAndNamesItsFiles) {
  ASSERT_EQ(dma(0x19'000a, 4 + 2 * 64, 0x2000), 0U);
  EXPECT_EQ(byte_at(0x2003), 2);
  EXPECT_EQ(byte_at(0x2004 + 8), 'a');
  EXPECT_EQ(byte_at(0x2004 + 3), 1);     // bytes
  EXPECT_EQ(byte_at(0x2004 + 5), 0x21);  // key
  EXPECT_EQ(byte_at(0x2044 + 8), 'b');
  EXPECT_EQ(byte_at(0x2044 + 3), 3);
}

TEST_F(FwCfgTest, DmaSelectsSkipsReadsAndPadsWithZeros) {
  memory.low()[0x2002] = std::byte{0xee};
  ASSERT_EQ(dma(0x20'000c, 1, 0), 0U);  // select, skip one
  ASSERT_EQ(dma(2, 3, 0x2000), 0U);
  EXPECT_EQ(byte_at(0x2000), 2);
  EXPECT_EQ(byte_at(0x2001), 3);
  EXPECT_EQ(byte_at(0x2002), 0);
}

TEST_F(FwCfgTest, DmaOutsideOfMemoryIsAnErrorAndWritesNothing) {
  EXPECT_EQ(dma(0x20'000a, 3, 0xfee0'0000), 1U);
  EXPECT_EQ(dma(0x20'000a, 3, ~0ULL), 1U);
  EXPECT_EQ(dma(0x20'000a, FwCfg::kMaxTransfer + 1, 0x2000), 1U);
  EXPECT_EQ(dma(0x20'000a, 3, kMinMemory - 2), 1U);
  EXPECT_EQ(byte_at(kMinMemory - 1), 0);
}

TEST_F(FwCfgTest, AnItemThatThereIsNotReadsAsZeros) {
  memory.low()[0x2000] = std::byte{0xee};
  EXPECT_EQ(dma(0x3333'000a, 1, 0x2000), 0U);
  EXPECT_EQ(byte_at(0x2000), 0);
}

TEST_F(FwCfgTest, WritingToItemsIsRefused) { EXPECT_EQ(dma(0x20'0018, 1, 0x2000), 1U); }

TEST_F(FwCfgTest, ARequestOutsideOfMemoryIsIgnored) {
  out(config, 4, byteswap(0xffff'ffffU), 4);
  out(config, 8, byteswap(0xffff'fffcU), 4);
  EXPECT_EQ(dma(0x20'000a, 1, 0x2000), 0U) << "and the next one works";
}

}  // namespace
}  // namespace openvhd::vmm
