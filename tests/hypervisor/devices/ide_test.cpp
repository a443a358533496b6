#include "hypervisor/devices/ide_fixture.hpp"

namespace openvhd::vmm {
namespace {

using namespace test;

TEST_F(IdeTest, IdentifyTellsSizeAndSerial) {
  out8(kDisk + 6, 0xa0);
  out8(kDisk + 7, 0xec);
  EXPECT_EQ(line14.rises, 1U);
  const auto words = take(kDisk, 512);
  const auto word = [&](std::size_t i) { return load<Le16>(std::span{words}.subspan(2 * i)); };
  EXPECT_EQ(word(60), 2048U);
  EXPECT_EQ(word(100), 2048U);
  EXPECT_EQ(word(10), 0x5331U) << "S1";
  EXPECT_EQ(word(106), 0x6003U) << "eight logical sectors in a physical one";
  EXPECT_EQ(in8(kDisk + 7), 0x50U);
}

TEST_F(IdeTest, PioReadsSectorBySectorWithAnInterruptEach) {
  address28(kDisk, 5, 2);
  out8(kDisk + 7, 0x20);
  EXPECT_TRUE(line14.level);
  EXPECT_EQ(in8(kDisk + 7), 0x58U);
  EXPECT_FALSE(line14.level);
  EXPECT_EQ(take(kDisk, 512), at_sector(5));
  EXPECT_EQ(line14.rises, 2U);
  EXPECT_EQ(in8(kDisk + 7), 0x58U);
  EXPECT_EQ(take(kDisk, 512), at_sector(6));
  EXPECT_EQ(in8(kDisk + 7), 0x50U);
  EXPECT_EQ(line14.rises, 2U);
}

TEST_F(IdeTest, PioWritesReachTheDisk) {
  address28(kDisk, 9, 2);
  out8(kDisk + 7, 0x30);
  EXPECT_EQ(line14.rises, 0U);
  give(kDisk, 512, 0x33);
  EXPECT_EQ(line14.rises, 1U);
  in8(kDisk + 7);
  give(kDisk, 512, 0x44);
  EXPECT_EQ(in8(kDisk + 7), 0x50U);
  EXPECT_EQ(line14.rises, 2U);
  EXPECT_EQ(at_sector(9), std::vector<std::byte>(512, std::byte{0x33}));
  EXPECT_EQ(at_sector(10), std::vector<std::byte>(512, std::byte{0x44}));
}

TEST_F(IdeTest, MultipleMovesBlocks) {
  out8(kDisk + 6, 0xe0);
  out8(kDisk + 2, 4);
  out8(kDisk + 7, 0xc6);
  address28(kDisk, 0, 6);
  out8(kDisk + 7, 0xc4);
  in8(kDisk + 7);
  EXPECT_EQ(take(kDisk, 4 * 512), at_sector(0, 4));
  in8(kDisk + 7);
  EXPECT_EQ(take(kDisk, 2 * 512), at_sector(4, 2));
  EXPECT_EQ(in8(kDisk + 7), 0x50U);
  EXPECT_EQ(line14.rises, 3U) << "the setting and two blocks";
}

TEST_F(IdeTest, FortyEightBitAddressesUsePreviousContents) {
  out8(kDisk + 6, 0xe0);
  for (const auto& [reg, high, low] : {std::tuple{2U, 0U, 1U}, std::tuple{3U, 0U, 7U},
                                       std::tuple{4U, 0U, 0U}, std::tuple{5U, 0U, 0U}}) {
    out8(kDisk + reg, high);
    out8(kDisk + reg, low);
  }
  out8(kDisk + 7, 0x24);
  EXPECT_EQ(take(kDisk, 512), at_sector(7));
  out8(0x3f6, 0x80);
  EXPECT_EQ(in8(kDisk + 3), 0U);
  out8(0x3f6, 0x00);
  EXPECT_EQ(in8(kDisk + 3), 7U);
}

TEST_F(IdeTest, DmaReadsIntoThePiecesOfTheTable) {
  address28(kDisk, 3, 4);
  out8(kDisk + 7, 0xc8);
  descriptors({{0x5000, 512}, {0x9000, 1024}, {0x7000, 4096}});
  start_master(0, true);
  EXPECT_EQ(memory_at(0x5000, 512), at_sector(3));
  EXPECT_EQ(memory_at(0x9000, 1024), at_sector(4, 2));
  EXPECT_EQ(memory_at(0x7000, 512), at_sector(6));
  EXPECT_EQ(memory_at(0x7200, 512), std::vector<std::byte>(512));
  EXPECT_TRUE(line14.level);
  EXPECT_EQ(in8(kMaster + 2) & 7, 4U);
  EXPECT_EQ(in8(kDisk + 7), 0x50U);
}

TEST_F(IdeTest, DmaWritesAndTheEngineMayStartFirst) {
  descriptors({{0x5000, 1024}});
  std::ranges::fill(memory.low().subspan(0x5000, 1024), std::byte{0x5c});
  start_master(0, false);
  EXPECT_EQ(line14.rises, 0U);
  address28(kDisk, 20, 2);
  out8(kDisk + 7, 0xca);
  EXPECT_EQ(at_sector(20, 2), std::vector<std::byte>(1024, std::byte{0x5c}));
  EXPECT_EQ(in8(kDisk + 7), 0x50U);
}

TEST_F(IdeTest, TablesThatReachOutsideOfMemoryAreRefused) {
  const auto before = block.bytes();
  for (const std::uint32_t base : {0xfee0'0000U, 0xffff'fffeU, 0x000a'0000U, 0x003f'ff00U}) {
    address28(kDisk, 3, 1);
    out8(kDisk + 7, 0xca);
    descriptors({{base, 512}});
    start_master(0, false);
    EXPECT_EQ(in8(kMaster + 2) & 3, 2U) << base;
    EXPECT_EQ(in8(kDisk + 7), 0x41U);
    EXPECT_EQ(in8(kDisk + 1), 0x04U);
    out8(kMaster, 0);
  }
  EXPECT_EQ(block.bytes(), before);
}

TEST_F(IdeTest, ATableShorterThanTheCommandIsRefused) {
  address28(kDisk, 3, 2);
  out8(kDisk + 7, 0xc8);
  descriptors({{0x5000, 512}});
  start_master(0, true);
  EXPECT_EQ(in8(kDisk + 7), 0x41U);
  EXPECT_EQ(memory_at(0x5000, 512), std::vector<std::byte>(512)) << "nothing in part";
}

TEST_F(IdeTest, ATableWithoutEndIsBounded) {
  ports.write(kMaster + 4, 4, 0x1000);  // zeros: 64 KiB each at address 0, no end
  out8(kDisk + 6, 0xe0);
  for (const unsigned reg : {2U, 3U, 4U, 5U}) {
    out8(kDisk + reg, 0);
    out8(kDisk + reg, 0);
  }
  out8(kDisk + 7, 0x25);  // 65,536 sectors: more than the disk has
  EXPECT_EQ(in8(kDisk + 1), 0x10U);
}

TEST_F(IdeTest, SectorsBeyondTheDiskAreNotFound) {
  address28(kDisk, 2047, 2);
  out8(kDisk + 7, 0x20);
  EXPECT_EQ(in8(kDisk + 7), 0x41U);
  EXPECT_EQ(in8(kDisk + 1), 0x10U);
}

TEST_F(IdeTest, AFailedReadIsUncorrectable) {
  block.broken = true;
  address28(kDisk, 0, 1);
  out8(kDisk + 7, 0x20);
  EXPECT_EQ(in8(kDisk + 7), 0x41U);
  EXPECT_EQ(in8(kDisk + 1), 0x40U);
}

TEST_F(IdeTest, FlushReachesTheDiskAndWithoutCacheWritesAreDurable) {
  out8(kDisk + 6, 0xe0);
  out8(kDisk + 7, 0xe7);
  EXPECT_EQ(block.flushes, 1U);
  out8(kDisk + 1, 0x82);
  out8(kDisk + 7, 0xef);
  EXPECT_EQ(block.flushes, 2U);
  address28(kDisk, 0, 1);
  out8(kDisk + 7, 0x30);
  give(kDisk, 512, 1);
  EXPECT_EQ(block.durable_writes, 1U);
}

TEST_F(IdeTest, ResetWaitsForATransferUnderWay) {
  block.held = true;
  address28(kDisk, 3, 1);
  out8(kDisk + 7, 0xc8);
  descriptors({{0x5000, 512}});
  start_master(0, true);
  EXPECT_EQ(in8(0x3f6), 0x80U);
  out8(0x3f6, 4);
  out8(0x3f6, 0);
  EXPECT_EQ(in8(0x3f6), 0x80U) << "busy until its memory is no longer written";
  block.release();
  EXPECT_EQ(in8(0x3f6), 0x50U);
  EXPECT_EQ(in8(kDisk + 2), 1U);
  EXPECT_EQ(line14.rises, 0U);
}

TEST_F(IdeTest, WhileBusyCommandsAndRegistersAreIgnored) {
  block.held = true;
  address28(kDisk, 3, 1);
  out8(kDisk + 7, 0x20);
  out8(kDisk + 3, 99);
  out8(kDisk + 7, 0xec);
  ASSERT_EQ(block.requests.size(), 1U);
  block.release();
  EXPECT_EQ(take(kDisk, 512), at_sector(3));
}

TEST_F(IdeTest, AnAbsentDriveIsSilent) {
  out8(kDisk + 6, 0xb0);
  out8(kDisk + 2, 0x55);
  EXPECT_EQ(in8(kDisk + 2), 0U);
  EXPECT_EQ(in8(kDisk + 7), 0U);
  out8(kDisk + 7, 0xec);
  EXPECT_EQ(line14.rises, 0U);
  EXPECT_EQ(ports.read(kDisk, 2), 0U);
}

TEST_F(IdeTest, NoInterruptWhereTheGuestWantsNone) {
  out8(0x3f6, 2);
  out8(kDisk + 6, 0xa0);
  out8(kDisk + 7, 0xec);
  EXPECT_EQ(line14.rises, 0U);
  out8(0x3f6, 0);
  EXPECT_TRUE(line14.level);
}

TEST_F(IdeTest, TheCdShowsItsSignatureAndItsSize) {
  out8(0x376, 4);
  out8(0x376, 0);
  EXPECT_EQ(in8(kCd + 4), 0x14U);
  EXPECT_EQ(in8(kCd + 5), 0xebU);
  packet({0x25});
  EXPECT_EQ(in8(kCd + 2), 2U);
  const auto got = take(kCd, 8);
  EXPECT_EQ(load<Be32>(std::span{got}), 63U);
  EXPECT_EQ(load<Be32>(std::span{got}.subspan(4)), 2048U);
  EXPECT_EQ(in8(kCd + 7), 0x50U);
  EXPECT_EQ(in8(kCd + 2), 3U);
}

TEST_F(IdeTest, TheCdReadsInPiecesOfTheGuestsLimit) {
  packet({0x28, 0, 0, 0, 0, 2, 0, 0, 1}, false, 1000);
  std::vector<std::byte> got;
  while ((in8(kCd + 7) & 8) != 0) {
    const std::size_t bytes = in8(kCd + 4) | in8(kCd + 5) << 8;
    ASSERT_LE(bytes, 1000U);
    const auto piece = take(kCd, bytes);
    got.insert(got.end(), piece.begin(), piece.end());
  }
  EXPECT_EQ(got, std::vector(disc.bytes().begin() + 4096, disc.bytes().begin() + 6144));
  EXPECT_EQ(line15.rises, 4U) << "three pieces and the end";
}

TEST_F(IdeTest, TheCdReadsByDma) {
  descriptors({{0x8000, 2048}, {0x6000, 2048}});
  packet({0xa8, 0, 0, 0, 0, 1, 0, 0, 0, 2}, true);
  start_master(1, true);
  EXPECT_EQ(memory_at(0x8000, 2048),
            std::vector(disc.bytes().begin() + 2048, disc.bytes().begin() + 4096));
  EXPECT_EQ(memory_at(0x6000, 2048),
            std::vector(disc.bytes().begin() + 4096, disc.bytes().begin() + 6144));
  EXPECT_EQ(in8(kCd + 7), 0x50U);
}

TEST_F(IdeTest, TheCdRefusesWithSense) {
  packet({0x28, 0, 0, 0, 0, 63, 0, 0, 2});
  EXPECT_EQ(in8(kCd + 7), 0x41U);
  EXPECT_EQ(in8(kCd + 1) >> 4, 5U);
  packet({0x03, 0, 0, 0, 18});
  const auto got = take(kCd, 18);
  EXPECT_EQ(got[2], std::byte{5});
  EXPECT_EQ(got[12], std::byte{0x21});
  packet({0xff});
  EXPECT_EQ(in8(kCd + 7), 0x41U);
}

TEST_F(IdeTest, ShortAllocationsCutAnswers) {
  packet({0x12, 0, 0, 0, 6});
  EXPECT_EQ(in8(kCd + 4) | in8(kCd + 5) << 8, 6U);
  take(kCd, 6);
  EXPECT_EQ(in8(kCd + 7), 0x50U);
  packet({0x12, 0, 0, 0, 0});
  EXPECT_EQ(in8(kCd + 7), 0x50U) << "nothing asked, nothing given";
}

TEST_F(IdeTest, ADiskThatIsReadOnlyAbortsWrites) {
  MemoryBlock fixed{1 << 20, false};
  ide.channel(0).insert(1, std::make_unique<AtaDisk>(fixed));
  address28(kDisk, 0, 1);
  out8(kDisk + 6, 0xf0);
  out8(kDisk + 7, 0x30);
  EXPECT_EQ(in8(kDisk + 7), 0x41U);
  EXPECT_EQ(in8(kDisk + 1), 0x04U);
}

TEST_F(IdeTest, TheOtherDriveCannotTakeALiveTransfersPieces) {
  MemoryBlock other{1 << 20};
  ide.channel(0).insert(1, std::make_unique<AtaDisk>(other));
  block.held = true;
  descriptors({{0x5000, 512}});
  address28(kDisk, 3, 1);
  out8(kDisk + 7, 0xc8);
  start_master(0, true);
  out8(kDisk + 6, 0xf0);
  out8(kDisk + 2, 1);
  out8(kDisk + 7, 0xc8);
  out8(kMaster, 0);
  out8(kMaster, 9);
  EXPECT_TRUE(other.requests.empty());
  block.release();
  EXPECT_EQ(memory_at(0x5000, 512), at_sector(3));
}

}  // namespace
}  // namespace openvhd::vmm
