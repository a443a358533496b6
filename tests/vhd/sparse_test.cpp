// Dynamic and differencing disks: what reads, writes, clears, flushes and closes do to the file.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/bytes.hpp"
#include "vhd/disk.hpp"
#include "vhd/image_bytes.hpp"
#include "vhd/recording_file.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kBlock = 64 * 1024;

Store new_image(DiskType type, std::uint64_t size, std::uint64_t block = kBlock,
                const Guid& parent = {}) {
  auto store = std::make_shared<MemoryStore>();
  MemoryFile file{store};
  static FixedHost host{77};
  vhd::CreateSpec spec{.type = type, .geometry = {.virtual_size = size, .block_size = block}};
  if (type == DiskType::differencing) {
    spec.parent_id = parent;
    spec.parent_name = "parent.vhd";
    spec.parent_relative = ".\\parent.vhd";
    spec.parent_absolute = "C:\\images\\parent.vhd";
  }
  EXPECT_TRUE(vhd::create(file, spec, host));
  return store;
}

Bytes contents(const Store& store) {
  MemoryFile file{store};
  return read_all(file);
}

Bytes read(Disk& disk, std::uint64_t at, std::size_t length) {
  Bytes out(length, std::byte{0xee});
  const Status status = disk.read(at, out);
  EXPECT_TRUE(status) << error_of(status).what;
  return out;
}

void write(Disk& disk, std::uint64_t at, const Bytes& bytes) {
  const Status status = disk.write(at, bytes);
  ASSERT_TRUE(status) << error_of(status).what;
}

MemoryFile& memory(Disk& disk) { return static_cast<MemoryFile&>(disk.file()); }
std::uint64_t syncs(Disk& disk) { return memory(disk).executed(IoCommand::Kind::sync); }

TEST(VhdDynamic, WhatWasWrittenIsReadBackAfterReopening) {
  const Store store = new_image(DiskType::dynamic, 10 * kBlock);
  const Bytes data = pattern(3 * kBlock, 5);
  {
    auto disk = open_disk(store);
    ASSERT_TRUE(disk);
    write(*disk, kBlock / 2, data);
    EXPECT_EQ(read(*disk, kBlock / 2, data.size()), data);
    ASSERT_TRUE(disk->close());
  }
  auto disk = open_disk(store, false);
  ASSERT_TRUE(disk);
  EXPECT_EQ(read(*disk, kBlock / 2, data.size()), data);
  EXPECT_EQ(read(*disk, 0, kBlock / 2), Bytes(kBlock / 2));
  EXPECT_EQ(read(*disk, 5 * kBlock, kBlock), Bytes(kBlock));
  EXPECT_TRUE(disk->leaf().info().notes.empty());
}

TEST(VhdDynamic, OpeningForWritingAloneChangesNoByte) {
  for (const std::uint64_t written : {0u, 1u}) {
    const Store store = new_image(DiskType::dynamic, 10 * kBlock);
    if (written != 0) {
      auto disk = open_disk(store);
      write(*disk, 0, pattern(512, 1));
      ASSERT_TRUE(disk->close());
    }
    const Bytes before = contents(store);
    auto disk = open_disk(store);
    ASSERT_TRUE(disk);
    (void)read(*disk, 0, 10 * kBlock);
    ASSERT_TRUE(disk->flush());
    ASSERT_TRUE(disk->clear(3 * kBlock, kBlock, ClearKind::trim));
    ASSERT_TRUE(disk->close());
    EXPECT_EQ(contents(store), before);
  }
}

TEST(VhdDynamic, CloseLeavesTheFooterRightBehindTheLastBlock) {
  const Store store = new_image(DiskType::dynamic, 10 * kBlock);
  auto disk = open_disk(store);
  write(*disk, 7 * kBlock, pattern(512, 1));
  EXPECT_GT(store->size, std::uint64_t{32} << 20);  // grown far ahead
  ASSERT_TRUE(disk->close());
  const Bytes bytes = contents(store);
  const std::uint64_t start = std::uint64_t{get32(bytes, 1536 + 4 * 7)} * 512;
  EXPECT_EQ(bytes.size(), start + 512 + kBlock + 512);
  EXPECT_EQ(Bytes(bytes.end() - 512, bytes.end()), Bytes(bytes.begin(), bytes.begin() + 512));
}

TEST(VhdDynamic, NewBlocksAreAlignedAndTheirBitmapsFull) {
  const Store store = new_image(DiskType::dynamic, 10 * kBlock);
  auto disk = open_disk(store);
  write(*disk, 2 * kBlock + 512, pattern(512, 1));
  write(*disk, 9 * kBlock, pattern(512, 2));
  ASSERT_TRUE(disk->close());
  const Bytes bytes = contents(store);
  for (const unsigned block : {2u, 9u}) {
    const std::uint64_t start = std::uint64_t{get32(bytes, 1536 + 4 * block)} * 512;
    EXPECT_EQ((start + 512) % 4096, 0u);
    for (std::uint64_t i = 0; i < 512; ++i) {
      ASSERT_EQ(bytes[start + i], i < kBlock / 512 / 8 ? std::byte{0xff} : std::byte{0});
    }
  }
}

TEST(VhdDynamic, AFlushIsTwoSyncsForAnyNumberOfAllocations) {
  const Store store = new_image(DiskType::dynamic, 300 * kBlock);
  auto disk = open_disk(store);
  write(*disk, 0, pattern(512, 1));
  EXPECT_EQ(syncs(*disk), 1u);  // the footer of the growth step, nothing else
  for (unsigned i = 1; i < 200; ++i) write(*disk, i * kBlock, pattern(512, i));
  EXPECT_EQ(syncs(*disk), 1u);
  ASSERT_TRUE(disk->flush());
  EXPECT_EQ(syncs(*disk), 3u);
  ASSERT_TRUE(disk->flush());
  EXPECT_EQ(syncs(*disk), 3u);
  write(*disk, 5 * kBlock, pattern(512, 9));
  ASSERT_TRUE(disk->flush());
  EXPECT_EQ(syncs(*disk), 4u);
}

// What a new block costs: its bitmap and its payload, and a share of few steps of growth.
TEST(VhdDynamic, AnAllocatingWriteIsTwoCommandsAndNoSync) {
  constexpr std::uint64_t kLarge = 2 << 20;
  constexpr unsigned kWrites = 1000;
  std::vector<RecordedOp> log;
  auto file =
      std::make_unique<RecordingFile>(new_image(DiskType::dynamic, kWrites * kLarge, kLarge), log);
  auto disk = open_disk(std::move(file), {.writable = true});
  ASSERT_TRUE(disk);
  const std::uint64_t reads = memory(*disk).executed(IoCommand::Kind::read);
  for (unsigned i = 0; i < kWrites; ++i) write(*disk, i * kLarge + 8192, pattern(4096, i));
  const auto count = [&](IoCommand::Kind kind, std::uint64_t length) {
    return std::ranges::count_if(
        log, [&](const RecordedOp& op) { return op.kind == kind && op.length == length; });
  };
  // 64 MiB, then twice as much up to 1 GiB, 2002 MiB in all: each time the space, the footer and
  // its sync, the old footer cleared.
  constexpr unsigned kSteps = 6;
  EXPECT_EQ(std::ranges::count(log, IoCommand::Kind::reserve, &RecordedOp::kind), kSteps);
  EXPECT_EQ(std::ranges::count(log, IoCommand::Kind::sync, &RecordedOp::kind), kSteps);
  EXPECT_EQ(count(IoCommand::Kind::write, 512), kWrites + 2 * kSteps);
  EXPECT_EQ(count(IoCommand::Kind::write, 4096), kWrites);
  EXPECT_EQ(log.size(), 2 * kWrites + 4 * kSteps);
  EXPECT_EQ(memory(*disk).executed(IoCommand::Kind::read) - reads, 1u);  // the table
  const std::size_t before = log.size();
  ASSERT_TRUE(disk->flush());
  EXPECT_EQ(log.size() - before, 3u);  // the data's sync, the table, its sync
}

TEST(VhdDynamic, ClearBitsInAllocatedBlocksReadAsZeros) {
  SparseImage image =
      sparse_image({.footer = {.size = 4 * kBlock}, .block_size = kBlock, .blocks = {1}});
  const std::uint64_t bitmap = image.block_at(1);
  image.bytes[bitmap] = std::byte{0x7f};            // sector 0
  image.bytes[bitmap + 2] = std::byte{0b11101111};  // sector 19
  const Store store = store_of(image.bytes);
  Bytes expected = block_pattern(1, kBlock);
  std::fill_n(expected.begin(), 512, std::byte{0});
  std::fill_n(expected.begin() + 19 * 512, 512, std::byte{0});
  auto disk = open_disk(store);
  ASSERT_TRUE(disk);
  EXPECT_EQ(read(*disk, kBlock, kBlock), expected);
  // A write there sets the bit, once it is flushed.
  write(*disk, kBlock + 19 * 512, pattern(512, 3));
  ASSERT_TRUE(disk->close());
  std::ranges::copy(pattern(512, 3), expected.begin() + 19 * 512);
  auto again = open_disk(store, false);
  EXPECT_EQ(read(*again, kBlock, kBlock), expected);
  EXPECT_EQ(contents(store)[bitmap + 2], std::byte{0xff});
  EXPECT_EQ(contents(store)[bitmap], std::byte{0x7f});
}

TEST(VhdDynamic, OldTapdiskBitmapsHaveTheirBitsTheOtherWayRound) {
  SparseImage image = sparse_image(
      {.footer = {.size = 4 * kBlock, .creator = std::string{"tap\0", 4}, .creator_version = 1},
       .block_size = kBlock,
       .blocks = {0}});
  image.bytes[image.block_at(0)] = std::byte{0xfe};
  auto disk = open_disk(store_of(image.bytes));
  ASSERT_TRUE(disk);
  EXPECT_EQ(read(*disk, 0, 512), Bytes(512));
  EXPECT_NE(read(*disk, 7 * 512, 512), Bytes(512));
}

TEST(VhdDynamic, TrimOfWholeBlocksGivesThemBackAndTheirSpaceIsUsedAgain) {
  const Store store = new_image(DiskType::dynamic, 40 * kBlock);
  auto disk = open_disk(store);
  for (unsigned i = 0; i < 20; ++i) write(*disk, i * kBlock, pattern(kBlock, i));
  ASSERT_TRUE(disk->flush());
  ASSERT_TRUE(disk->clear(4 * kBlock, 10 * kBlock, ClearKind::trim));
  EXPECT_EQ(read(*disk, 4 * kBlock, 10 * kBlock), Bytes(10 * kBlock));
  ASSERT_TRUE(disk->flush());
  for (unsigned i = 20; i < 30; ++i) write(*disk, i * kBlock + 1024, pattern(512, i));
  EXPECT_EQ(read(*disk, 20 * kBlock, 1024), Bytes(1024));  // not what was there before
  ASSERT_TRUE(disk->close());
  EXPECT_LE(store->size, 20 * (kBlock + 4096) + 16384);
  auto again = open_disk(store, false);
  EXPECT_EQ(read(*again, 20 * kBlock, 1024), Bytes(1024));
  EXPECT_EQ(read(*again, 29 * kBlock + 1024, 512), pattern(512, 29));
  EXPECT_EQ(read(*again, 3 * kBlock, kBlock), pattern(kBlock, 3));
}

TEST(VhdDynamic, FreedSpaceWaitsForTheFlushThatFreesIt) {
  const Store store = new_image(DiskType::dynamic, 40 * kBlock);
  auto disk = open_disk(store);
  write(*disk, 0, pattern(kBlock, 1));
  ASSERT_TRUE(disk->flush());
  const std::uint32_t old = get32(contents(store), 1536);
  ASSERT_TRUE(disk->clear(0, kBlock, ClearKind::zero));
  write(*disk, kBlock, pattern(512, 2));
  ASSERT_TRUE(disk->flush());
  EXPECT_NE(get32(contents(store), 1540), old);
  write(*disk, 2 * kBlock, pattern(512, 3));
  ASSERT_TRUE(disk->flush());
  EXPECT_EQ(get32(contents(store), 1544), old);
}

TEST(VhdDynamic, AFullHostChangesNothing) {
  const Store store = new_image(DiskType::dynamic, 4000 * kBlock);
  store->capacity = 2 << 20;
  auto disk = open_disk(store);
  unsigned written = 0;
  Status status = Ok{};
  while (written < 4000 && (status = disk->write(written * kBlock, pattern(kBlock, written))))
    ++written;
  ASSERT_GT(written, 10u);
  EXPECT_EQ(error_of(status).code, Errc::no_space);
  EXPECT_EQ(read(*disk, written * kBlock, kBlock), Bytes(kBlock));
  write(*disk, 3 * kBlock, pattern(kBlock, 3));  // what is there stays writable
  ASSERT_TRUE(disk->flush());
  ASSERT_TRUE(disk->close());
  auto again = open_disk(store, false);
  ASSERT_TRUE(again);
  for (unsigned i = 0; i < written; ++i)
    EXPECT_EQ(read(*again, i * kBlock, kBlock), pattern(kBlock, i));
}

// The operation that began to grow the file took a freed block when it was asked again.
TEST(VhdDynamic, CloseEndsAGrowthThatNobodyWaitsFor) {
  const Store store = new_image(DiskType::dynamic, 40 * kBlock);
  store->capacity = 256 * 1024;  // the smallest growth steps
  auto disk = open_disk(store);
  write(*disk, 0, pattern(512, 1));
  ASSERT_TRUE(disk->flush());
  const auto step = disk->leaf().place({kBlock}, 512);
  const auto* const command = std::get_if<IoCommand>(&step);
  ASSERT_NE(command, nullptr);
  ASSERT_EQ(command->kind, IoCommand::Kind::reserve);
  store->capacity = MemoryStore::kMaxBytes;
  disk->leaf().complete(command->token, disk->file().execute(*command));
  ASSERT_TRUE(disk->clear(0, kBlock, ClearKind::trim));
  ASSERT_TRUE(disk->flush());
  write(*disk, kBlock, pattern(512, 2));
  ASSERT_TRUE(disk->close());
  EXPECT_LT(store->size, 2 * kBlock);
  EXPECT_TRUE(open_disk(store, false)->leaf().info().notes.empty());
}

// The largest disk in the smallest blocks that Windows makes: aligned blocks would not all fit
// below the last sector that the table can name.
TEST(VhdDynamic, TheLargestDiskTakesLittleMemoryAndReachesItsEnd) {
  constexpr std::uint64_t kSize = std::uint64_t{2040} << 30;
  constexpr std::uint64_t kSmall = 512 * 1024;
  const Store store = new_image(DiskType::dynamic, kSize, kSmall);
  auto file = std::make_unique<MemoryFile>(store);
  auto disk = open_disk(std::move(file), {.writable = true, .table_cache_bytes = 256 * 1024});
  ASSERT_TRUE(disk);
  const std::uint64_t reads = memory(*disk).executed(IoCommand::Kind::read);
  EXPECT_EQ(read(*disk, kSize / 2, 4096), Bytes(4096));
  EXPECT_EQ(memory(*disk).executed(IoCommand::Kind::read), reads + 1);  // one page of the table
  write(*disk, kSize - 512, pattern(512, 1));
  write(*disk, 0, pattern(512, 2));
  ASSERT_TRUE(disk->close());
  auto again = open_disk(store, false);
  EXPECT_EQ(read(*again, kSize - 512, 512), pattern(512, 1));
  EXPECT_EQ(read(*again, 0, 512), pattern(512, 2));
  MemoryFile whole{store};
  const auto counts = again->leaf().count_blocks(whole, std::uint64_t{16} << 20);
  ASSERT_TRUE(counts);
  EXPECT_EQ(counts->total, 4177920u);
  EXPECT_EQ(counts->fully_present, 2u);
  EXPECT_EQ(error_of(again->leaf().count_blocks(whole, 1 << 20)).code, Errc::out_of_range);
  // Packed: 512 KiB and one sector each, so that 4177920 of them end below 2^32 sectors.
  const Bytes entry = read_at(whole, 1536, 4);
  const Bytes last = read_at(whole, 1536 + 4 * 4177919, 4);
  EXPECT_EQ(get32(entry, 0), get32(last, 0) + 1 + kSmall / 512);
}

TEST(VhdDynamic, WithABatmapBlocksAreClearedInPlace) {
  SparseImage image = sparse_image({.footer = {.size = 4 * kBlock,
                                               .creator = std::string{"tap\0", 4},
                                               .creator_version = 0x00010003},
                                    .block_size = kBlock,
                                    .blocks_at = 4096,
                                    .blocks = {1, 2}});
  put_text(image.bytes, 2048, "tdbatmap");
  put64(image.bytes, 2056, 2560);
  put32(image.bytes, 2064, 1);
  put32(image.bytes, 2068, 0x00010002);
  image.bytes[2560] = std::byte{0x60};
  put32(image.bytes, 2072, ~0x60u);
  const Store store = store_of(image.bytes);
  auto disk = open_disk(store);
  ASSERT_TRUE(disk->clear(kBlock, kBlock, ClearKind::trim));
  write(*disk, 3 * kBlock, pattern(512, 1));
  ASSERT_TRUE(disk->close());
  auto again = open_disk(store, false);
  EXPECT_EQ(read(*again, kBlock, kBlock), Bytes(kBlock));
  EXPECT_EQ(read(*again, 2 * kBlock, kBlock), block_pattern(2, kBlock));
  const Bytes after = contents(store);
  EXPECT_EQ(get32(after, 1536 + 4), get32(image.bytes, 1536 + 4));
  EXPECT_TRUE(std::equal(after.begin() + 2048, after.begin() + 4096, image.bytes.begin() + 2048));
}

// Old writers end the file where the disk ends: a whole block there would reach over the footer.
TEST(VhdDynamic, AShortLastBlockIsClearedInPlaceAndTheFooterStays) {
  for (const bool good_copy : {true, false}) {
    constexpr std::uint64_t kRest = 4096;
    SparseImage image =
        sparse_image({.footer = {.size = 2 * kBlock + kRest}, .block_size = kBlock, .blocks = {2}});
    image.bytes.erase(image.bytes.end() - 512 - (kBlock - kRest), image.bytes.end() - 512);
    if (!good_copy) std::fill_n(image.bytes.begin(), 512, std::byte{0});
    const Store store = store_of(image.bytes);
    auto disk = open_disk(store);
    ASSERT_TRUE(disk);
    ASSERT_TRUE(disk->clear(2 * kBlock, kRest, ClearKind::trim));
    ASSERT_TRUE(disk->flush());
    const Bytes after = contents(store);
    ASSERT_EQ(after.size(), image.bytes.size());
    EXPECT_TRUE(std::equal(after.end() - 512, after.end(), image.bytes.end() - 512));
    EXPECT_EQ(read(*disk, 2 * kBlock, kRest), Bytes(kRest));
    write(*disk, 0, pattern(kBlock, 1));
    write(*disk, 2 * kBlock, pattern(kRest, 2));
    ASSERT_TRUE(disk->close());
    auto again = open_disk(store, false);
    ASSERT_TRUE(again);
    EXPECT_EQ(read(*again, 0, kBlock), pattern(kBlock, 1));
    EXPECT_EQ(read(*again, 2 * kBlock, kRest), pattern(kRest, 2));
  }
}

// What an interrupted growth leaves: a footer far ahead, and anything before it.
TEST(VhdDynamic, SpaceThatAnotherSessionLeftIsClearedBeforeItIsUsed) {
  SparseImage image =
      sparse_image({.footer = {.size = 8 * kBlock}, .block_size = kBlock, .blocks = {0}});
  const Bytes footer(image.bytes.end() - 512, image.bytes.end());
  image.bytes.resize(image.bytes.size() + 6 * kBlock, std::byte{0xcc});
  image.bytes.insert(image.bytes.end(), footer.begin(), footer.end());
  const Store store = store_of(image.bytes);
  auto disk = open_disk(store);
  for (unsigned block = 1; block < 8; ++block)
    write(*disk, block * kBlock + 512, pattern(512, block));
  ASSERT_TRUE(disk->close());
  auto again = open_disk(store, false);
  for (unsigned block = 1; block < 8; ++block) {
    EXPECT_EQ(read(*again, block * kBlock, 512), Bytes(512));
    EXPECT_EQ(read(*again, block * kBlock + 1024, kBlock - 1024), Bytes(kBlock - 1024));
  }
}

TEST(VhdDynamic, ADamagedCopyOfTheFooterIsMadeGoodBeforeTheFileGrows) {
  SparseImage image =
      sparse_image({.footer = {.size = 8 * kBlock}, .block_size = kBlock, .blocks = {0}});
  const Bytes good = image.bytes;
  image.bytes[60] ^= std::byte{1};
  const Store store = store_of(image.bytes);
  auto disk = open_disk(store);
  write(*disk, kBlock, pattern(512, 1));
  const Bytes bytes = read_at(disk->file(), 0, 512);
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), good.begin()));
  EXPECT_EQ(syncs(*disk), 2u);
}

TEST(VhdDifferencing, AChildHidesOnlyWhatItHolds) {
  const Store parent = store_of(fixed_image(10 * kBlock));
  const Bytes below = contents(parent);
  auto parent_disk = open_disk(parent, false);
  const Store child =
      new_image(DiskType::differencing, 12 * kBlock, kBlock, parent_disk->leaf().link_identity());
  {
    auto disk = open_chain({child, parent});
    ASSERT_TRUE(disk);
    write(*disk, kBlock + 3 * 512, pattern(2 * 512, 8));
    ASSERT_TRUE(disk->clear(4 * kBlock, 512, ClearKind::trim));
    ASSERT_TRUE(disk->clear(6 * kBlock, kBlock, ClearKind::zero));
    ASSERT_TRUE(disk->close());
  }
  Bytes expected(below.begin(), below.begin() + 10 * kBlock);
  expected.resize(12 * kBlock);
  std::ranges::copy(pattern(2 * 512, 8), expected.begin() + kBlock + 3 * 512);
  std::fill_n(expected.begin() + 4 * kBlock, 512, std::byte{0});
  std::fill_n(expected.begin() + 6 * kBlock, kBlock, std::byte{0});
  auto disk = open_chain({child, parent});
  EXPECT_EQ(read(*disk, 0, 12 * kBlock), expected);
  EXPECT_EQ(contents(parent), below);
  const Bytes bytes = contents(child);
  const std::uint64_t bitmap = std::uint64_t{get32(bytes, 1536 + 4)} * 512;
  EXPECT_EQ(bytes[bitmap], std::byte{0b00011000});  // the most significant bit first
}

TEST(VhdDifferencing, BitsAreWrittenOnlyBehindTheSyncOfTheirData) {
  const Store parent = store_of(fixed_image(10 * kBlock));
  const Store child = new_image(DiskType::differencing, 10 * kBlock);
  auto disk = open_chain({child, parent});
  write(*disk, 0, pattern(512, 1));
  EXPECT_EQ(syncs(*disk), 1u);
  ASSERT_TRUE(disk->flush());
  EXPECT_EQ(syncs(*disk), 3u);
  const Bytes before = contents(child);
  write(*disk, 512, pattern(512, 1));
  const std::uint64_t bitmap = std::uint64_t{get32(before, 1536)} * 512;
  EXPECT_EQ(contents(child)[bitmap], std::byte{0x80});
  ASSERT_TRUE(disk->flush());
  EXPECT_EQ(syncs(*disk), 5u);
  EXPECT_EQ(contents(child)[bitmap], std::byte{0xc0});
}

// Too long to be followed, and still somebody's: no block is put over it, no end cut off.
TEST(VhdDifferencing, TheDataOfALocatorThatIsTooLongIsKept) {
  for (const std::uint32_t length : {65537u, 0x7fffffffu}) {
    for (const std::uint32_t hole : {1u, 2u}) {  // between blocks, behind them
      SparseImage image = sparse_image({.footer = {.type = 4, .size = 8 * kBlock},
                                        .block_size = kBlock,
                                        .blocks_at = 4096,
                                        .blocks = {0, 1, 2}});
      const std::uint64_t at = image.block_at(hole);
      const Bytes text = pattern(66048, 6);
      put_locator(image.bytes, 0, "W2ru", 512, 2560, utf16le(".\\p.vhd"));
      put_locator(image.bytes, 1, "W2ku", 66048, at, text);
      put32(image.bytes, 512 + 576 + 24 + 8, length);
      put32(image.bytes, 1536 + 4 * hole, 0xffffffff);
      image.seal_header();
      const Store store = store_of(image.bytes);
      auto disk = open_disk(store);
      ASSERT_TRUE(disk);
      for (unsigned block = 0; block < 8; ++block) write(*disk, block * kBlock, pattern(512, 1));
      ASSERT_TRUE(disk->close());
      EXPECT_TRUE(read_at(disk->file(), at, text.size()) == text) << length << " in " << hole;
    }
  }
}

TEST(VhdDifferencing, AGapIsUsedOnBothSidesOfALocatorInIt) {
  SparseImage image = sparse_image({.footer = {.type = 4, .size = 8 * kBlock},
                                    .block_size = kBlock,
                                    .blocks_at = 4096,
                                    .blocks = {0, 1, 2, 3, 4}});
  const std::uint64_t left = image.block_at(1);
  const std::uint64_t right = image.block_at(3);
  const Bytes text = utf16le(".\\p.vhd");
  put_locator(image.bytes, 0, "W2ru", 512, image.block_at(2) + 700, text);
  for (const unsigned block : {1u, 2u, 3u}) put32(image.bytes, 1536 + 4 * block, 0xffffffff);
  image.seal_header();
  const Store store = store_of(image.bytes);
  auto disk = open_disk(store);
  ASSERT_TRUE(disk);
  for (const unsigned block : {5u, 6u}) write(*disk, block * kBlock, pattern(512, block));
  ASSERT_TRUE(disk->close());
  const Bytes after = contents(store);
  EXPECT_EQ(after.size(), image.bytes.size());
  EXPECT_EQ(get32(after, 1536 + 4 * 5), left / 512);
  // Right behind the locator's space: as near as a sector.
  EXPECT_EQ(get32(after, 1536 + 4 * 6), (left + 512 + kBlock + 700 + 512) / 512 + 1);
  EXPECT_LT(std::uint64_t{get32(after, 1536 + 4 * 6)} * 512, right);
  EXPECT_TRUE(std::equal(text.begin(), text.end(), after.begin() + 4096 + 2 * 66048 + 700));
}

TEST(VhdDifferencing, ARepairKeepsTheDataOfALocatorThatIsTooLong) {
  SparseImage image = sparse_image({.footer = {.type = 4, .size = 8 * kBlock},
                                    .block_size = kBlock,
                                    .blocks_at = 4096,
                                    .blocks = {0, 1}});
  const std::uint64_t at = image.block_at(1);
  const Bytes text = pattern(66048, 6);
  put_locator(image.bytes, 0, "W2ru", 512, 2560, utf16le(".\\p.vhd"));
  put_locator(image.bytes, 1, "W2ku", 66048, at, text);
  put32(image.bytes, 1536 + 4, 0xffffffff);
  image.seal_header();
  image.bytes[image.footer_at() + 100] ^= std::byte{1};
  MemoryFile file{image.bytes};
  FixedHost host;
  std::vector<std::string> actions;
  ASSERT_TRUE(vhd::repair(file, host, actions));
  EXPECT_FALSE(actions.empty());
  ASSERT_GT(file.store()->size, at + text.size());
  EXPECT_TRUE(read_at(file, at, text.size()) == text);
}

TEST(VhdDifferencing, AloneItDoesNotInventWhatItsParentHolds) {
  auto disk = open_disk(new_image(DiskType::differencing, 10 * kBlock), false);
  ASSERT_TRUE(disk);
  Bytes out(512);
  EXPECT_FALSE(disk->read(0, out));
}

TEST(VhdFixed, TrimClearsAndKeepsTheSpace) {
  const Store store = store_of(fixed_image(8 * kBlock));
  const std::uint64_t allocated = store->allocated_bytes();
  auto disk = open_disk(store);
  ASSERT_TRUE(disk->clear(kBlock, 4 * kBlock, ClearKind::trim));
  ASSERT_TRUE(disk->close());
  EXPECT_EQ(read(*disk, kBlock, 4 * kBlock), Bytes(4 * kBlock));
  EXPECT_EQ(store->allocated_bytes(), allocated);
}

}  // namespace
}  // namespace openvhd::test
