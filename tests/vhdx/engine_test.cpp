// The engine on one image: what it reads, writes and leaves in the file.
#include <gtest/gtest.h>

#include "base/checked.hpp"
#include "support/bytes.hpp"
#include "vhdx/bat_math.hpp"
#include "vhdx/engine_fixture.hpp"
#include "vhdx/engine_sim.hpp"

namespace openvhd::test {
namespace {

using Kind = IoCommand::Kind;

constexpr std::uint64_t kStateBits = 7;

std::vector<std::byte> bytes_at(OpenEngine& image, std::uint64_t at, std::size_t length) {
  std::vector<std::byte> out(length);
  EXPECT_EQ(failure_of(image.read(at, out)), "");
  return out;
}

TEST(VhdxEngine, AnEmptyImageReadsAsAbsentInOneAnswer) {
  const EngineShape shape{.virtual_size = std::uint64_t{1} << 40};
  OpenEngine image{make_image(shape), shape, false};
  const auto extent = image.locate(4096, shape.virtual_size - 4096);
  ASSERT_TRUE(extent);
  EXPECT_EQ(extent->kind, Extent::Kind::absent);
  EXPECT_EQ(extent->length, shape.virtual_size - 4096);
  EXPECT_EQ(image.layer_commands, 0u) << "a hole in the table is not read";
}

TEST(VhdxEngine, WhatIsWrittenReadsBackBeforeAndAfterReopening) {
  const EngineShape shape;
  const auto store = make_image(shape);
  const auto data = pattern(3 * kMiB, 5);
  {
    OpenEngine image{store, shape};
    ASSERT_TRUE(image.write(kMiB / 2, data));
    EXPECT_EQ(bytes_at(image, kMiB / 2, data.size()), data);
    ASSERT_TRUE(image.close());
  }
  OpenEngine again{store, shape, false};
  EXPECT_EQ(bytes_at(again, kMiB / 2, data.size()), data);
  EXPECT_EQ(bytes_at(again, 0, kMiB / 2), filled(kMiB / 2, 0));
}

TEST(VhdxEngine, BlocksThatLieTogetherAreOneExtent) {
  const EngineShape shape;
  OpenEngine image{make_image(shape), shape};
  ASSERT_TRUE(image.write(0, filled(4 * kMiB, 1)));
  const auto extent = image.locate(512, 4 * kMiB - 1024);
  ASSERT_TRUE(extent);
  EXPECT_EQ(extent->kind, Extent::Kind::data);
  EXPECT_EQ(extent->length, 4 * kMiB - 1024);
}

TEST(VhdxEngine, AWritableOpenThatWritesNothingLeavesEveryByte) {
  const EngineShape shape;
  const auto store = make_image(shape);
  MemoryFile plain{store};
  const auto before = read_all(plain);
  SimEngine sim{shape, store};
  bytes_at(sim.image(), 0, kMiB);
  ASSERT_TRUE(sim->clear(0, 8 * kMiB, ClearKind::trim)) << "there is nothing to clear";
  ASSERT_TRUE(sim->flush());
  ASSERT_TRUE(sim->close());
  EXPECT_EQ(sim.changes(), 0u);
  MemoryFile after{std::make_shared<MemoryStore>(sim.store())};
  EXPECT_EQ(read_all(after), before);
}

TEST(VhdxEngine, NewGuidsAreDurableBeforeAnythingElseChanges) {
  SimEngine sim{EngineShape{}};
  const Guid old = sim->layer().link_identity();
  ASSERT_TRUE(sim->write(0, filled(512, 1)));
  EXPECT_NE(sim->layer().link_identity(), old);
  std::vector<SimDisk::Op> ops;
  for (const auto& op : sim.disk().ops()) {
    if (op.kind != Kind::read) ops.push_back(op);
  }
  ASSERT_GE(ops.size(), 3u);
  EXPECT_EQ(ops[0].kind, Kind::write);
  EXPECT_EQ(ops[0].at, 64 * kKiB) << "the copy that did not count";
  EXPECT_EQ(ops[1].kind, Kind::sync);
}

TEST(VhdxEngine, AnAllocatingWriteThatNobodyFlushesWaitsForNothing) {
  SimEngine sim{EngineShape{}};
  ASSERT_TRUE(sim->write(0, filled(512, 1)));
  sim.mark();
  for (std::uint64_t block = 1; block < 20; ++block) {
    ASSERT_TRUE(sim->write(block * kMiB, filled(512, 1)));
  }
  EXPECT_EQ(sim.waits(), 0u);
  EXPECT_EQ(sim.count(Kind::reserve), 0u) << "the first step covers them";
  EXPECT_EQ(sim.changes(), 19u) << "the data and nothing else";
}

TEST(VhdxEngine, OneFlushIsTwoWaitsWhateverItCovers) {
  const EngineShape shape{.virtual_size = 64 * kGiB};
  SimEngine sim{shape};
  for (int round = 0; round < 30; ++round) {
    for (std::uint64_t i = 0; i < 25; ++i) {
      const std::uint64_t block = (i * 2039 + static_cast<std::uint64_t>(round) * 7919) % 65536;
      ASSERT_TRUE(sim->write(block * kMiB, filled(4096, 1)));
    }
    sim.mark();
    ASSERT_TRUE(sim->flush());
    EXPECT_LE(sim.waits(), 2u) << "round " << round;
  }
}

TEST(VhdxEngine, AFlushWithoutMetadataIsOneSyncAndWithoutNewsIsNone) {
  SimEngine sim{EngineShape{}};
  ASSERT_TRUE(sim->write(0, filled(512, 1)));
  ASSERT_TRUE(sim->flush());
  sim.mark();
  ASSERT_TRUE(sim->flush());
  EXPECT_EQ(sim.changes(), 0u);
  ASSERT_TRUE(sim->write(0, filled(512, 2)));
  sim.mark();
  ASSERT_TRUE(sim->flush());
  EXPECT_EQ(sim.changes(), 1u);
  EXPECT_EQ(sim.count(Kind::sync), 1u);
}

TEST(VhdxEngine, ALogOfOneMebibyteTakesAnyNumberOfDirtySectors) {
  // One block in each of 1200 sectors of the table: five times what the log holds.
  const EngineShape shape{.virtual_size = 1200 * 512 * kMiB};
  SimEngine sim{shape};
  const auto at = [](std::uint64_t i) { return i * 512 * kMiB + 4096; };
  for (std::uint64_t i = 0; i < 1200; ++i) {
    ASSERT_TRUE(sim->write(at(i), filled(512, static_cast<int>(i % 250 + 1))));
  }
  ASSERT_TRUE(sim->flush());
  sim.reopen();
  for (std::uint64_t i = 0; i < 1200; ++i) {
    ASSERT_EQ(bytes_at(sim.image(), at(i), 512), filled(512, static_cast<int>(i % 250 + 1))) << i;
  }
}

TEST(VhdxEngine, ACrowdedCacheIsRelievedByCommits) {
  const EngineShape shape{.virtual_size = 16 * kTiB, .table_cache_bytes = 0};
  SimEngine sim{shape};
  for (std::uint64_t i = 0; i < 200; ++i) {
    ASSERT_TRUE(sim->write(i * 80 * kGiB, filled(512, static_cast<int>(i + 1))));
  }
  for (std::uint64_t i = 0; i < 200; ++i) {
    ASSERT_EQ(bytes_at(sim.image(), i * 80 * kGiB, 512), filled(512, static_cast<int>(i + 1)));
  }
}

TEST(VhdxEngine, ClearedBlocksHaveTheStatesThatReadersTakeForZeros) {
  const EngineShape shape;
  SimEngine sim{shape};
  ASSERT_TRUE(sim->write(0, filled(3 * kMiB, 1)));
  ASSERT_TRUE(sim->clear(0, kMiB, ClearKind::zero));
  ASSERT_TRUE(sim->clear(kMiB, kMiB, ClearKind::trim));
  ASSERT_TRUE(sim->close());
  EXPECT_EQ(sim.entry(0), 2u) << "ZERO without an offset";
  EXPECT_EQ(sim.entry(1), 0u) << "NOT_PRESENT";
  EXPECT_EQ(sim.entry(2) & kStateBits, 6u);
}

TEST(VhdxEngine, ClearingOverAParentHidesIt) {
  const EngineShape shape{.has_parent = true};
  SimEngine sim{shape};
  ASSERT_TRUE(sim->clear(0, kMiB, ClearKind::trim));
  ASSERT_TRUE(sim->clear(kMiB + 512, 512, ClearKind::trim));
  ASSERT_TRUE(sim->close());
  EXPECT_EQ(sim.entry(0), 2u);
  EXPECT_EQ(sim.entry(1) & kStateBits, 7u);
  sim.reopen(false);
  EXPECT_EQ(bytes_at(sim.image(), 0, kMiB), filled(kMiB, 0));
  const auto partial = bytes_at(sim.image(), kMiB, 1536);
  EXPECT_EQ(partial[0], OpenEngine::parent_byte(kMiB));
  EXPECT_EQ(partial[512], std::byte{0});
  EXPECT_EQ(partial[1024], OpenEngine::parent_byte(kMiB + 1024));
}

TEST(VhdxEngine, APartialBlockBecomesFullWhenItsLastSectorIsWritten) {
  const EngineShape shape{.has_parent = true};
  SimEngine sim{shape};
  ASSERT_TRUE(sim->write(512, filled(kMiB - 512, 1)));
  ASSERT_TRUE(sim->flush());
  sim.reopen();
  ASSERT_TRUE(sim->write(0, filled(512, 1)));
  ASSERT_TRUE(sim->close());
  EXPECT_EQ(sim.entry(0) & kStateBits, 6u);
}

TEST(VhdxEngine, BitsFromAnEarlierLifeOfABlockDoNotCount) {
  const EngineShape shape{.has_parent = true};
  const auto store = make_image(shape);
  {
    OpenEngine image{store, shape};
    ASSERT_TRUE(image.write(4096, filled(4096, 1)));
    ASSERT_TRUE(image.close());
  }
  store_entry(store, shape, 0, 0);  // NOT_PRESENT again: what its bits say is void
  SimEngine sim{shape, store};
  ASSERT_TRUE(sim->write(0, filled(512, 2)));
  EXPECT_EQ(bytes_at(sim.image(), 4096, 512)[0], OpenEngine::parent_byte(4096));
  ASSERT_TRUE(sim->close());
  sim.reopen(false);
  EXPECT_EQ(bytes_at(sim.image(), 4096, 512)[0], OpenEngine::parent_byte(4096));
  EXPECT_EQ(bytes_at(sim.image(), 0, 512), filled(512, 2));
}

TEST(VhdxEngine, BitsOfSectorsAreLowBitFirst) {
  const EngineShape shape{.has_parent = true};
  SimEngine sim{shape};
  ASSERT_TRUE(sim->write(9 * 512, filled(512, 1)));
  ASSERT_TRUE(sim->close());
  const std::uint64_t bitmap = sim.entry(vhdx::bitmap_index(0, 4096));
  ASSERT_EQ(bitmap & kStateBits, 6u);
  MemoryFile file{std::make_shared<MemoryStore>(sim.store())};
  const auto bits = read_at(file, bitmap & ~(kMiB - 1), 3);
  EXPECT_EQ(bits, (std::vector{std::byte{0}, std::byte{2}, std::byte{0}}));
}

TEST(VhdxEngine, AFixedImageKeepsItsBlocksAndItsSize) {
  EngineShape shape{.virtual_size = 4 * kMiB};
  const auto store = make_image(shape);
  {
    OpenEngine image{store, shape};
    ASSERT_TRUE(image.write(0, filled(4 * kMiB, 1)));
    ASSERT_TRUE(image.close());
  }
  // The same image, now with the promise: file parameters are the first item (2.6.2.1).
  shape.fixed = true;
  {
    MemoryFile file{store};
    patch(file, kMiB + shape.log_bytes + 64 * kKiB + 4, {1});
  }
  SimEngine sim{shape, store};
  const std::uint64_t size = sim.store().size;
  EXPECT_EQ(sim->layer().type(), DiskType::fixed);
  ASSERT_TRUE(sim->clear(0, 4 * kMiB, ClearKind::trim));
  ASSERT_TRUE(sim->close());
  for (std::uint64_t block = 0; block < 4; ++block) EXPECT_EQ(sim.entry(block) & kStateBits, 6u);
  EXPECT_EQ(sim.store().size, size);
  EXPECT_EQ(sim.count(Kind::punch), 0u);
  EXPECT_EQ(bytes_at(sim.image(), 0, 4 * kMiB), filled(4 * kMiB, 0));
}

TEST(VhdxEngine, ClosingCutsOffWhatNobodyOwns) {
  const EngineShape shape;
  SimEngine sim{shape};
  const std::uint64_t empty = sim.store().size;
  ASSERT_TRUE(sim->write(0, filled(2 * kMiB, 1)));
  EXPECT_GT(sim.store().size, empty + 2 * kMiB) << "reserved in a large step";
  ASSERT_TRUE(sim->close());
  EXPECT_EQ(sim.store().size, empty + 2 * kMiB);
  sim.reopen();
  ASSERT_TRUE(sim->clear(kMiB, kMiB, ClearKind::trim));
  ASSERT_TRUE(sim->close());
  EXPECT_EQ(sim.store().size, empty + kMiB);
}

TEST(VhdxEngine, FreedSpaceGoesBackToTheHost) {
  const EngineShape shape;
  SimEngine sim{shape};
  ASSERT_TRUE(sim->write(0, filled(8 * kMiB, 1)));
  ASSERT_TRUE(sim->flush());
  const std::uint64_t before = sim.store().allocated_bytes();
  ASSERT_TRUE(sim->clear(0, 4 * kMiB, ClearKind::trim));
  ASSERT_TRUE(sim->flush());
  // The log entry and what went in place took a little.
  EXPECT_LE(sim.store().allocated_bytes(), before - 4 * kMiB + 64 * kKiB);
}

TEST(VhdxEngine, BlocksAreCountedWithTheirStates) {
  const EngineShape shape{.virtual_size = 8 * kGiB, .has_parent = true};
  SimEngine sim{shape};
  ASSERT_TRUE(sim->write(0, filled(512, 1)));
  ASSERT_TRUE(sim->write(kMiB, filled(kMiB, 1)));
  ASSERT_TRUE(sim->clear(2 * kMiB, kMiB, ClearKind::zero));
  for (int round = 0; round < 2; ++round) {
    const auto counts = sim->layer().count_blocks(sim->file(), kMiB);
    ASSERT_TRUE(counts);
    EXPECT_EQ(counts->total, 8192u);
    EXPECT_EQ(counts->partially_present, 1u);
    EXPECT_EQ(counts->fully_present, 1u);
    EXPECT_EQ(counts->zero, 1u);
    EXPECT_EQ(counts->not_present, 8189u);
    EXPECT_EQ(counts->bitmap_blocks, 1u);
    ASSERT_TRUE(sim->close());
    sim.reopen(false);
    EXPECT_FALSE(sim->layer().count_blocks(sim->file(), 1000));
  }
}

}  // namespace
}  // namespace openvhd::test
