#include "qos/token_bucket.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace openvhd {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
__extension__ using Wide = __int128;

struct Taken {
  std::uint64_t at_ns;
  std::uint64_t tokens;
};

/// The bound over every window that begins and ends with an operation: no other one is tighter.
void expect_bounded(const TokenBucket::Limit& limit, const std::vector<Taken>& taken) {
  for (std::size_t first = 0; first < taken.size(); ++first) {
    Wide sum = 0;
    std::uint64_t largest = 0;
    for (std::size_t last = first; last < taken.size(); ++last) {
      sum += taken[last].tokens;
      largest = std::max(largest, taken[last].tokens);
      const Wide most = (Wide{limit.burst} + limit.one_time + largest) * kSecond +
                        Wide{limit.rate} * (taken[last].at_ns - taken[first].at_ns);
      ASSERT_LE(sum * kSecond, most) << "rate " << limit.rate << " burst " << limit.burst;
    }
  }
}

TEST(TokenBucket, NeverExceedsItsBoundInAnySmallCase) {
  for (std::uint64_t rate = 1; rate <= 8; ++rate)
    for (std::uint64_t burst = 1; burst <= 6; ++burst)
      for (std::uint64_t size = 1; size <= 8; ++size)
        for (std::uint64_t pattern = 0; pattern < 256; ++pattern) {
          const TokenBucket::Limit limit{.rate = rate, .burst = burst, .one_time = pattern % 3};
          TokenBucket bucket{limit, 0};
          std::vector<Taken> taken;
          for (unsigned step = 0; step < 24; ++step) {
            const std::uint64_t now = step * (kSecond / 4);
            if ((pattern >> (step % 8) & 1) == 0) continue;
            for (unsigned tries = 0; tries < 4 && bucket.ready(now); ++tries) {
              bucket.take(size);
              taken.push_back({now, size});
            }
          }
          ASSERT_NO_FATAL_FAILURE(expect_bounded(limit, taken));
        }
}

TEST(TokenBucket, NeverExceedsItsBoundInAnyCaseOfEightBits) {
  // All rates, bursts and sizes: as fast as it goes, then a pause, then as fast as it goes.
  for (std::uint64_t rate = 1; rate <= 255; ++rate)
    for (std::uint64_t burst = 1; burst <= 255; ++burst)
      for (std::uint64_t size = 1; size <= 255; ++size) {
        TokenBucket bucket{{.rate = rate, .burst = burst}, 0};
        const Wide most = Wide{burst + size} * kSecond;
        Wide sum = 0;
        Wide lowest = 0;  // of what was taken less what time has brought, before any operation
        for (const std::uint64_t now : {0 * kSecond, kSecond / 7, 9 * kSecond, 10 * kSecond}) {
          lowest = std::min(lowest, sum - Wide{rate} * now);
          while (bucket.ready(now)) {
            bucket.take(size);
            sum += Wide{size} * kSecond;
          }
          ASSERT_LE(sum - Wide{rate} * now - lowest, most) << rate << " " << burst << " " << size;
        }
        ASSERT_LE(bucket.ready_at(10 * kSecond), 11 * kSecond + size * kSecond / rate);
      }
}

TEST(TokenBucket, NeverExceedsItsBoundAtAMillionRandomPoints) {
  std::mt19937_64 random{1};
  const auto up_to_bits = [&](unsigned bits) {
    return (random() >> (64 - 1 - random() % bits)) + 1;
  };
  std::uint64_t points = 0;
  while (points < 1'000'000) {
    const TokenBucket::Limit limit{
        .rate = up_to_bits(40), .burst = up_to_bits(40), .one_time = random() % 2 * up_to_bits(20)};
    std::uint64_t now = random() >> 3;
    TokenBucket bucket{limit, now};
    std::vector<Taken> taken;
    for (unsigned step = 0; step < 50; ++step, ++points) {
      now += up_to_bits(36);
      while (taken.size() < 60 && bucket.ready(now)) {
        const std::uint64_t size = up_to_bits(42);
        bucket.take(size);
        taken.push_back({now, size});
      }
    }
    ASSERT_NO_FATAL_FAILURE(expect_bounded(limit, taken));
  }
}

TEST(TokenBucket, ReadyAtIsTheFirstMomentThatIsReady) {
  std::mt19937_64 random{2};
  for (unsigned i = 0; i < 20'000; ++i) {
    TokenBucket bucket{{.rate = random() % 100'000 + 1, .burst = random() % 50 + 1}, 7};
    bucket.take(random() % 5000 + 51);
    const std::uint64_t at = bucket.ready_at(7);
    ASSERT_FALSE(bucket.ready(at - 1));
    ASSERT_TRUE(bucket.ready(at));
  }
}

TEST(TokenBucket, RunsAtItsRateWithinOnePercent) {
  for (const std::uint64_t rate : {100ULL, 999ULL, 50'000ULL}) {
    for (const std::uint64_t size : {1ULL, 3ULL, 128ULL}) {
      TokenBucket bucket{{.rate = rate, .burst = 1}, 0};
      std::uint64_t served = 0;
      std::uint64_t now = 0;
      const std::uint64_t end = 1000 * kSecond;
      while (now < end) {
        if (!bucket.ready(now)) {
          now = bucket.ready_at(now);
          continue;
        }
        bucket.take(size);
        served += size;
      }
      EXPECT_NEAR(double(served), double(rate) * 1000, double(rate) * 10) << rate << " " << size;
    }
  }
}

TEST(TokenBucket, AClockThatJumpsOrGoesBackIsHarmless) {
  constexpr std::uint64_t kYear2262 = 9'223'372'036'854'775'807ULL;
  TokenBucket bucket{{.rate = TokenBucket::kNever, .burst = TokenBucket::kNever}, 0};
  EXPECT_TRUE(bucket.ready(kYear2262));
  bucket.take(TokenBucket::kNever);
  EXPECT_FALSE(bucket.ready(0));
  EXPECT_TRUE(bucket.ready(TokenBucket::kNever));

  TokenBucket small{{.rate = 10, .burst = 5}, 100 * kSecond};
  small.take(5);
  EXPECT_FALSE(small.ready(0));
  EXPECT_FALSE(small.ready(100 * kSecond));
  EXPECT_TRUE(small.ready(kYear2262));  // a jump gives the burst, and no more
  small.take(5);
  EXPECT_FALSE(small.ready(kYear2262));
}

TEST(TokenBucket, WhatIsOwedSurvivesAChangeOfLimits) {
  TokenBucket bucket{{.rate = 10, .burst = 1}, 0};
  bucket.take(101);  // 100 owed: ten seconds
  bucket.change({.rate = 100, .burst = 1}, 5 * kSecond);
  EXPECT_FALSE(bucket.ready(5 * kSecond + kSecond / 2));
  EXPECT_TRUE(bucket.ready(5 * kSecond + kSecond / 2 + kSecond / 100));
}

TEST(TokenBucket, WhatCachesHoldCountsAsCollected) {
  TokenBucket bucket{{.rate = 10, .burst = 100}, 0};
  ASSERT_TRUE(bucket.ready(0));
  ASSERT_TRUE(bucket.lend(40));
  EXPECT_FALSE(bucket.lend(20));  // more than half would be out
  ASSERT_TRUE(bucket.ready(1000 * kSecond));
  bucket.take(60);
  EXPECT_FALSE(bucket.ready(1000 * kSecond));  // 40 are in the cache, 60 were here
  bucket.give_back(40, 40);
  EXPECT_TRUE(bucket.ready(1000 * kSecond));
}

TEST(TokenBucket, WhatACacheUsedLateBringsNoMoreThanTheBurst) {
  TokenBucket bucket{{.rate = 10, .burst = 100}, 0};
  ASSERT_TRUE(bucket.lend(40));
  const std::uint64_t late = 1000 * kSecond;  // the cache is used just before
  bucket.refill(late);
  bucket.give_back(40, 0);
  bucket.take(60);
  EXPECT_FALSE(bucket.ready(late));
}

}  // namespace
}  // namespace openvhd
