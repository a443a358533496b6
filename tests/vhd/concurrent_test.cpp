// Operations at the same time, completed in the order that hurts.
#include <gtest/gtest.h>

#include <cerrno>

#include "image/ops/clear_op.hpp"
#include "image/ops/flush_op.hpp"
#include "image/ops/write_op.hpp"
#include "support/bytes.hpp"
#include "vhd/disk.hpp"
#include "vhd/image_bytes.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::test {
namespace {

using Kind = IoCommand::Kind;
constexpr std::uint64_t kBlock = std::uint64_t{64} * 1024;

/// Blocks 0 and 1 are there; the next one makes the file grow.
Store image_of(std::uint32_t type = 3) {
  SparseImage image = sparse_image({.footer = {.type = type, .size = 8 * kBlock},
                                    .block_size = kBlock,
                                    .blocks_at = 4096,
                                    .blocks = {0, 1}});
  if (type == 4) put_locator(image.bytes, 0, "W2ru", 512, 2560, utf16le(".\\p.vhd"));
  image.seal_header();
  return store_of(image.bytes);
}

/// A write of one sector on its way.
class OneWrite {
 public:
  OneWrite(Disk& disk, std::uint64_t at, std::uint64_t seed)
      : data_{pattern(512, seed)},
        piece_{data_.data(), data_.size()},
        op_{disk.chain(), {at}, {&piece_, 1}} {}
  WriteOp& op() { return op_; }
  const Bytes& data() const { return data_; }

 private:
  Bytes data_;
  iovec piece_;
  WriteOp op_;
};

/// Executes what `op` asks for until it asks for a command of `kind`, which is left to the caller.
IoCommand run_to(Operation& op, Disk& disk, Kind kind) {
  while (auto command = op.next()) {
    if (command->kind == kind) return *command;
    op.complete(command->slot, disk.file().execute(*command));
  }
  ADD_FAILURE() << "no such command";
  return {};
}

/// Executes all of `op`, which waits for nobody.
Status run_out(Operation& op, Disk& disk) {
  while (!op.finished()) {
    const auto command = op.next();
    if (command) op.complete(command->slot, disk.file().execute(*command));
    if (!command && !op.finished()) {
      ADD_FAILURE() << "waits";
      return Error{.code = Errc::cancelled, .what = "waits"};
    }
  }
  return *op.finished();
}

Bytes read(Disk& disk, std::uint64_t at) {
  Bytes out(512);
  EXPECT_TRUE(disk.read(at, out));
  return out;
}

// The host tells of lost pages once: to the sync that fails, and the next one succeeds.
TEST(VhdConcurrent, AFlushAfterTheFailedSyncOfAGrowthFails) {
  auto disk = open_disk(image_of());
  ASSERT_TRUE(disk);
  ASSERT_TRUE(disk->write(0, pattern(512, 1)));
  OneWrite growing{*disk, 5 * kBlock, 2};
  const IoCommand sync = run_to(growing.op(), *disk, Kind::sync);
  growing.op().complete(sync.slot, -EIO);
  EXPECT_FALSE(disk->flush());
  EXPECT_FALSE(run_out(growing.op(), *disk));
  EXPECT_EQ(error_of(disk->close()).code, Errc::poisoned);
}

TEST(VhdConcurrent, AFlushWhoseSyncOverlapsAFailedOneFails) {
  auto disk = open_disk(image_of());
  ASSERT_TRUE(disk);
  ASSERT_TRUE(disk->write(0, pattern(512, 1)));
  OneWrite growing{*disk, 5 * kBlock, 2};
  const IoCommand sync = run_to(growing.op(), *disk, Kind::sync);
  FlushOp flush{disk->chain(), FlushOp::Kind::flush};
  const IoCommand other = run_to(flush, *disk, Kind::sync);
  growing.op().complete(sync.slot, -EIO);
  flush.complete(other.slot, 0);
  EXPECT_FALSE(run_out(flush, *disk));
  EXPECT_FALSE(run_out(growing.op(), *disk));
}

TEST(VhdConcurrent, NothingIsWrittenBetweenAFailedSyncAndItsReport) {
  for (const bool fixed : {false, true}) {
    auto disk = open_disk(fixed ? store_of(fixed_image(8 * kBlock)) : image_of());
    ASSERT_TRUE(disk);
    ASSERT_TRUE(disk->write(0, pattern(512, 1)));
    FlushOp flush{disk->chain(), FlushOp::Kind::flush};
    const IoCommand sync = run_to(flush, *disk, Kind::sync);
    flush.complete(sync.slot, -EIO);
    OneWrite late{*disk, kBlock, 2};
    EXPECT_FALSE(late.op().next());
    EXPECT_FALSE(run_out(late.op(), *disk));
    EXPECT_FALSE(run_out(flush, *disk));
    EXPECT_NE(read(*disk, kBlock), late.data());
  }
}

TEST(VhdConcurrent, TwoAllocatingWritesToOneBlockShareIt) {
  for (const std::uint32_t type : {3u, 4u}) {
    const Store store = image_of(type);
    auto disk = open_disk(store);
    ASSERT_TRUE(disk);
    OneWrite first{*disk, 5 * kBlock, 1};
    OneWrite second{*disk, 5 * kBlock + 512, 2};
    const IoCommand reserve = run_to(first.op(), *disk, Kind::reserve);
    EXPECT_FALSE(second.op().next());  // waits for the growth of the first
    first.op().complete(reserve.slot, disk->file().execute(reserve));
    EXPECT_TRUE(run_out(second.op(), *disk));
    EXPECT_TRUE(run_out(first.op(), *disk));
    EXPECT_EQ(read(*disk, 5 * kBlock), first.data());
    EXPECT_EQ(read(*disk, 5 * kBlock + 512), second.data());
    ASSERT_TRUE(disk->close());
    auto again = open_disk(store, false);
    EXPECT_EQ(read(*again, 5 * kBlock), first.data());
    EXPECT_EQ(read(*again, 5 * kBlock + 512), second.data());
    MemoryFile file{store};
    EXPECT_EQ(again->leaf().count_blocks(file, kBlock)->fully_present +
                  again->leaf().count_blocks(file, kBlock)->partially_present,
              3u);
  }
}

// Each of two waiting writes tries for itself.
TEST(VhdConcurrent, AFailedAllocationFailsTheWriteThatLearnsOfItAndNotTheBlock) {
  auto disk = open_disk(image_of());
  ASSERT_TRUE(disk);
  ASSERT_TRUE(disk->write(4 * kBlock, pattern(512, 9)));
  OneWrite first{*disk, 5 * kBlock, 1};
  OneWrite second{*disk, 5 * kBlock + 512, 2};
  const auto bitmap = first.op().next();
  ASSERT_TRUE(bitmap && bitmap->kind == Kind::write && bitmap->length == 512);
  EXPECT_FALSE(second.op().next());
  first.op().complete(bitmap->slot, -ENOSPC);
  EXPECT_EQ(error_of(run_out(first.op(), *disk)).code, Errc::no_space);
  EXPECT_TRUE(run_out(second.op(), *disk));
  EXPECT_EQ(read(*disk, 5 * kBlock), Bytes(512));
  EXPECT_EQ(read(*disk, 5 * kBlock + 512), second.data());
}

// An operation that fails elsewhere does not come back for what it began: a growth, a block.
TEST(VhdConcurrent, CloseCutsOffWhatAnAbandonedAllocationLeft) {
  bool finished = false;
  for (unsigned executed = 0; !finished; ++executed) {
    SCOPED_TRACE(executed);
    const Store store = image_of();
    const std::uint64_t size = store->size;
    auto disk = open_disk(store);
    ASSERT_TRUE(disk);
    {
      OneWrite left{*disk, 5 * kBlock, 1};
      for (unsigned i = 0; i < executed; ++i) {
        const auto command = left.op().next();
        ASSERT_TRUE(command);
        left.op().complete(command->slot, disk->file().execute(*command));
      }
      finished = left.op().finished().has_value();
    }
    ASSERT_TRUE(disk->close());
    EXPECT_EQ(store->size == size, !finished);
    EXPECT_TRUE(open_disk(store, false)->leaf().info().notes.empty());
    ASSERT_TRUE(disk->write(5 * kBlock + 512, pattern(512, 2)));
    ASSERT_TRUE(disk->close());
    auto again = open_disk(store, false);
    EXPECT_EQ(read(*again, 5 * kBlock), finished ? pattern(512, 1) : Bytes(512));
    EXPECT_EQ(read(*again, 5 * kBlock + 512), pattern(512, 2));
  }
}

// A write that was on its way when its block was freed went nowhere, wherever the block is now.
TEST(VhdConcurrent, AnOverwriteThatATrimOvertookTouchesNoBlockOfLater) {
  const Store store = image_of();
  auto disk = open_disk(store);
  ASSERT_TRUE(disk);
  {
    OneWrite slow{*disk, 512, 1};
    const IoCommand payload = run_to(slow.op(), *disk, Kind::write);
    ASSERT_TRUE(disk->clear(0, kBlock, ClearKind::trim));
    ASSERT_TRUE(disk->flush());
    for (const unsigned block : {0u, 2u, 3u})
      ASSERT_TRUE(disk->write(block * kBlock, pattern(512, block)));
    slow.op().complete(payload.slot, disk->file().execute(payload));
    EXPECT_TRUE(run_out(slow.op(), *disk));
  }
  ASSERT_TRUE(disk->close());
  auto again = open_disk(store, false);
  for (const unsigned block : {0u, 2u, 3u}) {
    EXPECT_EQ(read(*again, block * kBlock), pattern(512, block));
    EXPECT_EQ(read(*again, block * kBlock + 512), Bytes(512));
  }
}

// The host has no room for a freed block's space, which it got back, but the file has some.
TEST(VhdConcurrent, RoomThatTheFileHasServesWhereTheHostHasNone) {
  const Store store = image_of();
  auto disk = open_disk(store);
  ASSERT_TRUE(disk);
  ASSERT_TRUE(disk->write(2 * kBlock, pattern(512, 1)));
  ASSERT_TRUE(disk->clear(0, kBlock, ClearKind::trim));
  ASSERT_TRUE(disk->flush());
  store->capacity = store->allocated_bytes();
  OneWrite late{*disk, 5 * kBlock, 2};
  while (!late.op().finished()) {
    const auto command = late.op().next();
    ASSERT_TRUE(command);
    const bool refused = command->kind == Kind::zero;
    late.op().complete(command->slot, refused ? -ENOSPC : disk->file().execute(*command));
  }
  EXPECT_TRUE(*late.op().finished());
  EXPECT_EQ(read(*disk, 5 * kBlock), late.data());
}

}  // namespace
}  // namespace openvhd::test
