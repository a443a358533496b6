#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <vector>

#include "image/fake_layer.hpp"
#include "image/ops/clear_op.hpp"
#include "image/ops/flush_op.hpp"
#include "image/ops/map_op.hpp"
#include "image/ops/read_op.hpp"
#include "image/ops/write_op.hpp"
#include "io/blocking_driver.hpp"
#include "support/bytes.hpp"
#include "support/memory_file.hpp"
#include "support/shuffle_driver.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kBlock = FakeLayer::kBlock;
constexpr std::uint64_t kBlocks = 12;
constexpr std::uint64_t kSize = kBlocks * kBlock;

/// A child over a smaller parent; every third block of the child is data, zero or absent, and
/// the parent has data in all blocks but one.
class ChainTest : public testing::TestWithParam<std::uint64_t> {
 protected:
  ChainTest() {
    for (std::uint64_t block = 0; block < kBlocks; ++block) place_child(block);
    for (std::uint64_t block = 0; block < kBlocks - 2; ++block) {
      if (block == 5) continue;
      const FileOffset at{(block + 1) * kBlock};
      parent_layer.set(block, Extent::Kind::data, at);
      const auto bytes = pattern(kBlock, 100 + block);
      patch(parent_file, at.value, bytes);
      if (block % 3 == 2) std::memcpy(model.data() + block * kBlock, bytes.data(), kBlock);
    }
  }

  void place_child(std::uint64_t block) {
    if (block % 3 == 0) {
      const FileOffset at{(kBlocks - block) * kBlock};  // backwards: nothing is contiguous
      child_layer.set(block, Extent::Kind::data, at);
      const auto bytes = pattern(kBlock, block);
      patch(child_file, at.value, bytes);
      std::memcpy(model.data() + block * kBlock, bytes.data(), kBlock);
    } else if (block % 3 == 1) {
      child_layer.set(block, Extent::Kind::zero);
    }
  }

  std::vector<std::byte> model = std::vector<std::byte>(kSize);
  MemoryFile child_file;
  MemoryFile parent_file;
  FakeLayer child_layer{kSize, GetParam()};
  FakeLayer parent_layer{kSize - 2 * kBlock, GetParam() + 1};
  std::array<File*, 2> files{&child_file, &parent_file};
  Chain chain{{&child_layer, &parent_layer}, true};
};

TEST_P(ChainTest, ReadsEachRangeFromTheLayerThatHoldsIt) {
  std::vector<std::byte> got(kSize, std::byte{0xee});
  std::vector<iovec> scattered;
  for (std::size_t at = 0; at < got.size(); at += 1536) {
    scattered.push_back({got.data() + at, std::min<std::size_t>(1536, got.size() - at)});
  }
  ReadOp op{chain, {0}, scattered};
  ASSERT_TRUE(run(op, files));
  EXPECT_EQ(got, model);
}

TEST_P(ChainTest, ReadsCompleteInAnyOrderAndInParts) {
  std::vector<std::byte> got(kSize, std::byte{0xee});
  std::vector<iovec> buffers;
  std::vector<std::unique_ptr<ReadOp>> reads;
  std::vector<Operation*> operations;
  constexpr std::size_t kPart = kSize / 6;
  buffers.reserve(6);
  for (std::size_t part = 0; part < 6; ++part) {
    buffers.push_back({got.data() + part * kPart, kPart});
    reads.push_back(std::make_unique<ReadOp>(chain, VirtualOffset{part * kPart},
                                             std::span{&buffers.back(), 1}));
    operations.push_back(reads.back().get());
  }
  ShuffleDriver driver{files, GetParam(), true};
  for (const Status& status : driver.run(operations)) EXPECT_TRUE(status);
  EXPECT_GT(driver.most_in_flight(), 6u);
  EXPECT_EQ(got, model);
}

TEST_P(ChainTest, WritesGoToTheLeafAndAreToldWhenWhole) {
  const auto bytes = pattern(5 * kBlock, 77);
  const iovec buffer{const_cast<std::byte*>(bytes.data()), bytes.size()};
  const VirtualOffset at{kBlock / 2};
  {
    WriteOp write{chain, at, {&buffer, 1}};
    Operation* operation = &write;
    ShuffleDriver driver{files, GetParam(), true};
    ASSERT_TRUE(driver.run({&operation, 1}).front());
  }
  EXPECT_EQ(child_layer.bytes_wrote, bytes.size());
  EXPECT_EQ(child_layer.entered, child_layer.left);
  std::vector<std::byte> got(bytes.size());
  const iovec into{got.data(), got.size()};
  ReadOp read{chain, at, {&into, 1}};
  ASSERT_TRUE(run(read, files));
  EXPECT_EQ(got, bytes);
}

TEST_P(ChainTest, ClearedRangesReadAsZeros) {
  const VirtualOffset at{kBlock / 2};
  const std::uint64_t length = 3 * kBlock;
  ClearOp clear{chain, at, length, ClearKind::zero};
  Operation* operation = &clear;
  ShuffleDriver driver{files, GetParam(), false};
  ASSERT_TRUE(driver.run({&operation, 1}).front());
  std::vector<std::byte> got(kBlock);
  const iovec into{got.data(), got.size()};
  ReadOp read{chain, {kBlock}, {&into, 1}};
  ASSERT_TRUE(run(read, files));
  EXPECT_EQ(got, std::vector<std::byte>(kBlock));
}

TEST_P(ChainTest, MapsToTheLayerThatAnswers) {
  const auto entry = [&](std::uint64_t block) {
    MapOp op{chain, {block * kBlock}, kBlock};
    EXPECT_TRUE(run(op, files));
    return op.entry();
  };
  EXPECT_EQ(entry(0).kind, MapEntry::Kind::data);
  EXPECT_EQ(entry(0).layer, 0u);
  EXPECT_EQ(entry(0).host_offset, FileOffset{kBlocks * kBlock});
  EXPECT_EQ(entry(1).kind, MapEntry::Kind::zero);
  EXPECT_EQ(entry(2).layer, 1u);
  EXPECT_EQ(entry(2).host_offset, FileOffset{3 * kBlock});
  EXPECT_EQ(entry(5).kind, MapEntry::Kind::hole);
  EXPECT_EQ(entry(11).kind, MapEntry::Kind::hole);
}

TEST_P(ChainTest, AFailingLayerStopsTheRequestAndIsNamed) {
  parent_layer.failure = Error{.code = Errc::corrupt, .where = {42}, .what = "told to fail"};
  std::vector<std::byte> got(kSize);
  const iovec into{got.data(), got.size()};
  ReadOp op{chain, {0}, {&into, 1}};
  Operation* operation = &op;
  ShuffleDriver driver{files, GetParam(), true};
  const Status status = driver.run({&operation, 1}).front();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Errc::corrupt);
  EXPECT_EQ(status.error().layer, 1u);
  EXPECT_EQ(status.error().where, FileOffset{42});
}

TEST_P(ChainTest, PayloadPastTheEndOfTheFileIsCorrupt) {
  child_layer.set(1, Extent::Kind::data, {std::uint64_t{1} << 40});
  std::vector<std::byte> got(kBlock);
  const iovec into{got.data(), got.size()};
  ReadOp op{chain, {kBlock}, {&into, 1}};
  const Status status = run(op, files);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Errc::corrupt);
}

TEST_P(ChainTest, RangesThatOnlyAMissingParentHasFail) {
  Chain alone{{&child_layer}, false};
  std::vector<std::byte> got(kBlock);
  const iovec into{got.data(), got.size()};
  ReadOp present{alone, {0}, {&into, 1}};
  EXPECT_TRUE(run(present, files));
  ReadOp absent{alone, {2 * kBlock}, {&into, 1}};
  const Status status = run(absent, files);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Errc::not_found);
}

TEST_P(ChainTest, RequestsOutsideTheDiskOrInPartsOfSectorsAreRefused) {
  std::vector<std::byte> got(1024);
  const iovec into{got.data(), got.size()};
  ReadOp beyond{chain, {kSize - 512}, {&into, 1}};
  EXPECT_EQ(run(beyond, files).error().code, Errc::out_of_range);
  ReadOp wrapping{chain, {~std::uint64_t{511}}, {&into, 1}};
  EXPECT_EQ(run(wrapping, files).error().code, Errc::out_of_range);
  ReadOp odd{chain, {3}, {&into, 1}};
  EXPECT_EQ(run(odd, files).error().code, Errc::misaligned);
}

TEST_P(ChainTest, AFlushIsTheLeafs) {
  FlushOp op{chain, FlushOp::Kind::flush};
  EXPECT_TRUE(run(op, files));
  EXPECT_EQ(child_layer.syncs, 1u);
  EXPECT_EQ(child_file.executed(IoCommand::Kind::sync), 1u);
  EXPECT_EQ(parent_file.executed(IoCommand::Kind::sync), 0u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, ChainTest, testing::Range<std::uint64_t>(1, 9));

}  // namespace
}  // namespace openvhd::test
