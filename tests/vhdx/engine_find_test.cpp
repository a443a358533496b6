// What threads beside the owner may ask: each state of find, find_writable, settled, overwritten.
#include <gtest/gtest.h>

#include <optional>

#include "base/checked.hpp"
#include "io/readers.hpp"
#include "support/bytes.hpp"
#include "vhdx/engine_sim.hpp"

namespace openvhd::test {
namespace {

using Kind = IoCommand::Kind;

constexpr std::uint64_t kNotPresent = 0;
constexpr std::uint64_t kUndefined = 1;
constexpr std::uint64_t kZero = 2;
constexpr std::uint64_t kUnmapped = 3;

std::optional<Extent> find(OpenEngine& image, std::uint64_t at, std::uint64_t length = 4096) {
  Extent extent;
  if (!image.layer().find({at}, length, extent)) return std::nullopt;
  return extent;
}

std::optional<Extent> find_writable(OpenEngine& image, std::uint64_t at,
                                    std::uint64_t length = 4096) {
  Extent extent;
  if (!image.layer().find_writable({at}, length, extent)) return std::nullopt;
  return extent;
}

bool overwrite(OpenEngine& image, std::uint64_t at, int value) {
  const auto extent = find_writable(image, at);
  if (!extent || !image.file().write_all(extent->at, filled(extent->length, value))) return false;
  image.layer().overwritten();
  return true;
}

Extent::Kind kind_of(const std::optional<Extent>& extent) {
  if (!extent) ADD_FAILURE() << "not found";
  return extent ? extent->kind : Extent::Kind{};
}

TEST(VhdxEngineFind, AHoleOfTheTableIsAbsentAsFarAsItReaches) {
  const EngineShape shape{.virtual_size = std::uint64_t{1} << 40};
  OpenEngine image{make_image(shape), shape, false};
  const auto extent = find(image, 4096, shape.virtual_size - 4096);
  EXPECT_EQ(kind_of(extent), Extent::Kind::absent);
  EXPECT_EQ(extent->length, shape.virtual_size - 4096);
}

TEST(VhdxEngineFind, APageThatIsNotInMemoryIsTheOwners) {
  const EngineShape shape;
  const auto store = make_image(shape);
  store_entry(store, shape, 3, kZero);
  OpenEngine image{store, shape, false};
  EXPECT_FALSE(find(image, 3 * kMiB));
  ASSERT_TRUE(image.locate(0, 4096));
  EXPECT_EQ(kind_of(find(image, 3 * kMiB)), Extent::Kind::zero);
}

TEST(VhdxEngineFind, StatesAreAnsweredAsTheyRead) {
  const EngineShape shape;
  const auto store = make_image(shape);
  {
    OpenEngine image{store, shape};
    ASSERT_TRUE(image.write(0, filled(kMiB, 1)));
    ASSERT_TRUE(image.close());
  }
  store_entry(store, shape, 1, kNotPresent);
  store_entry(store, shape, 2, kUndefined);
  store_entry(store, shape, 3, kZero);
  store_entry(store, shape, 4, kUnmapped);
  store_entry(store, shape, 5, 5);
  OpenEngine image{store, shape, false};
  ASSERT_TRUE(image.locate(0, 4096));
  EXPECT_EQ(kind_of(find(image, 4096)), Extent::Kind::data);
  EXPECT_EQ(kind_of(find(image, kMiB)), Extent::Kind::absent);
  EXPECT_EQ(find(image, kMiB, 4 * kMiB)->length, kMiB);
  const auto zeros = find(image, 2 * kMiB, 8 * kMiB);
  EXPECT_EQ(kind_of(zeros), Extent::Kind::zero);
  EXPECT_EQ(zeros->length, 3 * kMiB);
  EXPECT_FALSE(find(image, 5 * kMiB)) << "a reserved state is the owner's to report";
}

TEST(VhdxEngineFind, DataIsFoundWhereLocateFindsItAndBlocksThatLieTogetherInOne) {
  const EngineShape shape;
  OpenEngine image{make_image(shape), shape};
  ASSERT_TRUE(image.write(0, filled(4 * kMiB, 1)));
  const auto one = find(image, kMiB + 512);
  const auto located = image.locate(kMiB + 512, 4096);
  EXPECT_EQ(kind_of(one), Extent::Kind::data);
  EXPECT_EQ(one->at, located->at);
  EXPECT_EQ(one->length, 4096u);
  EXPECT_EQ(find(image, 512, 4 * kMiB - 1024)->length, 4 * kMiB - 1024);
  EXPECT_EQ(find_writable(image, 512, 4 * kMiB - 1024)->length, 4 * kMiB - 1024);
}

TEST(VhdxEngineFind, APartialBlockIsAnsweredByRunsOfItsBits) {
  const EngineShape shape{.has_parent = true};
  const auto store = make_image(shape);
  {
    OpenEngine image{store, shape};
    EXPECT_EQ(kind_of(find(image, 0)), Extent::Kind::absent);
    ASSERT_TRUE(image.write(4096, filled(1024, 1)));
    const auto before = find(image, 0, kMiB);
    EXPECT_EQ(kind_of(before), Extent::Kind::absent);
    EXPECT_EQ(before->length, 4096u);
    const auto data = find(image, 4096, kMiB);
    EXPECT_EQ(kind_of(data), Extent::Kind::data);
    EXPECT_EQ(data->length, 1024u);
    EXPECT_EQ(data->at, image.locate(4096, 512)->at);
    const auto writable = find_writable(image, 4096, kMiB);
    EXPECT_EQ(kind_of(writable), Extent::Kind::data);
    EXPECT_EQ(writable->length, 1024u) << "as far as its sectors are there";
    EXPECT_FALSE(find_writable(image, 0, 4096)) << "a bit would have to be set";
    ASSERT_TRUE(image.close());
  }
  OpenEngine image{store, shape};
  EXPECT_FALSE(find(image, 4096));
  ASSERT_TRUE(image.locate(kMiB, 512));
  EXPECT_FALSE(find(image, 4096)) << "the table is in memory, the bitmap is not";
  ASSERT_TRUE(image.locate(4096, 512));
  EXPECT_EQ(kind_of(find(image, 4096)), Extent::Kind::data);
  ASSERT_TRUE(image.write(0, filled(kMiB, 2)));
  EXPECT_EQ(find(image, 0, kMiB)->length, kMiB) << "present as a whole";
  EXPECT_EQ(kind_of(find_writable(image, 4096, 512)), Extent::Kind::data);
}

TEST(VhdxEngineFind, BitsThatAreLateAreNotTakenForClear) {
  // Entries of 40 pages, so that one that is not dirty leaves between place() and wrote().
  const EngineShape shape{
      .virtual_size = 40 * (8192 * kMiB), .has_parent = true, .table_cache_bytes = 0};
  const auto store = make_image(shape);
  const auto far = [](std::uint64_t page) { return page * 8192 * kMiB; };
  OpenEngine image{store, shape};
  for (std::uint64_t page = 0; page < 40; ++page) {
    ASSERT_TRUE(image.write(far(page), filled(512, 1)));
  }
  ASSERT_TRUE(image.close());
  OpenEngine again{store, shape};
  ASSERT_TRUE(again.write(far(39), filled(512, 2)));
  ASSERT_TRUE(again.flush());
  const auto placed = again.place(4096, 512);
  ASSERT_TRUE(placed);
  for (std::uint64_t page = 1; page < 39; ++page) ASSERT_TRUE(again.locate(far(page), 512));
  ASSERT_FALSE(find(again, 4096, 512)) << "the page was to leave, for this test to mean anything";
  ASSERT_TRUE(again.file().write_all(placed->at, filled(512, 7)));
  again.layer().wrote({4096}, *placed);
  EXPECT_FALSE(again.layer().settled());
  // Another block of the same table page brings it back: its answer does not depend on bits.
  for (int command = 0; command < 8; ++command) {
    const auto found = find(again, 4096, 512);
    if (found) {
      EXPECT_EQ(found->kind, Extent::Kind::data);
    }
    Step<Extent> step = again.layer().locate({4096}, 512);
    auto* load = std::get_if<IoCommand>(&step);
    if (load == nullptr) break;
    again.layer().complete(load->token, again.file().execute(*load));
  }
  EXPECT_EQ(kind_of(find(again, 4096, 512)), Extent::Kind::data);
  EXPECT_FALSE(again.layer().settled());
  ASSERT_TRUE(again.flush());
  EXPECT_TRUE(again.layer().settled());
}

TEST(VhdxEngineFind, NothingIsOverwrittenBeforeTheHeaderSaysSo) {
  const EngineShape shape;
  const auto store = make_image(shape);
  {
    OpenEngine image{store, shape};
    ASSERT_TRUE(image.write(0, filled(4096, 1)));
    ASSERT_TRUE(image.close());
    EXPECT_FALSE(find_writable(image, 0)) << "closed";
  }
  {
    OpenEngine reader{store, shape, false};
    ASSERT_TRUE(reader.locate(0, 4096));
    EXPECT_FALSE(find_writable(reader, 0));
  }
  OpenEngine image{store, shape};
  ASSERT_TRUE(image.locate(0, 4096));
  EXPECT_FALSE(find_writable(image, 0));
  const auto placed = image.place(0, 4096);
  ASSERT_TRUE(placed);
  ASSERT_TRUE(find_writable(image, 0));
  EXPECT_EQ(find_writable(image, 0)->at, placed->at);
  EXPECT_FALSE(find_writable(image, 5 * kMiB)) << "not mapped";
  ASSERT_TRUE(image.clear(0, kMiB, ClearKind::zero));
  EXPECT_FALSE(find_writable(image, 0)) << "zeros";
}

TEST(VhdxEngineFind, AfterAFailureNothingIsOverwrittenAndReadingGoesOn) {
  SimEngine sim{EngineShape{}};
  ASSERT_TRUE(sim->write(0, filled(4096, 1)));
  ASSERT_TRUE(find_writable(sim.image(), 0));
  sim.disk().fail({.kind = Kind::sync});
  ASSERT_FALSE(sim->flush());
  EXPECT_FALSE(find_writable(sim.image(), 0));
  EXPECT_FALSE(sim->layer().settled());
  EXPECT_EQ(kind_of(find(sim.image(), 0)), Extent::Kind::data);
}

TEST(VhdxEngineFind, AnotherWriterFencesOverwritesToo) {
  SimEngine sim{EngineShape{}};
  ASSERT_TRUE(sim->write(0, filled(4096, 1)));
  for (const std::uint64_t at : {64 * kKiB, 128 * kKiB}) {
    const auto bytes = filled(1, 0xee);
    ASSERT_TRUE(sim->file().write_all({at + 16}, bytes));
  }
  const Status flushed = sim->flush();
  ASSERT_FALSE(flushed);
  EXPECT_EQ(flushed.error().code, Errc::fenced);
  EXPECT_FALSE(find_writable(sim.image(), 0));
}

TEST(VhdxEngineFind, AnOverwriteIsOneSyncOfTheNextFlush) {
  SimEngine sim{EngineShape{}};
  ASSERT_TRUE(sim->write(0, filled(4096, 1)));
  ASSERT_TRUE(sim->flush());
  sim.mark();
  ASSERT_TRUE(overwrite(sim.image(), 0, 2));
  ASSERT_TRUE(sim->flush());
  EXPECT_EQ(sim.count(Kind::sync), 1u);
  EXPECT_EQ(sim.changes(), 2u) << "the write and the sync";
  ASSERT_TRUE(sim->flush());
  EXPECT_EQ(sim.count(Kind::sync), 1u);
}

TEST(VhdxEngineFind, AnOverwriteBesideASyncIsInTheNextOne) {
  for (const bool with_metadata : {false, true}) {
    SCOPED_TRACE(with_metadata);
    SimEngine sim{EngineShape{}};
    Layer& layer = sim->layer();
    ASSERT_TRUE(sim->write(0, filled(4096, 1)));
    ASSERT_TRUE(sim->flush());
    ASSERT_TRUE(overwrite(sim.image(), 0, 2));
    if (with_metadata) {
      ASSERT_TRUE(sim->write(kMiB, filled(4096, 1)));
    }
    FlushTicket first{};
    // A log entry that needs no data to be durable before it is written first.
    std::optional<IoCommand> sync;
    for (int commands = 0; commands < 3 && !sync; ++commands) {
      const Step<Ok> step = layer.flush(first);
      const auto* command = std::get_if<IoCommand>(&step);
      ASSERT_NE(command, nullptr);
      if (command->kind == Kind::sync) {
        sync = *command;
      } else {
        layer.complete(command->token, sim->file().execute(*command));
      }
    }
    ASSERT_TRUE(sync);
    ASSERT_EQ(sim->file().execute(*sync), 0);
    ASSERT_TRUE(overwrite(sim.image(), 0, 3)) << "after the host has synced";
    FlushTicket second{};
    EXPECT_TRUE(std::holds_alternative<Wait>(layer.flush(second)));
    layer.complete(sync->token, 0);
    ASSERT_TRUE(sim->settle<Ok>([&] { return layer.flush(first); }));
    sim.mark();
    ASSERT_TRUE(sim->settle<Ok>([&] { return layer.flush(second); }));
    EXPECT_EQ(sim.count(Kind::sync), 1u);
  }
}

TEST(VhdxEngineFind, SettledSaysThatTablesAreDurable) {
  for (const bool has_parent : {false, true}) {
    SCOPED_TRACE(has_parent);
    const EngineShape shape{.has_parent = has_parent};
    OpenEngine image{make_image(shape), shape};
    EXPECT_TRUE(image.layer().settled());
    ASSERT_TRUE(image.write(0, filled(kMiB, 1)));
    EXPECT_FALSE(image.layer().settled());
    ASSERT_TRUE(image.flush());
    EXPECT_TRUE(image.layer().settled());
    ASSERT_TRUE(overwrite(image, 0, 2));
    EXPECT_TRUE(image.layer().settled()) << "an overwrite changes no table";
    ASSERT_TRUE(image.write(3 * kMiB, filled(512, 1)));
    EXPECT_FALSE(image.layer().settled());
    ASSERT_TRUE(image.flush());
    EXPECT_TRUE(image.layer().settled());
    ASSERT_TRUE(image.write(3 * kMiB + 512, filled(512, 1)));
    EXPECT_EQ(image.layer().settled(), !has_parent) << "a bit of a sector bitmap";
    ASSERT_TRUE(image.flush());
    EXPECT_TRUE(image.layer().settled());
    ASSERT_TRUE(image.clear(0, kMiB, ClearKind::trim));
    EXPECT_FALSE(image.layer().settled());
    ASSERT_TRUE(image.flush());
    EXPECT_TRUE(image.layer().settled());
  }
}

TEST(VhdxEngineFind, WhatChangesDuringACommitLeavesTheImageUnsettled) {
  SimEngine sim{EngineShape{}};
  Layer& layer = sim->layer();
  ASSERT_TRUE(sim->write(0, filled(4096, 1)));
  FlushTicket ticket{};
  const Step<Ok> step = layer.flush(ticket);
  const auto* sync = std::get_if<IoCommand>(&step);
  ASSERT_NE(sync, nullptr);
  ASSERT_TRUE(sim->write(kMiB, filled(4096, 1)));
  layer.complete(sync->token, sim->file().execute(*sync));
  ASSERT_TRUE(sim->settle<Ok>([&] { return layer.flush(ticket); }));
  EXPECT_FALSE(layer.settled());
  ASSERT_TRUE(sim->flush());
  EXPECT_TRUE(layer.settled());
}

TEST(VhdxEngineFind, FreedSpaceWaitsForTransfersThatMayKnowIt) {
  SimEngine sim{EngineShape{}};
  Readers readers;
  sim->layer().share(readers);
  Readers::Slot& slot = *readers.join();
  ASSERT_TRUE(sim->write(0, filled(kMiB, 1)));
  ASSERT_TRUE(sim->flush());
  const unsigned side = slot.begin();
  const auto known = find(sim.image(), 0);
  slot.end_look_up();
  ASSERT_EQ(kind_of(known), Extent::Kind::data);
  ASSERT_TRUE(sim->clear(0, kMiB, ClearKind::trim));
  sim.mark();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(sim->write(kMiB, filled(4096, i)));
    ASSERT_TRUE(sim->flush());
  }
  EXPECT_EQ(sim.count(Kind::punch), 0u);
  // Those that began later do not know it.
  slot.begin();
  slot.end_look_up();
  slot.end_transfer(side);
  ASSERT_TRUE(sim->write(kMiB, filled(4096, 9)));
  ASSERT_TRUE(sim->flush());
  EXPECT_EQ(sim.count(Kind::punch), 1u);
}

}  // namespace
}  // namespace openvhd::test
