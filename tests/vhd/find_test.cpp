// What threads beside the owner may ask: each state of find, find_writable, settled, overwritten.
#include <gtest/gtest.h>

#include <cerrno>
#include <optional>

#include "io/readers.hpp"
#include "support/bytes.hpp"
#include "vhd/disk.hpp"
#include "vhd/image_bytes.hpp"
#include "vhd/limbo.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::test {
namespace {

using Kind = IoCommand::Kind;
constexpr std::uint64_t kBlock = 64 * 1024;
/// Blocks that one page of the table knows of.
constexpr std::uint64_t kPage = 1024;

std::optional<Extent> find(Disk& disk, std::uint64_t at, std::uint64_t length = 4096) {
  Extent extent;
  if (!disk.leaf().find({at}, length, extent)) return std::nullopt;
  return extent;
}

std::optional<Extent> find_writable(Disk& disk, std::uint64_t at, std::uint64_t length = 4096) {
  Extent extent;
  if (!disk.leaf().find_writable({at}, length, extent)) return std::nullopt;
  return extent;
}

Extent::Kind kind_of(const std::optional<Extent>& extent) {
  if (!extent) ADD_FAILURE() << "not found";
  return extent ? extent->kind : Extent::Kind{};
}

/// locate() on the owner's thread.
Result<Extent> locate(Disk& disk, std::uint64_t at, std::uint64_t length = 4096) {
  for (;;) {
    auto step = disk.leaf().locate({at}, length);
    if (const auto* extent = std::get_if<Extent>(&step)) return *extent;
    if (const auto* error = std::get_if<Error>(&step)) return *error;
    const auto& command = std::get<IoCommand>(step);
    disk.leaf().complete(command.token, disk.file().execute(command));
  }
}

bool write(Disk& disk, std::uint64_t at, std::uint64_t length, std::uint64_t seed = 1) {
  return disk.write(at, pattern(length, seed)).operator bool();
}

/// As a queue does it.
bool overwrite(Disk& disk, std::uint64_t at, std::uint64_t seed) {
  const auto extent = find_writable(disk, at);
  if (!extent || !disk.file().write_all(extent->at, pattern(extent->length, seed))) return false;
  disk.leaf().overwritten();
  return true;
}

std::uint64_t count(Disk& disk, Kind kind) {
  return static_cast<MemoryFile&>(disk.file()).executed(kind);
}

SparseImage image_of(std::uint32_t type, const std::vector<std::uint32_t>& blocks,
                     std::uint64_t of = 8) {
  SparseImage image = sparse_image({.footer = {.type = type, .size = of * kBlock},
                                    .block_size = kBlock,
                                    .table_at = 4096,
                                    .blocks_at = 64 * kBlock,
                                    .blocks = blocks});
  if (type == 4) put_locator(image.bytes, 0, "W2ru", 512, 2560, utf16le(".\\p.vhd"));
  image.seal_header();
  return image;
}

Disk opened(const SparseImage& image, bool writable = true, std::uint64_t budget = 1 << 20) {
  auto file = std::make_unique<MemoryFile>(store_of(image.bytes));
  auto disk = open_disk(std::move(file), {.writable = writable, .table_cache_bytes = budget});
  if (!disk) ADD_FAILURE() << disk.error().what;
  return *std::move(disk);
}

TEST(VhdFind, APageThatIsNotInMemoryIsTheOwners) {
  Disk disk = opened(image_of(3, {}));
  EXPECT_FALSE(find(disk, 0));
  ASSERT_TRUE(locate(disk, 0));
  EXPECT_EQ(kind_of(find(disk, 0)), Extent::Kind::absent);
}

TEST(VhdFind, BlocksThatAreNotThereAreAnsweredTogether) {
  Disk disk = opened(image_of(3, {5}));
  ASSERT_TRUE(locate(disk, 0));
  const auto extent = find(disk, 512, 7 * kBlock);
  EXPECT_EQ(kind_of(extent), Extent::Kind::absent);
  EXPECT_EQ(extent->length, 5 * kBlock - 512);
  EXPECT_EQ(find(disk, 512, 1024)->length, 1024u);
}

TEST(VhdFind, ABlockOfUnknownStateIsTheOwnersOnce) {
  Disk disk = opened(image_of(3, {2}), false);
  ASSERT_TRUE(locate(disk, 0));
  EXPECT_FALSE(find(disk, 2 * kBlock)) << "its bits have not been looked at";
  const auto located = locate(disk, 2 * kBlock + 4096);
  ASSERT_TRUE(located);
  const auto found = find(disk, 2 * kBlock + 4096);
  EXPECT_EQ(kind_of(found), Extent::Kind::data);
  EXPECT_EQ(found->at, located->at);
  EXPECT_EQ(found->length, 4096u);
  EXPECT_EQ(find(disk, 2 * kBlock + 4096, 3 * kBlock)->length, kBlock - 4096) << "its end";
  EXPECT_FALSE(find_writable(disk, 2 * kBlock)) << "opened for reading";
}

TEST(VhdFind, ADynamicBlockWithClearBitsIsRunsOfDataAndZeros) {
  SparseImage image = image_of(3, {1});
  image.bytes[image.block_at(1)] = std::byte{0b1110'0111};
  Disk disk = opened(image);
  ASSERT_TRUE(write(disk, 5 * kBlock, 512));
  EXPECT_FALSE(find_writable(disk, kBlock, 512));
  ASSERT_TRUE(locate(disk, kBlock));
  const auto data = find(disk, kBlock, kBlock);
  EXPECT_EQ(kind_of(data), Extent::Kind::data);
  EXPECT_EQ(data->length, 3 * 512u);
  const auto zeros = find(disk, kBlock + 3 * 512, kBlock - 3 * 512);
  EXPECT_EQ(kind_of(zeros), Extent::Kind::zero);
  EXPECT_EQ(zeros->length, 2 * 512u);
  EXPECT_EQ(find(disk, kBlock + 5 * 512, kBlock)->length, kBlock - 5 * 512);
  // Sectors whose bits are set change nothing but payload.
  EXPECT_EQ(find_writable(disk, kBlock, 3 * 512)->at, data->at);
  EXPECT_FALSE(find_writable(disk, kBlock + 2 * 512, 1024)) << "the second sector's bit is clear";
  EXPECT_FALSE(find_writable(disk, kBlock + 3 * 512, 512));
  ASSERT_TRUE(write(disk, kBlock + 3 * 512, 1024));
  EXPECT_EQ(find(disk, kBlock, kBlock)->length, kBlock) << "all are set";
  EXPECT_EQ(find_writable(disk, kBlock, kBlock)->length, kBlock);
}

TEST(VhdFind, BitsOfOldTapdiskAreFoundTheOtherWayRound) {
  SparseImage image = sparse_image(
      {.footer = {.size = 4 * kBlock, .creator = std::string{"tap\0", 4}, .creator_version = 1},
       .block_size = kBlock,
       .blocks = {0}});
  image.bytes[image.block_at(0) + 1] = std::byte{0b1111'1100};
  Disk disk = opened(image);
  ASSERT_TRUE(locate(disk, 0));
  EXPECT_EQ(find(disk, 0, kBlock)->length, 8 * 512u);
  EXPECT_EQ(kind_of(find(disk, 8 * 512)), Extent::Kind::zero);
  EXPECT_EQ(find(disk, 8 * 512)->length, 2 * 512u);
  ASSERT_TRUE(write(disk, 9 * 512, 512));
  ASSERT_TRUE(disk.flush());
  EXPECT_EQ(read_at(disk.file(), image.block_at(0), 3),
            (Bytes{std::byte{0xff}, std::byte{0b1111'1110}, std::byte{0xff}}));
}

TEST(VhdFind, ADifferencingBlockShowsItsParentBetweenItsOwnSectors) {
  Disk disk = opened(image_of(4, {}));
  ASSERT_TRUE(write(disk, kBlock + 4096, 1024));
  const auto before = find(disk, kBlock, kBlock);
  EXPECT_EQ(kind_of(before), Extent::Kind::absent);
  EXPECT_EQ(before->length, 4096u);
  const auto own = find(disk, kBlock + 4096, kBlock - 4096);
  EXPECT_EQ(kind_of(own), Extent::Kind::data);
  EXPECT_EQ(own->length, 1024u);
  EXPECT_EQ(own->at, locate(disk, kBlock + 4096)->at);
  EXPECT_EQ(find_writable(disk, kBlock + 4096, 1024)->at, own->at);
  EXPECT_FALSE(find_writable(disk, kBlock + 4096, 1536));
  EXPECT_FALSE(find_writable(disk, kBlock));
}

TEST(VhdFind, ASectorIsFoundOnceItsDataIsWrittenAndNotBefore) {
  Disk disk = opened(image_of(4, {}));
  ASSERT_TRUE(write(disk, kBlock, 512));
  ASSERT_TRUE(disk.flush());
  const auto step = disk.leaf().place({kBlock + 4096}, 512);
  ASSERT_TRUE(std::holds_alternative<Extent>(step));
  EXPECT_EQ(kind_of(find(disk, kBlock + 4096, 512)), Extent::Kind::absent);
  EXPECT_FALSE(find_writable(disk, kBlock + 4096, 512));
  EXPECT_TRUE(disk.leaf().settled());
  disk.leaf().wrote({kBlock + 4096}, std::get<Extent>(step));
  EXPECT_EQ(find(disk, kBlock + 4096, 512)->at, std::get<Extent>(step).at);
  EXPECT_TRUE(find_writable(disk, kBlock + 4096, 512));
  EXPECT_FALSE(disk.leaf().settled());
}

TEST(VhdFind, ABlockWhoseLastBitIsSetIsFullWithoutItsBits) {
  Disk disk = opened(image_of(4, {}, 64), true, 0);
  ASSERT_TRUE(write(disk, kBlock, kBlock - 512));
  EXPECT_FALSE(find_writable(disk, kBlock, kBlock));
  ASSERT_TRUE(write(disk, 2 * kBlock - 512, 512));
  EXPECT_EQ(find_writable(disk, kBlock, kBlock)->length, kBlock);
  ASSERT_TRUE(disk.flush());
  // Sixteen bitmaps stay in memory.
  for (std::uint64_t block = 2; block < 40; ++block) {
    ASSERT_TRUE(write(disk, block * kBlock, 512));
    ASSERT_TRUE(disk.flush());
  }
  EXPECT_EQ(find_writable(disk, kBlock, kBlock)->length, kBlock);
  EXPECT_FALSE(find(disk, 2 * kBlock, 512)) << "the bits were to leave, for this to mean anything";
}

TEST(VhdFind, BitsThatLeftMemoryComeBackWithTheOwner) {
  Disk disk = opened(image_of(4, {}, 64), true, 0);
  for (std::uint64_t block = 0; block < 40; ++block) {
    ASSERT_TRUE(write(disk, block * kBlock + 4096, 512));
    ASSERT_TRUE(disk.flush());
  }
  EXPECT_FALSE(find(disk, 4096, 512));
  EXPECT_FALSE(find_writable(disk, 4096, 512));
  ASSERT_TRUE(locate(disk, 0));
  EXPECT_EQ(find(disk, 0, kBlock)->length, 4096u);
  EXPECT_EQ(kind_of(find_writable(disk, 4096, 512)), Extent::Kind::data);
}

TEST(VhdFind, BitmapsThatLookUpsUseAreSparedOnce) {
  Disk disk = opened(image_of(4, {}, 64), true, 0);
  ASSERT_TRUE(write(disk, 4096, 512));
  ASSERT_TRUE(write(disk, kBlock + 4096, 512));
  ASSERT_TRUE(disk.flush());
  for (std::uint64_t block = 2; block < 17; ++block) {
    ASSERT_TRUE(find(disk, 4096, 512));
    ASSERT_TRUE(write(disk, block * kBlock, 512));
    ASSERT_TRUE(disk.flush());
  }
  EXPECT_TRUE(find(disk, 4096, 512));
  EXPECT_FALSE(find(disk, kBlock + 4096, 512));
}

TEST(VhdFind, EntriesThatBreakARuleAreTheOwnersToReport) {
  SparseImage image = image_of(3, {1, 2, 3});
  put32(image.bytes, image.table_at + 4 * 5, get32(image.bytes, image.table_at + 4));  // shared
  put32(image.bytes, image.table_at + 4 * 6, 0x7fffffff);
  Disk disk = opened(image);
  for (const std::uint64_t block : {1u, 5u, 6u}) {
    EXPECT_FALSE(locate(disk, block * kBlock));
    EXPECT_FALSE(find(disk, block * kBlock));
  }
  ASSERT_TRUE(locate(disk, 2 * kBlock));
  EXPECT_EQ(kind_of(find(disk, 2 * kBlock)), Extent::Kind::data);
  EXPECT_FALSE(write(disk, 2 * kBlock, 512));
  EXPECT_FALSE(find_writable(disk, 2 * kBlock)) << "no damaged image is written to";
}

TEST(VhdFind, NothingIsOverwrittenBeforeTheFirstChangeOrAfterClose) {
  Disk disk = opened(image_of(3, {1}));
  ASSERT_TRUE(locate(disk, kBlock));
  EXPECT_FALSE(find_writable(disk, kBlock)) << "the table has not been judged for a change";
  const auto step = disk.leaf().place({kBlock}, 4096);
  ASSERT_TRUE(std::holds_alternative<Extent>(step));
  EXPECT_EQ(find_writable(disk, kBlock)->at, std::get<Extent>(step).at);
  EXPECT_FALSE(find_writable(disk, 2 * kBlock)) << "not mapped";
  ASSERT_TRUE(disk.clear(kBlock, kBlock, ClearKind::trim));
  EXPECT_FALSE(find_writable(disk, kBlock));
  ASSERT_TRUE(write(disk, kBlock, 4096));
  EXPECT_TRUE(find_writable(disk, kBlock));
  ASSERT_TRUE(disk.close());
  EXPECT_FALSE(find_writable(disk, kBlock));
  EXPECT_TRUE(find(disk, kBlock));
  ASSERT_TRUE(write(disk, kBlock, 4096));
  EXPECT_TRUE(find_writable(disk, kBlock)) << "in use again";
}

TEST(VhdFind, DamageThatShowsLaterEndsOverwrites) {
  // Five pages of the table, four of which fit.
  const SparseImage image = image_of(3, {1}, 4 * kPage + 8);
  Disk disk = opened(image, true, 0);
  ASSERT_TRUE(write(disk, kBlock, 512));
  ASSERT_TRUE(disk.flush());
  ASSERT_TRUE(locate(disk, kBlock));
  std::uint64_t gone = 1;
  while (gone < 5 && find(disk, gone * kPage * kBlock)) ++gone;
  ASSERT_LT(gone, 5u) << "a page was to leave, for this to mean anything";
  Bytes bad(4);
  put32(bad, 0, 0x7fffffff);
  patch(disk.file(), image.table_at + 4 * gone * kPage, bad);
  ASSERT_TRUE(locate(disk, kBlock));
  ASSERT_TRUE(find_writable(disk, kBlock, 512));
  EXPECT_FALSE(locate(disk, gone * kPage * kBlock));
  EXPECT_FALSE(find_writable(disk, kBlock, 512));
}

TEST(VhdFind, AfterAFailedSyncNothingIsOverwrittenAndReadingGoesOn) {
  Disk disk = opened(image_of(3, {1}));
  ASSERT_TRUE(write(disk, kBlock, 512));
  ASSERT_TRUE(disk.flush());
  ASSERT_TRUE(overwrite(disk, kBlock, 2));
  FlushTicket ticket{};
  const auto step = disk.leaf().flush(ticket);
  const auto* const sync = std::get_if<IoCommand>(&step);
  ASSERT_TRUE(sync != nullptr && sync->kind == Kind::sync);
  disk.leaf().complete(sync->token, -EIO);
  EXPECT_FALSE(find_writable(disk, kBlock));
  EXPECT_FALSE(disk.leaf().settled());
  EXPECT_EQ(kind_of(find(disk, kBlock)), Extent::Kind::data);
}

TEST(VhdFind, AnOverwriteIsOneSyncOfTheNextFlush) {
  for (const std::uint32_t type : {3u, 4u}) {
    SCOPED_TRACE(type);
    Disk disk = opened(image_of(type, {1}));
    ASSERT_TRUE(write(disk, kBlock, 4096));
    ASSERT_TRUE(disk.flush());
    const std::uint64_t syncs = count(disk, Kind::sync);
    const std::uint64_t writes = count(disk, Kind::write);
    ASSERT_TRUE(overwrite(disk, kBlock, 2));
    ASSERT_TRUE(disk.flush());
    EXPECT_EQ(count(disk, Kind::sync) - syncs, 1u);
    EXPECT_EQ(count(disk, Kind::write) - writes, 1u) << "the payload";
    ASSERT_TRUE(disk.flush());
    EXPECT_EQ(count(disk, Kind::sync) - syncs, 1u);
  }
}

TEST(VhdFind, AnOverwriteIsWhatClosingMakesDurable) {
  Disk disk = opened(image_of(3, {1}));
  ASSERT_TRUE(locate(disk, kBlock));
  ASSERT_TRUE(std::holds_alternative<Extent>(disk.leaf().place({kBlock}, 4096)));
  ASSERT_TRUE(overwrite(disk, kBlock, 2));
  const std::uint64_t syncs = count(disk, Kind::sync);
  ASSERT_TRUE(disk.close());
  EXPECT_EQ(count(disk, Kind::sync) - syncs, 1u);
}

TEST(VhdFind, AnOverwriteBesideASyncIsInTheNextOne) {
  for (const bool with_metadata : {false, true}) {
    SCOPED_TRACE(with_metadata);
    Disk disk = opened(image_of(3, {1}));
    Layer& layer = disk.leaf();
    ASSERT_TRUE(write(disk, kBlock, 4096));
    ASSERT_TRUE(disk.flush());
    ASSERT_TRUE(overwrite(disk, kBlock, 2));
    if (with_metadata) {
      ASSERT_TRUE(write(disk, 3 * kBlock, 512));
    }
    FlushTicket first{};
    auto step = layer.flush(first);
    const auto* sync = std::get_if<IoCommand>(&step);
    ASSERT_TRUE(sync != nullptr && sync->kind == Kind::sync);
    ASSERT_EQ(disk.file().execute(*sync), 0);
    ASSERT_TRUE(overwrite(disk, kBlock, 3)) << "after the host has synced";
    FlushTicket second{};
    EXPECT_TRUE(std::holds_alternative<Wait>(layer.flush(second)));
    layer.complete(sync->token, 0);
    const auto finish = [&](FlushTicket& ticket) {
      for (;;) {
        auto next = layer.flush(ticket);
        const auto* command = std::get_if<IoCommand>(&next);
        if (command == nullptr) return std::holds_alternative<Ok>(next);
        layer.complete(command->token, disk.file().execute(*command));
      }
    };
    ASSERT_TRUE(finish(first));
    const std::uint64_t syncs = count(disk, Kind::sync);
    ASSERT_TRUE(finish(second));
    EXPECT_EQ(count(disk, Kind::sync) - syncs, 1u);
  }
}

TEST(VhdFind, SettledSaysThatTableAndBitsAreDurable) {
  for (const std::uint32_t type : {3u, 4u}) {
    SCOPED_TRACE(type);
    Disk disk = opened(image_of(type, {1}));
    ImageLayer& layer = disk.leaf();
    EXPECT_FALSE(layer.settled()) << "who wrote the image may not have synced it";
    ASSERT_TRUE(write(disk, kBlock, kBlock));
    ASSERT_TRUE(disk.flush());
    EXPECT_TRUE(layer.settled());
    ASSERT_TRUE(overwrite(disk, kBlock, 2));
    ASSERT_TRUE(write(disk, kBlock, 4096));
    EXPECT_TRUE(layer.settled()) << "an overwrite changes no table";
    ASSERT_TRUE(write(disk, 3 * kBlock, 512));
    EXPECT_FALSE(layer.settled());
    ASSERT_TRUE(disk.flush());
    EXPECT_TRUE(layer.settled());
    ASSERT_TRUE(write(disk, 3 * kBlock + 512, 512));
    EXPECT_EQ(layer.settled(), type == 3) << "a bit";
    ASSERT_TRUE(disk.flush());
    EXPECT_TRUE(layer.settled());
  }
}

TEST(VhdFind, WhatChangesDuringARoundLeavesTheImageUnsettled) {
  Disk disk = opened(image_of(3, {}));
  Layer& layer = disk.leaf();
  ASSERT_TRUE(write(disk, 0, 4096));
  FlushTicket ticket{};
  const auto step = layer.flush(ticket);
  const auto* sync = std::get_if<IoCommand>(&step);
  ASSERT_NE(sync, nullptr);
  ASSERT_TRUE(write(disk, kBlock, 4096));
  layer.complete(sync->token, disk.file().execute(*sync));
  for (;;) {
    const auto next = layer.flush(ticket);
    const auto* command = std::get_if<IoCommand>(&next);
    if (command == nullptr) break;
    layer.complete(command->token, disk.file().execute(*command));
  }
  EXPECT_FALSE(layer.settled());
  ASSERT_TRUE(disk.flush());
  EXPECT_TRUE(layer.settled());
}

TEST(VhdFind, FreedSpaceWaitsForTransfersThatMayKnowIt) {
  Disk disk = opened(image_of(3, {1}));
  Readers readers;
  disk.leaf().share(readers);
  Readers::Slot& slot = *readers.join();
  ASSERT_TRUE(write(disk, kBlock, 512));
  ASSERT_TRUE(disk.flush());
  const unsigned side = slot.begin();
  const auto known = find(disk, kBlock);
  slot.end_look_up();
  ASSERT_EQ(kind_of(known), Extent::Kind::data);
  ASSERT_TRUE(disk.clear(kBlock, kBlock, ClearKind::trim));
  for (std::uint64_t block = 2; block < 5; ++block) {
    ASSERT_TRUE(write(disk, block * kBlock, 4096));
    EXPECT_NE(find(disk, block * kBlock)->at, known->at);
    ASSERT_TRUE(disk.flush());
  }
  EXPECT_EQ(count(disk, Kind::punch), 0u);
  // Those that began later do not know it.
  slot.begin();
  slot.end_look_up();
  slot.end_transfer(side);
  ASSERT_TRUE(write(disk, 2 * kBlock, 512));
  ASSERT_TRUE(disk.flush());
  EXPECT_EQ(count(disk, Kind::punch), 1u);
  ASSERT_TRUE(write(disk, 5 * kBlock, 4096));
  EXPECT_EQ(find(disk, 5 * kBlock)->at, known->at);
}

TEST(VhdFind, WhatIsInLimboStaysForLookUpsFromBeforeAndForNoOthers) {
  struct Thing {
    explicit Thing(int& alive_things) : alive{alive_things} { ++alive; }
    ~Thing() { --alive; }
    int& alive;
  };
  int alive = 0;
  Readers readers;
  vhd::Limbo<Thing> limbo;
  limbo.put(std::make_unique<Thing>(alive));
  EXPECT_EQ(alive, 0) << "shared with nobody";
  limbo.share(readers);
  Readers::Slot& slot = *readers.join();
  Readers::Slot& later = *readers.join();
  const unsigned side = slot.begin();
  for (std::size_t i = 0; i < vhd::Limbo<Thing>::kMost; ++i) {
    EXPECT_FALSE(limbo.is_full());
    limbo.put(std::make_unique<Thing>(alive));
    limbo.reclaim();
  }
  EXPECT_TRUE(limbo.is_full());
  EXPECT_EQ(alive, static_cast<int>(vhd::Limbo<Thing>::kMost));
  later.begin();
  slot.end_look_up();
  slot.end_transfer(side);
  limbo.reclaim();
  EXPECT_EQ(alive, 0);
}

TEST(VhdFind, AFixedDiskIsAlwaysFoundAndOverwrittenUntilASyncFails) {
  for (const bool writable : {true, false}) {
    auto disk = open_disk(store_of(fixed_image(8 * kBlock)), writable);
    ASSERT_TRUE(disk);
    EXPECT_EQ(find(*disk, 512, 8 * kBlock - 512)->at.value, 512u);
    EXPECT_EQ(find(*disk, 512, 8 * kBlock - 512)->length, 8 * kBlock - 512);
    EXPECT_TRUE(disk->leaf().settled());
    EXPECT_EQ(find_writable(*disk, 512).has_value(), writable);
    if (!writable) continue;
    ASSERT_TRUE(disk->flush());
    EXPECT_EQ(count(*disk, Kind::sync), 0u);
    ASSERT_TRUE(overwrite(*disk, 512, 2));
    ASSERT_TRUE(disk->flush());
    ASSERT_TRUE(disk->flush());
    EXPECT_EQ(count(*disk, Kind::sync), 1u);
    ASSERT_TRUE(overwrite(*disk, 512, 3));
    FlushTicket ticket{};
    const auto step = disk->leaf().flush(ticket);
    disk->leaf().complete(std::get<IoCommand>(step).token, -EIO);
    EXPECT_FALSE(find_writable(*disk, 512));
    EXPECT_TRUE(find(*disk, 512));
  }
}

}  // namespace
}  // namespace openvhd::test
