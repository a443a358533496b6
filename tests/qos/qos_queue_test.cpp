#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <deque>
#include <openvhd/qos.hpp>
#include <thread>

#include "image/disk_fixture.hpp"
#include "image/queue/requests.hpp"

namespace openvhd {
namespace {

using test::kMiB;
using test::TestRequest;

constexpr std::uint64_t kSecond = 1'000'000'000;

class QosQueueTest : public test::DiskTest {
 protected:
  QosQueueTest() : disk_{opened(made("a.vhdx", {.virtual_size = 64 * kMiB}))} {}

  QosQueue open_queue(const QosPolicy& policy, std::uint32_t depth = 32) {
    auto queue = Queue::open(disk_, {.depth = depth});
    EXPECT_TRUE(queue);
    auto limited = QosQueue::open(*std::move(queue), depth, policy);
    EXPECT_TRUE(limited);
    return *std::move(limited);
  }
  QosPolicy policy(const QosLimits& limits) {
    const QosClock clock{
        [](void* now) noexcept { return static_cast<std::atomic<std::uint64_t>*>(now)->load(); },
        &now_ns_};
    auto policy = QosPolicy::create(limits, clock);
    EXPECT_TRUE(policy);
    return *std::move(policy);
  }
  /// Polls until nothing is under way but what is held.
  static void settle(QosQueue& queue) {
    do queue.poll();
    while (queue.under_way() > queue.held());
  }
  static unsigned done(const std::deque<TestRequest>& requests) {
    unsigned sum = 0;
    for (const auto& one : requests) sum += one.completions;
    return sum;
  }

  std::atomic<std::uint64_t> now_ns_{kSecond};
  Disk disk_;
};

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

TEST_F(QosQueueTest, ManyThreadsKeepToOnePolicyWhileItChanges) {
  auto shared = QosPolicy::create({.iops = 20'000, .iops_burst = 6400});
  ASSERT_TRUE(shared);
  constexpr unsigned kThreads = 4;
  constexpr unsigned kRounds = 60;
  constexpr unsigned kDepth = 16;
  std::atomic<unsigned> completed{0};
  std::atomic<bool> over{false};
  std::vector<QosQueue> queues;
  for (unsigned i = 0; i < kThreads; ++i) queues.push_back(open_queue(*shared, kDepth));
  std::vector<std::thread> threads;
  for (QosQueue& queue : queues)
    threads.emplace_back([&queue, &completed] {
      for (unsigned round = 0; round < kRounds; ++round) {
        std::deque<TestRequest> requests;
        for (unsigned i = 0; i < kDepth; ++i)
          if (!queue.read(requests.emplace_back(4096))) return;
        while (queue.wait() != 0) {
        }
        completed += done(requests);
      }
    });
  std::thread changer{[&] {
    for (std::uint64_t i = 0; !over; ++i) {
      const Status status = shared->set_limits({.iops = i % 3 * 20'000, .iops_burst = 6400});
      EXPECT_TRUE(status);
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
  }};
  for (auto& thread : threads) thread.join();
  over = true;
  changer.join();
  queues.clear();
  EXPECT_EQ(completed, kThreads * kRounds * kDepth);
  EXPECT_EQ(shared->status().operations, kThreads * kRounds * kDepth);
  EXPECT_EQ(shared->status().held, 0U);
}

}  // namespace
}  // namespace openvhd
