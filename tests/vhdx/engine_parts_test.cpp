// The parts of the engine by themselves: bits of bitmaps, the map of owned space.
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <random>
#include <vector>

#include "vhdx/bitmaps.hpp"
#include "vhdx/space.hpp"
#include "vhdx/space_map.hpp"

namespace openvhd::vhdx {
namespace {

TEST(Bitmaps, LowBitOfAByteComesFirst) {
  std::vector<TableWord> words(2);
  EXPECT_TRUE(put_bits(words, 9, 1, true));
  const std::uint64_t raw = words[0].load();
  const auto* bytes = reinterpret_cast<const unsigned char*>(&raw);
  EXPECT_EQ(bytes[0], 0);
  EXPECT_EQ(bytes[1], 2);
}

TEST(Bitmaps, RunsAndChangesAgreeWithAVectorOfBool) {
  constexpr std::size_t kBits = 64 * 9;
  std::mt19937_64 random{7};
  std::vector<TableWord> words(kBits / 64);
  std::vector<bool> model(kBits);
  for (int round = 0; round < 20000; ++round) {
    const std::size_t first = random() % kBits;
    const std::size_t count = 1 + random() % std::min<std::size_t>(kBits - first, 150);
    if (random() % 2 == 0) {
      const bool value = random() % 2 == 0;
      bool changed = false;
      for (std::size_t i = first; i < first + count; ++i) {
        changed = changed || model[i] != value;
        model[i] = value;
      }
      ASSERT_EQ(put_bits(words, first, count, value), changed);
    } else {
      std::size_t length = 1;
      while (length < count && model[first + length] == model[first]) ++length;
      const BitRun run = bit_run(words, first, count);
      ASSERT_EQ(run.set, model[first]);
      ASSERT_EQ(run.length, length);
    }
  }
}

TEST(SpaceMap, AgreesWithAVectorOfBool) {
  constexpr std::size_t kBits = 40000;
  std::mt19937_64 random{11};
  SpaceMap map;
  std::vector<bool> model(kBits);
  const auto find = [&](std::size_t from, bool set) {
    while (from < kBits && model[from] != set) ++from;
    return from;
  };
  for (int round = 0; round < 5000; ++round) {
    const std::size_t first = random() % kBits;
    const std::size_t count = 1 + random() % std::min<std::size_t>(kBits - first, 300);
    switch (random() % 5) {
      case 0: {
        const bool free = find(first, true) >= first + count;
        ASSERT_EQ(map.claim(first, count), free);
        if (free) std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(first), count, true);
        break;
      }
      case 1:
        map.release(first, count);
        std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(first), count, false);
        break;
      case 2:
        ASSERT_EQ(map.next_set(first, kBits), find(first, true));
        ASSERT_EQ(map.next_clear(first, kBits), find(first, false));
        break;
      case 3: {
        std::size_t start = find(first, false);
        std::size_t stop = find(start, true);
        while (start < kBits && stop - start < count) {
          start = find(stop, false);
          stop = find(start, true);
        }
        const auto found = map.find_clear(first, kBits, count);
        ASSERT_EQ(found.has_value(), start < kBits);
        if (found) {
          ASSERT_EQ(*found, start);
        }
        break;
      }
      default: {
        std::size_t end = kBits;
        while (end > 0 && !model[end - 1]) --end;
        ASSERT_EQ(map.end(), end);
      }
    }
  }
}

TEST(SpaceMap, RefusesWhatLiesBeyondItsBound) {
  SpaceMap map;
  EXPECT_FALSE(map.claim(kMaxSpaceBytes / kMiB, 1));
  EXPECT_FALSE(map.claim(kMaxSpaceBytes / kMiB - 1, 2));
  EXPECT_TRUE(map.claim(kMaxSpaceBytes / kMiB - 1, 1));
  EXPECT_EQ(map.end(), kMaxSpaceBytes / kMiB);
}

TEST(Space, AFailureToGrowIsForWhoNeedsAsMuch) {
  const std::array<OwnedRange, 1> fixed{{{"header section", {0}, kMiB}}};
  Space space{kMiB, fixed};
  const auto ask = [&](std::uint64_t mebibytes) { return space.take(mebibytes * kMiB, 0); };
  ASSERT_TRUE(std::holds_alternative<IoCommand>(ask(32)));
  space.complete(TokenKind::space, -ENOSPC);
  // Another operation, that needs less, asks first.
  ASSERT_TRUE(std::holds_alternative<IoCommand>(ask(1)));
  space.complete(TokenKind::space, 0);
  ASSERT_TRUE(std::holds_alternative<FileOffset>(ask(1)));
  const auto large = ask(32);
  ASSERT_TRUE(std::holds_alternative<Error>(large));
  EXPECT_EQ(std::get<Error>(large).code, Errc::no_space);
  EXPECT_TRUE(std::holds_alternative<IoCommand>(ask(32))) << "told once, then tried again";
}

TEST(Space, WhatIsGivenBackIsTakenAgain) {
  const std::array<OwnedRange, 1> fixed{{{"header section", {0}, kMiB}}};
  Space space{kMiB, fixed};
  ASSERT_TRUE(std::holds_alternative<IoCommand>(space.take(4 * kMiB, 0)));
  space.complete(TokenKind::space, 0);
  const auto small = space.take(kMiB, 0);
  ASSERT_TRUE(std::holds_alternative<FileOffset>(small));
  space.give_back(std::get<FileOffset>(small), kMiB);
  const auto all = space.take(4 * kMiB, 0);
  ASSERT_TRUE(std::holds_alternative<FileOffset>(all)) << "in one piece again";
  EXPECT_EQ(std::get<FileOffset>(all), std::get<FileOffset>(small));
}

}  // namespace
}  // namespace openvhd::vhdx
