/// A disk, queues that keep to policies, and a clock for them.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <openvhd/qos.hpp>

#include "image/disk_fixture.hpp"
#include "image/queue/requests.hpp"

namespace openvhd::test {

class QosTest : public DiskTest {
 protected:
  static constexpr std::uint64_t kSecond = 1'000'000'000;

  QosTest() : disk_{opened(made("a.vhdx", {.virtual_size = 64 * kMiB}))} {}

  /// `under`: a policy or a flow.
  template <class Under>
  QosQueue open_queue(const Under& under, std::uint32_t depth = 32) {
    auto queue = Queue::open(disk_, {.depth = depth});
    EXPECT_TRUE(queue);
    auto limited = QosQueue::open(*std::move(queue), depth, under);
    EXPECT_TRUE(limited);
    return *std::move(limited);
  }
  QosClock clock() {
    return {
        [](void* now) noexcept { return static_cast<std::atomic<std::uint64_t>*>(now)->load(); },
        &now_ns_};
  }
  QosPolicy policy(const QosLimits& limits) {
    auto policy = QosPolicy::create(limits, clock());
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

}  // namespace openvhd::test
