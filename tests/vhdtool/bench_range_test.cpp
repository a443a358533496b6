#include "bench_range.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <set>
#include <vector>

namespace vhdtool {
namespace {

using Numbers = std::initializer_list<std::uint64_t>;

std::vector<std::uint64_t> places(const BenchRange& range) {
  std::vector<std::uint64_t> out;
  for (std::uint64_t i = 0; i < range.units(); ++i) out.push_back(range.at(i));
  return out;
}

TEST(BenchRange, TakesOnlyUnitsThatLieWholeInside) {
  BenchRange range{100};
  range.add(50, 400);   // 100 to 400
  range.add(510, 80);   // none
  range.add(700, 100);  // one
  range.add(950, 150);  // one, from 1000
  EXPECT_EQ(places(range), (std::vector<std::uint64_t>{100, 200, 300, 700, 1000}));
}

TEST(BenchRange, StretchesThatTouchAreOne) {
  BenchRange range{100};
  range.add(0, 60);
  range.add(60, 60);
  range.add(120, 80);
  range.add(250, 90);
  range.add(340, 60);
  EXPECT_EQ(places(range), (std::vector<std::uint64_t>{0, 100, 300}));
}

TEST(BenchRange, NothingIsNothing) {
  BenchRange range{512};
  EXPECT_EQ(range.units(), 0);
  range.add(0, 0);
  range.add(0, 511);
  EXPECT_EQ(range.units(), 0);
}

std::vector<std::uint64_t> walked(const BenchRange& range, BenchWalk::Order order,
                                  std::uint64_t workers, std::uint64_t seed) {
  std::vector<std::uint64_t> out;
  for (std::uint64_t worker = 0; worker < workers; ++worker) {
    BenchWalk walk{range, order, {.worker = worker, .workers = workers}, seed};
    for (auto at = walk.next(); at != BenchWalk::kEnd; at = walk.next()) out.push_back(at);
  }
  return out;
}

TEST(BenchWalk, ShuffledAndOnceGoToEachUnitExactlyOnce) {
  for (const auto units : Numbers{2, 3, 4, 7, 64, 1000}) {
    BenchRange range{10};
    range.add(0, units * 5);
    range.add(units * 5 + 100, units * 5);
    ASSERT_GT(range.units(), 0);
    for (const auto order : {BenchWalk::Order::shuffled, BenchWalk::Order::once}) {
      for (const auto workers : Numbers{1, 2, 3, 64}) {
        auto found = walked(range, order, workers, units);
        std::sort(found.begin(), found.end());
        EXPECT_EQ(found, places(range)) << units << " units, " << workers << " workers";
      }
    }
  }
}

TEST(BenchWalk, ShuffledJumpsAboutAndDiffersBySeed) {
  BenchRange range{1};
  range.add(0, 1000);
  const auto found = walked(range, BenchWalk::Order::shuffled, 1, 1);
  int neighbours = 0;
  for (std::size_t i = 1; i < found.size(); ++i) neighbours += found[i] == found[i - 1] + 1 ? 1 : 0;
  EXPECT_LT(neighbours, 10);
  EXPECT_NE(found, walked(range, BenchWalk::Order::shuffled, 1, 2));
  EXPECT_EQ(found, walked(range, BenchWalk::Order::shuffled, 1, 1));
}

TEST(BenchWalk, SequentialBeginsAgain) {
  BenchRange range{10};
  range.add(0, 30);
  BenchWalk walk{range, BenchWalk::Order::sequential, {}, 5};
  for (const auto at : Numbers{0, 10, 20, 0, 10, 20, 0}) EXPECT_EQ(walk.next(), at);
}

TEST(BenchWalk, RandomReachesEveryUnitAndNothingElse) {
  BenchRange range{10};
  range.add(0, 100);
  range.add(205, 100);
  BenchWalk walk{range, BenchWalk::Order::random, {}, 0};
  std::set<std::uint64_t> found;
  for (int i = 0; i < 1000; ++i) found.insert(walk.next());
  const auto all = places(range);
  EXPECT_EQ(found, std::set<std::uint64_t>(all.begin(), all.end()));
}

TEST(BenchWalk, WorkersDoNotGoTheSameWay) {
  BenchRange range{1};
  range.add(0, 1'000'000);
  BenchWalk a{range, BenchWalk::Order::random, {.worker = 0, .workers = 2}, 0};
  BenchWalk b{range, BenchWalk::Order::random, {.worker = 1, .workers = 2}, 0};
  int same = 0;
  for (int i = 0; i < 100; ++i) same += a.next() == b.next() ? 1 : 0;
  EXPECT_LT(same, 3);
}

}  // namespace
}  // namespace vhdtool
