#include "io/readers.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "io/active_operations.hpp"

namespace openvhd {
namespace {

TEST(Readers, NobodyIsWaitedForWhereNobodyLooks) {
  Readers readers;
  EXPECT_TRUE(readers.passed(readers.retire()));
  Readers::Slot* const slot = readers.join();
  ASSERT_NE(slot, nullptr);
  EXPECT_TRUE(readers.passed(readers.retire()));
  EXPECT_TRUE(readers.advance());
}

TEST(Readers, ALookUpHoldsWhatWasRetiredAfterItBegan) {
  Readers readers;
  Readers::Slot& slot = *readers.join();
  const std::uint64_t before = readers.retire();
  const unsigned side = slot.begin();
  const std::uint64_t during = readers.retire();
  EXPECT_TRUE(readers.passed(before));
  EXPECT_FALSE(readers.passed(during));
  slot.end_look_up();
  EXPECT_TRUE(readers.passed(during));
  slot.end_transfer(side);
}

TEST(Readers, ATransferHoldsTheCountUntilItEnds) {
  Readers readers;
  Readers::Slot& slot = *readers.join();
  const unsigned side = slot.begin();
  slot.end_look_up();
  EXPECT_TRUE(readers.advance());  // to the side that is empty
  EXPECT_FALSE(readers.advance());
  const unsigned later = slot.begin();
  slot.end_look_up();
  EXPECT_NE(later, side);
  EXPECT_FALSE(readers.advance());
  slot.end_transfer(side);
  EXPECT_TRUE(readers.advance());
  EXPECT_FALSE(readers.advance());
  slot.end_transfer(later);
  EXPECT_TRUE(readers.advance());
}

TEST(Readers, SlotsComeBackAndAreBounded) {
  Readers readers;
  std::vector<Readers::Slot*> slots;
  for (std::size_t i = 0; i < Readers::kMost; ++i) slots.push_back(readers.join());
  EXPECT_NE(slots.back(), nullptr);
  EXPECT_EQ(readers.join(), nullptr);
  readers.leave(*slots[7]);
  EXPECT_EQ(readers.join(), slots[7]);
}

TEST(ActiveOperations, FreedSpaceWaitsForTransfersOfReaders) {
  Readers readers;
  Readers::Slot& slot = *readers.join();
  ActiveOperations active;
  active.watch(readers);
  const unsigned side = slot.begin();
  slot.end_look_up();
  const std::uint64_t freed = active.latest();
  EXPECT_LE(active.oldest(), freed);
  const unsigned later = slot.begin();  // does not know what was freed
  slot.end_look_up();
  EXPECT_LE(active.oldest(), freed);
  slot.end_transfer(side);
  EXPECT_GT(active.oldest(), freed);
  slot.end_transfer(later);
}

TEST(ActiveOperations, FreedSpaceWaitsForOperationsThatWereOnTheirWay) {
  ActiveOperations active;
  OperationTicket first;
  OperationTicket second;
  active.enter(first);
  const std::uint64_t freed = active.latest();
  active.enter(second);
  EXPECT_LE(active.oldest(), freed);
  active.leave(first);
  EXPECT_GT(active.oldest(), freed);
  active.leave(second);
  EXPECT_EQ(active.oldest(), ActiveOperations::kNone);
}

// A place that the owner takes away and fills with something else must never be seen by a reader
// that found it in time: the owner writes to retired cells at once when it is told that it may.
TEST(Readers, WhatWasRetiredIsSeenByNobodyOnceItHasPassed) {
  constexpr int kRounds = 20'000;
  struct Cell {
    std::atomic<std::uint64_t> generation{0};
  };
  Readers readers;
  std::array<Cell, 4> cells;
  std::atomic<Cell*> current{&cells[0]};
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> torn{0};
  std::vector<std::jthread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      Readers::Slot& slot = *readers.join();
      while (!stop.load(std::memory_order_relaxed)) {
        const unsigned side = slot.begin();
        Cell* const cell = current.load(std::memory_order_acquire);
        const std::uint64_t first = cell->generation.load(std::memory_order_relaxed);
        for (int spin = 0; spin < 8; ++spin) {
          if (cell->generation.load(std::memory_order_relaxed) != first) torn.fetch_add(1);
        }
        slot.end_look_up();
        slot.end_transfer(side);
      }
      readers.leave(slot);
    });
  }
  std::size_t in_use = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::size_t next = (in_use + 1) % cells.size();
    current.store(&cells[next], std::memory_order_release);
    const std::uint64_t retired = readers.retire();
    while (!readers.passed(retired)) std::this_thread::yield();
    cells[in_use].generation.fetch_add(1, std::memory_order_relaxed);
    in_use = next;
  }
  stop = true;
  threads.clear();
  EXPECT_EQ(torn.load(), 0u);
}

}  // namespace
}  // namespace openvhd
