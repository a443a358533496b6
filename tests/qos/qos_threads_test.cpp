#include <array>
#include <thread>
#include <vector>

#include "qos/qos_fixture.hpp"

namespace openvhd {
namespace {

using test::TestRequest;
using QosThreadsTest = test::QosTest;

TEST_F(QosThreadsTest, KeepToOnePolicyWhileItChanges) {
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

TEST_F(QosThreadsTest, ShareAHostThatIsAlwaysFullAndLoseNothing) {
  auto host = QosHost::create({.in_flight = 2});
  ASSERT_TRUE(host);
  auto own = QosPolicy::create(*host, {.min_iops = 100}, QosSharing::dedicated);
  auto shared = QosPolicy::create(*host, {.weight = 300}, QosSharing::aggregated);
  ASSERT_TRUE(own && shared);
  constexpr unsigned kThreads = 4;
  constexpr unsigned kRequests = 2000;
  struct Again : TestRequest {  // submits itself from `done`
    Again(QosQueue& where, unsigned& more) : TestRequest{4096}, queue{&where}, left{&more} {
      done = [](IoRequest& request, Status status) noexcept {
        auto& self = static_cast<Again&>(request);
        EXPECT_TRUE(status);
        ++self.completions;
        if (*self.left == 0) return;
        --*self.left;
        EXPECT_TRUE(self.queue->read(self));
      };
    }
    QosQueue* queue;
    unsigned* left;
  };
  std::vector<QosQueue> queues;
  for (unsigned i = 0; i < kThreads; ++i)
    queues.push_back(open_queue(i % 2 == 0 ? *own : *shared, 8));
  std::atomic<unsigned> completed{0};
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (QosQueue& queue : queues)
    threads.emplace_back([&queue, &completed] {
      unsigned left = kRequests - 8;
      std::deque<Again> requests;
      for (unsigned i = 0; i < 8; ++i) {
        const Status status = queue.read(requests.emplace_back(queue, left));
        EXPECT_TRUE(status);
      }
      while (queue.wait() != 0) {
      }
      for (const auto& one : requests) completed += one.completions;
    });
  std::thread changer{[&] {
    for (std::uint32_t i = 0; !over; ++i) {
      host->set_limits({.iops = i % 4 == 0 ? 50'000U : 0U, .in_flight = i % 5});
      const Status status = own->set_limits({.iops = i % 3 * 40'000, .min_iops = 200});
      EXPECT_TRUE(status);
      EXPECT_LE(host->status().held, kThreads * 8);
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
  }};
  for (auto& thread : threads) thread.join();
  over = true;
  changer.join();
  EXPECT_EQ(completed, kThreads * kRequests);
  EXPECT_EQ(host->status().operations, kThreads * kRequests);
  EXPECT_EQ(host->status().held, 0U);
  queues.clear();
  EXPECT_EQ(host->status().operations, kThreads * kRequests);
}

TEST_F(QosThreadsTest, ComeAndGoWhileOthersAreWaiting) {
  const auto host = QosHost::create({.iops = 20'000, .in_flight = 2});
  ASSERT_TRUE(host);
  const auto policy = QosPolicy::create(*host, {}, QosSharing::dedicated);
  ASSERT_TRUE(policy);
  constexpr unsigned kThreads = 3;
  std::atomic<unsigned> completed{0};
  std::array<std::vector<QosQueue>, kThreads> queues;
  constexpr unsigned kQueues = 12;
  for (auto& some : queues)
    for (unsigned i = 0; i < kQueues; ++i) some.push_back(open_queue(*policy, 4));
  std::vector<std::thread> threads;
  for (auto& some : queues)
    threads.emplace_back([&some, &completed] {
      while (!some.empty()) {
        std::deque<TestRequest> requests;
        for (unsigned i = 0; i < 4; ++i) {
          const Status status = some.back().read(requests.emplace_back(4096));
          EXPECT_TRUE(status);
        }
        if (some.size() % 2 == 0) some.back().wait();
        some.pop_back();  // with what is held
        completed += done(requests);
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(completed, kThreads * kQueues * 4);
  EXPECT_EQ(policy->status().operations, kThreads * kQueues * 4);
}

}  // namespace
}  // namespace openvhd
