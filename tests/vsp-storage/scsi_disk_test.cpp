#include <numeric>

#include "initiator.hpp"

namespace openvhd::scsi {
namespace {

using namespace test;

TEST_F(ScsiTest, ReadsOfEveryLengthGiveTheBlocks) {
  EXPECT_TRUE(same(run({0x08, 0, 0, 5, 2, 0}, 1024), at_block(5, 2)));
  EXPECT_TRUE(same(run({0x08, 0, 0, 5, 0, 0}, 256 * 512), at_block(5, 256))) << "0 is 256";
  EXPECT_TRUE(same(run({0x28, 0, 0, 0, 0, 5, 0, 0, 3, 0}, 1536), at_block(5, 3)));
  EXPECT_TRUE(same(run({0xa8, 0, 0, 0, 0, 5, 0, 0, 0, 3}, 1536), at_block(5, 3)));
  EXPECT_TRUE(same(run({0x88, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 3}, 1536), at_block(5, 3)));
  EXPECT_TRUE(run({0x28, 0, 0, 0, 0, 5, 0, 0, 0, 0}).empty()) << "0 is none";
  EXPECT_TRUE(good());
}

TEST_F(ScsiTest, WritesOfEveryLengthChangeTheBlocks) {
  Bytes data(1024);
  const auto writes = [&](std::initializer_list<unsigned> cdb, std::size_t block) {
    std::iota(data.begin(), data.end(), static_cast<std::uint8_t>(block));
    run(cdb, 0, data);
    EXPECT_TRUE(good());
    EXPECT_EQ(request.moved, 1024U);
    EXPECT_TRUE(same(data, at_block(block, 2))) << block;
  };
  writes({0x0a, 0, 0, 11, 2, 0}, 11);
  writes({0x2a, 0, 0, 0, 0, 22, 0, 0, 2, 0}, 22);
  writes({0xaa, 0, 0, 0, 0, 33, 0, 0, 0, 2}, 33);
  writes({0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 44, 0, 0, 0, 2}, 44);
  EXPECT_EQ(backend.durable, 0U);
  writes({0x2e, 0, 0, 0, 0, 55, 0, 0, 2, 0}, 55);
  EXPECT_EQ(backend.durable, 1U) << "what is verified is on the medium";
}

TEST_F(ScsiTest, DataGoesStraightIntoTheInitiatorsPages) {
  run({0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}, 4096);
  EXPECT_EQ(backend.last_buffer, in_.data());
  EXPECT_EQ(request.moved, 512U);
  EXPECT_EQ(in_[512], 0xee) << "no more than was asked for";
}

TEST_F(ScsiTest, AddressesBeyondTheEndAreRefused) {
  const auto refused = [&](std::initializer_list<unsigned> cdb) {
    run(cdb, 4096);
    EXPECT_EQ(sense(), kOutOfRange) << *cdb.begin();
  };
  refused({0x28, 0, 0, 0, 8, 0, 0, 0, 1, 0});
  refused({0x28, 0, 0, 0, 7, 255, 0, 0, 2, 0});
  refused({0x2f, 0, 0, 0, 8, 0, 0, 0, 1, 0});
  refused({0x35, 0, 0, 0, 8, 1, 0, 0, 0, 0});
  refused({0x88, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 2});
  refused({0x08, 0x1f, 255, 255, 1, 0});
  EXPECT_EQ(backend.transfers, 0U);
}

TEST_F(ScsiTest, AListThatIsTooShortIsAnOverrunAndMovesNothing) {
  run({0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0}, 1023);
  EXPECT_TRUE(request.overrun);
  run({0x2a, 0, 0, 0, 0, 0, 0, 0, 2, 0}, 0, Bytes(512));
  EXPECT_TRUE(request.overrun);
  run({0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0}, 0, Bytes(8));
  EXPECT_TRUE(request.overrun);
  run({0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0}, 512);
  EXPECT_TRUE(request.overrun);
  EXPECT_EQ(backend.transfers, 0U);
}

TEST_F(ScsiTest, ForcedAndUncachedWritesAreDurable) {
  run({0x2a, 0x08, 0, 0, 0, 1, 0, 0, 1, 0}, 0, Bytes(512));
  EXPECT_EQ(backend.durable, 1U);
  run({0x2a, 0, 0, 0, 0, 1, 0, 0, 1, 0}, 0, Bytes(512));
  EXPECT_EQ(backend.durable, 1U);
  run({0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  EXPECT_EQ(backend.flushes, 1U);
  // MODE SELECT: the caching page with WCE off.
  Bytes page(4 + 20);
  page[4] = 0x08;
  page[5] = 18;
  run({0x15, 0x10, 0, 0, 24, 0}, 0, page);
  EXPECT_TRUE(good());
  EXPECT_EQ(backend.flushes, 2U) << "what was cached becomes durable";
  EXPECT_EQ(run({0x1a, 0, 0x08, 0, 255, 0}, 255).at(6) & 4, 0);
  run({0x2a, 0, 0, 0, 0, 1, 0, 0, 1, 0}, 0, Bytes(512));
  EXPECT_EQ(backend.durable, 2U);
}

TEST_F(ScsiTest, UnmapTrimsEachExtent) {
  Bytes list(8 + 32);
  list[1] = 38;
  list[3] = 32;
  list[8 + 7] = 16;
  list[8 + 11] = 4;
  list[24 + 7] = 100;
  list[24 + 11] = 1;
  run({0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0}, 0, list);
  EXPECT_TRUE(good());
  EXPECT_EQ(backend.trims, 2U);
  for (const auto byte : at_block(16, 4)) EXPECT_EQ(byte, std::byte{0});
  EXPECT_NE(at_block(20)[0], std::byte{0});
  list[24 + 6] = 0x08;  // block 2148
  run({0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0}, 0, list);
  EXPECT_EQ(sense(), kOutOfRange);
  EXPECT_EQ(backend.trims, 2U) << "all or nothing";
  list[2] = 1;  // descriptors that pass the list
  run({0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0}, 0, list);
  EXPECT_EQ(sense(), kParameterListLength);
  run({0x42, 0, 0, 0, 0, 0, 0, 0, 7, 0}, 0, list);
  EXPECT_EQ(sense(), kParameterListLength);
  run({0x42, 0, 0, 0, 0, 0, 0, 255, 255, 0}, 0, Bytes(65535));
  EXPECT_EQ(sense(), kInvalidParameter) << "more than B0h allows";
  run({0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  EXPECT_TRUE(good());
}

TEST_F(ScsiTest, WriteSameZeroesTrimsOrRepeats) {
  run({0x93, 0x00, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 8}, 0, Bytes(512));
  EXPECT_EQ(backend.zeroes, 1U);
  run({0x41, 0x08, 0, 0, 0, 16, 0, 0, 8, 0}, 0, Bytes(512));
  EXPECT_EQ(backend.trims, 1U);
  run({0x93, 0x01, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 8});  // NDOB: no data comes
  EXPECT_EQ(backend.zeroes, 2U);
  EXPECT_EQ(backend.transfers, 0U);
  // 400 blocks of a pattern: more than one transfer.
  Bytes block(512);
  std::iota(block.begin(), block.end(), std::uint8_t{1});
  run({0x93, 0, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 1, 0x90}, 0, block);
  EXPECT_TRUE(good());
  EXPECT_EQ(backend.transfers, 2U);
  for (const std::size_t at : {100U, 101U, 356U, 499U})
    EXPECT_TRUE(same(block, at_block(at))) << at;
  EXPECT_FALSE(same(block, at_block(99)));
  EXPECT_FALSE(same(block, at_block(500)));
  run({0x41, 0, 0, 0, 0, 16, 0, 0, 0, 0}, 0, Bytes(512));
  EXPECT_EQ(sense(), kInvalidField) << "WSNZ: none is not all";
}

// RELIABILITY e.2, the column for SCSI.
TEST_F(ScsiTest, FailuresOfTheImageHaveTheirSense) {
  struct Row {
    Errc code;
    Sense read, write;
  };
  constexpr std::array kRows = {
      Row{Errc::io, kReadError, kWriteError},
      Row{Errc::corrupt, kReadError, kWriteError},
      Row{Errc::no_space, kNoSpace, kNoSpace},
      Row{Errc::poisoned, kTargetFailure, kTargetFailure},
      Row{Errc::fenced, kNotReady, kNotReady},
      Row{Errc::read_only, kWriteProtected, kWriteProtected},
  };
  for (const auto& row : kRows) {
    for (const bool refused : {false, true}) {
      (refused ? backend.refusal : backend.failure) = Error{.code = row.code, .what = "test"};
      run({0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}, 512);
      EXPECT_EQ(sense(), row.read) << to_string(row.code);
      EXPECT_EQ(request.moved, 0U);
      run({0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0}, 0, Bytes(512));
      EXPECT_EQ(sense(), row.write) << to_string(row.code);
      backend.refusal = backend.failure = {};
    }
  }
  backend.failure = Error{.code = Errc::poisoned, .what = "test"};
  run({0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  EXPECT_EQ(sense(), kTargetFailure) << "a sync that failed is a hardware error";
  backend.failure = {};
  backend.refusal = Error{.code = Errc::busy, .what = "test"};
  run({0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}, 512);
  EXPECT_EQ(request.status, ScsiStatus::task_set_full);
}

TEST_F(ScsiTest, ResizingIsToldOnce) {
  disk->resized(2 << 20);
  EXPECT_EQ(run({0x12, 0, 0, 0, 36, 0}, 36).size(), 36U) << "INQUIRY does not take it";
  run({0x00, 0, 0, 0, 0, 0});
  EXPECT_EQ(sense(), kCapacityChanged);
  run({0x00, 0, 0, 0, 0, 0});
  EXPECT_TRUE(good());
  EXPECT_EQ(number(run({0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 8), 0, 4), 4095U);
}

class ReadOnlyDisk : public ScsiTest {
 protected:
  ReadOnlyDisk() : ScsiTest{{.bytes = kBytes}} {}
};

TEST_F(ReadOnlyDisk, WritesAreRefusedAndFlushesAreNothing) {
  run({0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0}, 0, Bytes(512));
  EXPECT_EQ(sense(), kWriteProtected);
  run({0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0}, 0, Bytes(512));
  EXPECT_EQ(sense(), kWriteProtected);
  run({0x42, 0, 0, 0, 0, 0, 0, 0, 8, 0}, 0, Bytes(8));
  EXPECT_EQ(sense(), kInvalidCommand) << "it is not thin";
  run({0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  EXPECT_TRUE(good());
  EXPECT_EQ(backend.flushes, 0U);
  EXPECT_EQ(run({0x1a, 0, 0x3f, 0, 255, 0}, 255).at(2) & 0x80, 0x80);
}

class LargeBlocks : public ScsiTest {
 protected:
  LargeBlocks()
      : ScsiTest{
            {.bytes = kBytes, .logical_block = 4096, .physical_block = 4096, .writable = true}} {}
};

TEST_F(LargeBlocks, AddressesCountBlocksOf4096) {
  const auto capacity = run({0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32}, 32);
  EXPECT_EQ(number(capacity, 0, 8), 255U);
  EXPECT_EQ(number(capacity, 8, 4), 4096U);
  EXPECT_EQ(capacity[13], 0);
  EXPECT_TRUE(same(run({0x28, 0, 0, 0, 0, 7, 0, 0, 2, 0}, 8192), at_block(7, 2, 4096)));
  run({0x28, 0, 0, 0, 1, 0, 0, 0, 1, 0}, 4096);
  EXPECT_EQ(sense(), kOutOfRange);
}

class HugeDisk : public ScsiTest {
 protected:
  HugeDisk() : ScsiTest{{.bytes = 64ULL << 40, .writable = true}} {}
};

TEST_F(HugeDisk, TheShortCapacitySaysToAskForTheLongOne) {
  EXPECT_EQ(number(run({0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 8), 0, 4), 0xffff'ffffU);
  const auto capacity = run({0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32}, 32);
  EXPECT_EQ(number(capacity, 0, 8), (64ULL << 31) - 1);
  run({0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0}, 512);
  EXPECT_EQ(sense(), kInvalidField) << "more than a queue takes at once";
}

}  // namespace
}  // namespace openvhd::scsi
