#include <poll.h>

#include "qos/qos_fixture.hpp"

namespace openvhd {
namespace {

using test::kMiB;
using test::TestRequest;
using QosQueueTest = test::QosTest;

TEST_F(QosQueueTest, HoldsWhatIsBeyondTheLimitAndLosesNothing) {
  const QosPolicy limits = policy({.iops = 10, .iops_burst = 2});
  QosQueue queue = open_queue(limits);
  std::deque<TestRequest> requests;
  for (unsigned i = 0; i < 12; ++i) {
    requests.emplace_back(4096);
    ASSERT_TRUE(queue.read(requests.back()));
  }
  EXPECT_EQ(queue.under_way(), 12U);
  settle(queue);
  EXPECT_EQ(done(requests), 2U);
  EXPECT_EQ(limits.status().held, 10U);
  for (unsigned i = 1; i <= 10; ++i) {
    now_ns_ += kSecond / 10;
    settle(queue);
    EXPECT_GE(done(requests), 2 + i - 1);  // begins once anything is there, so one ahead
    EXPECT_LE(done(requests), 2 + i + 1);
  }
  now_ns_ += kSecond;
  settle(queue);
  for (const auto& one : requests) {
    EXPECT_EQ(one.completions, 1U);
    EXPECT_TRUE(*one.outcome);
  }
  EXPECT_EQ(queue.held(), 0U);
  EXPECT_EQ(limits.status().operations, 12U);
  EXPECT_EQ(limits.status().throttled, 10U);
}

TEST_F(QosQueueTest, LargeRequestsCountByTheirSizeAndAreNotStarved) {
  const QosPolicy limits = policy({.iops = 8, .iops_burst = 1});
  QosQueue queue = open_queue(limits);
  TestRequest large{64 * 1024};  // eight operations
  TestRequest small{4096};
  ASSERT_TRUE(queue.read(large));
  ASSERT_TRUE(queue.read(small));
  settle(queue);
  EXPECT_TRUE(large.outcome);
  EXPECT_FALSE(small.outcome);
  now_ns_ += kSecond * 7 / 8;
  settle(queue);
  EXPECT_FALSE(small.outcome);
  now_ns_ += kSecond / 4;
  settle(queue);
  EXPECT_TRUE(small.outcome);
}

TEST_F(QosQueueTest, AChangeOfLimitsReleasesWhatIsHeld) {
  QosPolicy limits = policy({.bytes_per_second = 1, .bytes_burst = 1});
  QosQueue queue = open_queue(limits);
  std::deque<TestRequest> requests;
  for (unsigned i = 0; i < 20; ++i) ASSERT_TRUE(queue.read(requests.emplace_back(8192)));
  settle(queue);
  EXPECT_EQ(done(requests), 1U);
  ASSERT_TRUE(limits.set_limits({}));
  settle(queue);
  EXPECT_EQ(done(requests), 20U);
  EXPECT_EQ(limits.set_limits({.io_size = 0}).error().code, Errc::invalid);
}

TEST_F(QosQueueTest, IsBusyAtItsDepthAndDoneTellsWhatQueueRefuses) {
  const QosPolicy limits = policy({.iops = 1, .iops_burst = 1});
  std::deque<TestRequest> requests;
  {
    QosQueue queue = open_queue(limits, 3);
    for (unsigned i = 0; i < 3; ++i) {
      requests.emplace_back(4096).at = {i == 2 ? 64 * kMiB : 0};
      ASSERT_TRUE(queue.read(requests.back()));
    }
    TestRequest more{4096};
    EXPECT_EQ(queue.read(more).error().code, Errc::busy);
    settle(queue);
    EXPECT_EQ(done(requests), 1U);
  }  // the rest begins now
  EXPECT_EQ(done(requests), 3U);
  EXPECT_TRUE(*requests[1].outcome);
  EXPECT_EQ(requests[2].outcome->error().code, Errc::out_of_range);
}

TEST_F(QosQueueTest, TheDescriptorTellsWhenAHeldRequestMayBegin) {
  const auto limits = QosPolicy::create({.iops = 50, .iops_burst = 1});  // the host's clock
  ASSERT_TRUE(limits);
  QosQueue queue = open_queue(*limits);
  ASSERT_GE(queue.descriptor(), 0);
  std::deque<TestRequest> requests;
  for (unsigned i = 0; i < 6; ++i) ASSERT_TRUE(queue.read(requests.emplace_back(4096)));
  queue.poll();
  while (queue.under_way() != 0) {
    pollfd on{.fd = queue.descriptor(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&on, 1, 10'000), 1);
    queue.poll();
  }
  EXPECT_EQ(done(requests), 6U);
  for (unsigned i = 0; i < 4; ++i) ASSERT_TRUE(queue.read(requests.emplace_back(4096)));
  while (queue.wait() != 0) {
  }
  EXPECT_EQ(done(requests), 10U);
}

TEST_F(QosQueueTest, QueuesOfADedicatedPolicyDoNotShare) {
  const auto host = QosHost::create({}, clock());
  ASSERT_TRUE(host);
  const auto own = QosPolicy::create(*host, {.iops = 1, .iops_burst = 3}, QosSharing::dedicated);
  ASSERT_TRUE(own);
  std::deque<TestRequest> requests;
  QosQueue one = open_queue(*own);
  QosQueue two = open_queue(*own);
  for (unsigned i = 0; i < 5; ++i) {
    ASSERT_TRUE(one.read(requests.emplace_back(4096)));
    ASSERT_TRUE(two.read(requests.emplace_back(4096)));
  }
  settle(one);
  settle(two);
  EXPECT_EQ(done(requests), 6U);
  EXPECT_EQ(own->status().held, 4U);
  EXPECT_EQ(host->status().operations, 6U);
}

TEST_F(QosQueueTest, TheHostLimitsWhatIsUnderWayAtOnce) {
  auto host = QosHost::create({.in_flight = 2}, clock());
  ASSERT_TRUE(host);
  const auto shared = QosPolicy::create(*host, {}, QosSharing::aggregated);
  ASSERT_TRUE(shared);
  QosQueue one = open_queue(*shared);
  QosQueue two = open_queue(*shared);
  std::deque<TestRequest> requests;
  for (unsigned i = 0; i < 10; ++i) {
    ASSERT_TRUE(one.read(requests.emplace_back(4096)));
    ASSERT_TRUE(two.read(requests.emplace_back(4096)));
  }
  EXPECT_EQ(host->status().held, 18U);
  for (unsigned i = 0; i < 10'000 && done(requests) < 20; ++i) {
    one.poll();
    two.poll();
    EXPECT_LE(one.under_way() - one.held() + two.under_way() - two.held(), 2U);
  }
  EXPECT_EQ(done(requests), 20U);
  // Another limit, and none, while requests are under way.
  for (const std::uint32_t in_flight : {5U, 0U, 1U}) {
    for (unsigned i = 0; i < 10; ++i) ASSERT_TRUE(one.read(requests.emplace_back(4096)));
    host->set_limits({.in_flight = in_flight});
    for (unsigned i = 0; i < 10; ++i) ASSERT_TRUE(two.read(requests.emplace_back(4096)));
    while (one.under_way() + two.under_way() != 0) {
      one.poll();
      two.poll();
    }
  }
  EXPECT_EQ(done(requests), 80U);
  EXPECT_EQ(host->limits().in_flight, 1U);
}

TEST_F(QosQueueTest, AQueueThatGoesAwayLeavesItsPlaces) {
  const auto host = QosHost::create({.in_flight = 2}, clock());
  ASSERT_TRUE(host);
  const auto policy = QosPolicy::create(*host, {}, QosSharing::dedicated);
  ASSERT_TRUE(policy);
  std::deque<TestRequest> requests;
  QosQueue stays = open_queue(*policy);
  for (unsigned round = 0; round < 3; ++round) {
    QosQueue goes = open_queue(*policy);
    for (unsigned i = 0; i < 5; ++i) {
      ASSERT_TRUE(goes.read(requests.emplace_back(4096)));
      ASSERT_TRUE(stays.read(requests.emplace_back(4096)));
    }
    requests.emplace_back(4096).at = {64 * kMiB};  // refused once it begins
    ASSERT_TRUE(stays.read(requests.back()));
  }
  while (stays.wait() != 0) {
  }
  EXPECT_EQ(done(requests), 33U);
  EXPECT_EQ(policy->status().operations, 33U);
  EXPECT_EQ(policy->status().held, 0U);
}

TEST_F(QosQueueTest, AnotherQueueWakesTheOneWhoseTurnItIs) {
  const auto host = QosHost::create({.in_flight = 1});
  ASSERT_TRUE(host);
  const auto policy = QosPolicy::create(*host, {}, QosSharing::dedicated);
  ASSERT_TRUE(policy);
  QosQueue one = open_queue(*policy);
  QosQueue two = open_queue(*policy);
  ASSERT_GE(two.descriptor(), 0);
  TestRequest first{4096};
  TestRequest second{4096};
  ASSERT_TRUE(one.read(first));
  ASSERT_TRUE(two.read(second));
  two.poll();
  EXPECT_EQ(two.held(), 1U);
  while (one.wait() == 0) {
  }
  pollfd on{.fd = two.descriptor(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(::poll(&on, 1, 10'000), 1);
  while (two.wait() == 0) {
  }
  EXPECT_TRUE(*second.outcome);
}

TEST_F(QosQueueTest, ABurstAndAnotherOnceFromTheStart) {
  const QosPolicy limits = policy({.iops = 10, .iops_burst = 3, .iops_one_time = 4});
  std::deque<TestRequest> requests;
  QosQueue queue = open_queue(limits);
  const auto begun_of_20 = [&] {
    const unsigned before = done(requests);
    for (unsigned i = queue.held(); i < 20; ++i) {
      const Status status = queue.read(requests.emplace_back(4096));
      EXPECT_TRUE(status);
    }
    settle(queue);
    return done(requests) - before;
  };
  EXPECT_EQ(begun_of_20(), 7U);
  now_ns_ += 100 * kSecond;
  EXPECT_EQ(begun_of_20(), 3U);
}

TEST_F(QosQueueTest, WhatIsWrongWithLimitsIsSaid) {
  EXPECT_EQ(QosPolicy::create({.iops = 5, .min_iops = 6}).error().code, Errc::invalid);
  EXPECT_EQ(QosPolicy::create({.weight = 0}).error().code, Errc::invalid);
  EXPECT_EQ(QosPolicy::create({.weight = 10'001}).error().code, Errc::invalid);
  const QosPolicy limits = policy({});
  EXPECT_EQ(QosFlow::create(limits, 0).error().code, Errc::invalid);
}

}  // namespace
}  // namespace openvhd
