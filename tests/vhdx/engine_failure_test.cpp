// The engine when something is wrong: a full host, a failing one, another writer, a bad table.
#include <gtest/gtest.h>

#include "base/checked.hpp"
#include "support/bytes.hpp"
#include "vhdx/bat_math.hpp"
#include "vhdx/engine_sim.hpp"
#include "vhdx/header_writer.hpp"

namespace openvhd::test {
namespace {

using Kind = IoCommand::Kind;

Errc code_of(const Status& status) { return status ? Errc{} : status.error().code; }

std::vector<std::byte> bytes_at(OpenEngine& image, std::uint64_t at, std::size_t length) {
  std::vector<std::byte> out(length);
  EXPECT_EQ(failure_of(image.read(at, out)), "");
  return out;
}

TEST(VhdxEngineFailure, AFullHostChangesNothing) {
  SimEngine sim{EngineShape{}};
  ASSERT_TRUE(sim->write(0, filled(4096, 1)));
  sim.disk().fail({.kind = Kind::reserve, .error = ENOSPC, .sticky = true});
  std::uint64_t block = 1;
  Status written = Ok{};
  while (written) written = sim->write(block++ * kMiB, filled(4096, 2));
  ASSERT_EQ(code_of(written), Errc::no_space);
  EXPECT_EQ(block, 32 + 1u) << "the first step of 32 MiB was used up";
  ASSERT_EQ(failure_of(sim->flush()), "") << "what was written before can still be made durable";
  ASSERT_EQ(failure_of(sim->write(0, filled(4096, 3))), "");
  EXPECT_EQ(bytes_at(sim.image(), (block - 1) * kMiB, 4096), filled(4096, 0));
  sim.disk().clear_faults();
  ASSERT_EQ(failure_of(sim->write((block - 1) * kMiB, filled(4096, 4))), "");
  ASSERT_EQ(failure_of(sim->close()), "");
  sim.reopen(false);
  EXPECT_EQ(bytes_at(sim.image(), 0, 4096), filled(4096, 3));
  EXPECT_EQ(bytes_at(sim.image(), (block - 1) * kMiB, 4096), filled(4096, 4));
}

TEST(VhdxEngineFailure, AFullHostDoesNotLeaveABitmapWithoutItsBlock) {
  const EngineShape shape{.block_size = 32 * kMiB, .has_parent = true};
  const auto store = make_image(shape);
  {
    MemoryFile file{store};
    patch(file, store->size, filled(kMiB, 0xee));  // unowned: room for the bitmap alone
  }
  SimEngine sim{shape, store};
  sim.disk().fail({.kind = Kind::reserve, .error = ENOSPC, .sticky = true});
  EXPECT_EQ(code_of(sim->write(0, filled(512, 1))), Errc::no_space);
  EXPECT_EQ(code_of(sim->write(0, filled(512, 1))), Errc::no_space);
  ASSERT_EQ(failure_of(sim->close()), "");
  const std::uint64_t index = vhdx::bitmap_index(0, vhdx::chunk_ratio(512, 32 * kMiB));
  EXPECT_EQ(sim.entry(index), 0u);
  sim.reopen();
  ASSERT_EQ(failure_of(sim->write(0, filled(512, 1))), "");
  ASSERT_EQ(failure_of(sim->close()), "");
  EXPECT_NE(sim.entry(index), 0u);
  sim.reopen(false);
  EXPECT_EQ(bytes_at(sim.image(), 0, 512), filled(512, 1));
  EXPECT_EQ(bytes_at(sim.image(), 512, 512)[0], OpenEngine::parent_byte(512));
}

TEST(VhdxEngineFailure, WhenALargeStepDoesNotFitOneBlockIsTried) {
  SimEngine sim{EngineShape{}};
  sim.disk().fail({.kind = Kind::reserve, .error = ENOSPC});
  ASSERT_EQ(failure_of(sim->write(0, filled(4096, 1))), "");
  EXPECT_EQ(sim.count(Kind::reserve), 1u);
}

struct Broken {
  const char* name;
  Kind kind;
  std::uint64_t nth;
};

TEST(VhdxEngineFailure, AFailedSyncOrLogWritePoisonsUntilReopened) {
  for (const Broken& broken : {Broken{"data sync", Kind::sync, 0}, Broken{"log", Kind::write, 0}}) {
    SCOPED_TRACE(broken.name);
    SimEngine sim{EngineShape{}};
    ASSERT_TRUE(sim->write(0, filled(4096, 1)));
    ASSERT_TRUE(sim->flush());
    ASSERT_TRUE(sim->write(0, filled(4096, 2)));
    ASSERT_TRUE(sim->write(kMiB, filled(4096, 2)));
    sim.disk().fail({.kind = broken.kind, .nth = broken.nth});
    EXPECT_EQ(code_of(sim->flush()), Errc::io);
    EXPECT_EQ(code_of(sim->flush()), Errc::poisoned) << "never tried again";
    EXPECT_EQ(code_of(sim->write(0, filled(512, 3))), Errc::poisoned);
    EXPECT_EQ(code_of(sim->clear(0, kMiB, ClearKind::zero)), Errc::poisoned);
    const auto changes = sim.changes();
    EXPECT_EQ(code_of(sim->close()), Errc::poisoned);
    EXPECT_EQ(sim.changes(), changes) << "nothing is written after a failed sync";
    EXPECT_EQ(bytes_at(sim.image(), 0, 4096), filled(4096, 2)) << "reading goes on";
    sim.reopen();
    ASSERT_EQ(failure_of(sim->write(kMiB, filled(4096, 5))), "");
    ASSERT_EQ(failure_of(sim->close()), "");
  }
}

TEST(VhdxEngineFailure, AFailedHeaderWritePoisonsBeforeAnyData) {
  SimEngine sim{EngineShape{}};
  sim.disk().fail({.kind = Kind::write});
  EXPECT_EQ(code_of(sim->write(0, filled(512, 1))), Errc::io);
  EXPECT_EQ(code_of(sim->write(0, filled(512, 1))), Errc::poisoned);
}

TEST(VhdxEngineFailure, WithoutSequenceNumbersToEndWithNothingIsBegun) {
  const EngineShape shape;
  const auto store = make_image(shape);
  {
    MemoryFile file{store};
    vhdx::Header header = load<vhdx::Header>(read_at(file, 128 * kKiB, 4096));
    header.sequence_number = ~std::uint64_t{3};
    patch(file, 128 * kKiB, vhdx::encode_header(header));
  }
  SimEngine sim{shape, store};
  EXPECT_EQ(code_of(sim->write(0, filled(512, 1))), Errc::corrupt);
  EXPECT_EQ(code_of(sim->write(0, filled(512, 1))), Errc::corrupt);
  EXPECT_EQ(bytes_at(sim.image(), 0, 512), filled(512, 0));
  EXPECT_EQ(failure_of(sim->close()), "");
  EXPECT_EQ(sim.changes(), 0u);
}

TEST(VhdxEngineFailure, AFailedTableReadIsReportedOnceAndTriedAgain) {
  const EngineShape shape;
  const auto store = make_image(shape);
  store_entry(store, shape, 1, 2);
  SimEngine sim{shape, store};
  sim.disk().fail({.kind = Kind::read});
  std::vector<std::byte> got(512);
  EXPECT_EQ(code_of(sim->read(0, got)), Errc::io);
  EXPECT_EQ(failure_of(sim->read(0, got)), "");
}

TEST(VhdxEngineFailure, AHeaderThatCannotBeReadBackIsToldAsSuch) {
  SimEngine sim{EngineShape{}};
  ASSERT_TRUE(sim->write(0, filled(4096, 1)));
  sim.disk().fail({.kind = Kind::read});
  EXPECT_EQ(code_of(sim->flush()), Errc::io);
  const Status again = sim->flush();
  ASSERT_EQ(code_of(again), Errc::poisoned);
  EXPECT_NE(std::string{again.error().what}.find("header cannot be read back"), std::string::npos);
  EXPECT_NE(std::string{again.error().what}.find("e.2"), std::string::npos);
}

TEST(VhdxEngineFailure, AnotherWritersHeaderFences) {
  SimEngine sim{EngineShape{}};
  ASSERT_TRUE(sim->write(0, filled(4096, 1)));
  {
    // Somebody who ignored the locks.
    SimFile file{std::shared_ptr<SimDisk>{std::shared_ptr<void>{}, &sim.disk()}};
    patch(file, 64 * kKiB + 16, filled(16, 0x77));
    patch(file, 128 * kKiB + 16, filled(16, 0x77));
  }
  sim.mark();
  EXPECT_EQ(code_of(sim->flush()), Errc::fenced);
  EXPECT_EQ(sim.count(Kind::write), 0u);
  EXPECT_EQ(code_of(sim->write(0, filled(512, 1))), Errc::fenced);
  EXPECT_EQ(code_of(sim->close()), Errc::fenced);
  EXPECT_EQ(sim.count(Kind::write), 0u);
}

TEST(VhdxEngineFailure, FreedSpaceIsReusedOnlyAfterTheFreeIsDurable) {
  SimEngine sim{EngineShape{}};
  // Only the space of 32 blocks, the first step, is there.
  for (std::uint64_t block = 0; block < 32; ++block) {
    ASSERT_TRUE(sim->write(block * kMiB, filled(kMiB, 1)));
  }
  ASSERT_TRUE(sim->flush());
  const auto old = sim->locate(0, 512);
  ASSERT_TRUE(old);
  sim.disk().fail({.kind = Kind::reserve, .error = ENOSPC, .sticky = true});
  ASSERT_TRUE(sim->clear(0, kMiB, ClearKind::trim));
  EXPECT_EQ(code_of(sim->write(40 * kMiB, filled(512, 2))), Errc::no_space);
  ASSERT_TRUE(sim->flush());
  ASSERT_EQ(failure_of(sim->write(40 * kMiB, filled(512, 2))), "");
  const auto reused = sim->locate(40 * kMiB, 512);
  ASSERT_TRUE(reused);
  EXPECT_EQ(reused->at, old->at);
  EXPECT_EQ(bytes_at(sim.image(), 40 * kMiB + 512, kMiB - 512), filled(kMiB - 512, 0))
      << "nothing of the block that was there";
}

TEST(VhdxEngineFailure, FreedSpaceWaitsForOperationsThatMayStillTouchIt) {
  SimEngine sim{EngineShape{}};
  for (std::uint64_t block = 0; block < 32; ++block) {
    ASSERT_TRUE(sim->write(block * kMiB, filled(4096, 1)));
  }
  ASSERT_TRUE(sim->flush());
  sim.disk().fail({.kind = Kind::reserve, .error = ENOSPC, .sticky = true});
  OperationTicket writer;
  sim->layer().enter(writer);
  ASSERT_TRUE(sim->clear(0, kMiB, ClearKind::trim));
  ASSERT_TRUE(sim->flush());
  EXPECT_EQ(sim.count(Kind::punch), 0u);
  EXPECT_EQ(code_of(sim->write(40 * kMiB, filled(512, 2))), Errc::no_space);
  sim->layer().leave(writer);
  ASSERT_TRUE(sim->flush());
  ASSERT_EQ(failure_of(sim->write(40 * kMiB, filled(512, 2))), "");
}

TEST(VhdxEngineFailure, StaleBytesBehindTheLastBlockAreNeverShown) {
  const EngineShape shape;
  const auto store = make_image(shape);
  {
    MemoryFile file{store};
    patch(file, store->size, filled(4 * kMiB, 0xee));  // what a crash may leave
  }
  SimEngine sim{shape, store};
  for (std::uint64_t block = 0; block < 4; ++block) {
    ASSERT_TRUE(sim->write(block * kMiB, filled(512, 1)));
  }
  EXPECT_EQ(sim.count(Kind::reserve), 0u) << "the space was there";
  for (std::uint64_t block = 0; block < 4; ++block) {
    EXPECT_EQ(bytes_at(sim.image(), block * kMiB + 512, 4096), filled(4096, 0));
  }
}

TEST(VhdxEngineFailure, BlocksThatShareSpaceAreReportedWhereTheyAreReadAndNothingIsWritten) {
  const EngineShape shape;
  const auto store = make_image(shape);
  {
    OpenEngine image{store, shape};
    ASSERT_TRUE(image.write(0, filled(3 * kMiB, 1)));
    ASSERT_TRUE(image.close());
  }
  store_entry(store, shape, 2, stored_entry(store, shape, 1));
  SimEngine sim{shape, store};
  EXPECT_EQ(bytes_at(sim.image(), kMiB, 512), filled(512, 1));
  std::vector<std::byte> got(512);
  const Status read = sim->read(2 * kMiB, got);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::corrupt);
  EXPECT_EQ(read.error().where.value, bat_offset(shape) + 16);
  EXPECT_NE(std::string{read.error().what}.find("X14"), std::string::npos);
  EXPECT_EQ(code_of(sim->write(8 * kMiB, filled(512, 1))), Errc::corrupt);
  EXPECT_EQ(sim.changes(), 0u);
}

TEST(VhdxEngineFailure, DamageAnywhereInTheTableForbidsAllocation) {
  const EngineShape shape{.virtual_size = 64 * kGiB};
  const auto store = make_image(shape);
  store_entry(store, shape, 50000, 5);
  SimEngine sim{shape, store};
  EXPECT_EQ(code_of(sim->write(0, filled(512, 1))), Errc::corrupt);
  EXPECT_EQ(bytes_at(sim.image(), 0, 512), filled(512, 0));
}

TEST(VhdxEngineFailure, SoftAnchorsAreNotHandedOut) {
  const EngineShape shape;
  const auto store = make_image(shape);
  const std::uint64_t anchor = store->size;
  {
    MemoryFile file{store};
    patch(file, anchor, filled(kMiB, 0xaa));
  }
  store_entry(store, shape, 5, anchor | 3);  // UNMAPPED, with its space
  SimEngine sim{shape, store};
  ASSERT_TRUE(sim->write(0, filled(512, 1)));
  const auto extent = sim->locate(0, 512);
  ASSERT_TRUE(extent);
  EXPECT_NE(extent->at.value, anchor);
  EXPECT_EQ(bytes_at(sim.image(), 5 * kMiB, 512), filled(512, 0));
}

TEST(VhdxEngineFailure, APartialBlockWithoutABitmapIsCorrupt) {
  const EngineShape shape{.has_parent = true};
  const auto store = make_image(shape);
  const std::uint64_t at = store->size;
  {
    MemoryFile file{store};
    patch(file, at, filled(kMiB, 1));
  }
  store_entry(store, shape, 0, at | 7);
  SimEngine sim{shape, store};
  std::vector<std::byte> got(512);
  const Status read = sim->read(0, got);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::corrupt);
  EXPECT_NE(std::string{read.error().what}.find("X15"), std::string::npos);
}

TEST(VhdxEngineFailure, AnOffsetInABitmapEntryWithoutABitmapMeansNothing) {
  const EngineShape shape{.has_parent = true};
  const auto store = make_image(shape);
  const std::uint64_t stray = store->size;
  {
    MemoryFile file{store};
    patch(file, stray, filled(kMiB, 0xff));
  }
  const std::uint64_t index = vhdx::bitmap_index(0, vhdx::chunk_ratio(512, kMiB));
  store_entry(store, shape, index, stray);  // state NOT_PRESENT
  SimEngine sim{shape, store};
  ASSERT_EQ(failure_of(sim->write(0, filled(512, 1))), "");
  ASSERT_EQ(failure_of(sim->close()), "");
  EXPECT_EQ(sim.entry(index) & 7, 6u);
  sim.reopen(false);
  EXPECT_EQ(bytes_at(sim.image(), 0, 512), filled(512, 1));
  EXPECT_EQ(bytes_at(sim.image(), 512, 512)[0], OpenEngine::parent_byte(512));
}

TEST(VhdxEngineFailure, ABitmapMarkedPresentWithoutAParentIsIgnoredAndItsSpaceLeftAlone) {
  const EngineShape shape{.virtual_size = 8 * kGiB};
  const auto store = make_image(shape);
  const std::uint64_t at = store->size;
  {
    MemoryFile file{store};
    patch(file, at, filled(kMiB, 0xbb));
  }
  store_entry(store, shape, vhdx::bitmap_index(0, 4096), at | 6);
  SimEngine sim{shape, store};
  ASSERT_EQ(failure_of(sim->write(0, filled(512, 1))), "");
  MemoryFile file{std::make_shared<MemoryStore>(sim.store())};
  EXPECT_EQ(read_at(file, at, kMiB), filled(kMiB, 0xbb));
}

}  // namespace
}  // namespace openvhd::test
