#include "qos/scheduler.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>

#include "qos/simulation.hpp"

namespace openvhd::test {
namespace {

constexpr std::array kCounts{2U, 3U, 5U, 8U, 17U, 32U, 64U};

TEST(QosFairness, QueuesOfOnePolicyGetTheSame) {
  for (const unsigned count : kCounts) {
    Simulation simulation{{}};
    const auto policy = simulation.policy({.iops = 5000, .iops_burst = 16});
    for (unsigned i = 0; i < count; ++i) simulation.client(policy);
    simulation.run(10 * kSecond);
    EXPECT_GE(jain(simulation.clients), 0.99) << count;
  }
}

TEST(QosFairness, PoliciesOfOneHostGetTheSame) {
  for (const unsigned count : kCounts) {
    Simulation simulation{{.iops = 5000}};
    for (unsigned i = 0; i < count; ++i) simulation.client(simulation.policy({}));
    simulation.run(10 * kSecond);
    EXPECT_GE(jain(simulation.clients), 0.99) << count;
  }
}

TEST(QosFairness, ADeviceIsSharedThoughNobodyKnowsHowFastItIs) {
  for (const unsigned count : kCounts) {
    Simulation simulation{{.in_flight = 16}};
    simulation.device_iops = 5000;
    simulation.device_jitter = 0.5;
    const auto policy = simulation.policy({}, QosSharing::dedicated);
    for (unsigned i = 0; i < count; ++i)
      simulation.client(std::make_shared<QosFlowState>(policy, 100), 1, 16U << i % 3);
    simulation.run(10 * kSecond);
    EXPECT_GE(jain(simulation.clients), 0.99) << count;
  }
}

TEST(QosFairness, LargeRequestsGetNoMoreThanSmallOnes) {
  Simulation simulation{{}};
  const auto policy = simulation.policy({.iops = 5000, .iops_burst = 16});
  for (const std::uint64_t operations : {1U, 2U, 8U, 32U})
    simulation.client(std::make_shared<QosFlowState>(policy, 100), operations);
  simulation.run(20 * kSecond);
  EXPECT_GE(jain(simulation.clients), 0.999);
}

TEST(QosFairness, AFlowWithManyQueuesGetsNoMoreThanOneWithOne) {
  Simulation simulation{{}};
  const auto policy = simulation.policy({.iops = 5000, .iops_burst = 16});
  const auto many = std::make_shared<QosFlowState>(policy, 100);
  for (unsigned i = 0; i < 7; ++i) simulation.client(many);
  const Client& single = simulation.client(policy);
  simulation.run(10 * kSecond);
  EXPECT_NEAR(double(single.served), 25'000, 250);
}

TEST(QosShares, FollowTheWeightsWithinTwoPercent) {
  constexpr std::array<std::uint32_t, 5> kWeights{50, 100, 250, 600, 1000};
  for (const unsigned level : {0U, 1U, 2U}) {
    Simulation simulation{level == 0   ? QosHostLimits{}
                          : level == 1 ? QosHostLimits{.iops = 10'000, .iops_burst = 16}
                                       : QosHostLimits{.in_flight = 8}};
    if (level == 2) simulation.device_iops = 10'000;
    const auto policy = simulation.policy({.iops = 10'000, .iops_burst = 16});
    for (const std::uint32_t weight : kWeights) {
      if (level == 0) {
        simulation.client(policy, weight);
      } else {
        simulation.client(simulation.policy({.weight = weight}));
      }
    }
    simulation.run(10 * kSecond);
    double sum = 0;
    for (const auto& client : simulation.clients) sum += double(client.served);
    EXPECT_NEAR(sum, 100'000, 1100);
    for (std::size_t i = 0; i < kWeights.size(); ++i) {
      const double due = sum * kWeights[i] / 2000;
      EXPECT_NEAR(double(simulation.clients[i].served), due, due * 0.02) << level << " " << i;
    }
  }
}

TEST(QosShares, WhatALimitLeavesGoesToTheOthers) {
  Simulation simulation{{.iops = 10'000, .iops_burst = 16}};
  const auto& limited =
      simulation.client(simulation.policy({.iops = 1000, .iops_burst = 1, .weight = 1000}));
  const auto& one = simulation.client(simulation.policy({.weight = 100}));
  const auto& two = simulation.client(simulation.policy({.weight = 200}));
  simulation.run(10 * kSecond);
  EXPECT_NEAR(double(limited.served), 10'000, 100);
  EXPECT_NEAR(double(one.served), 30'000, 600);
  EXPECT_NEAR(double(two.served), 60'000, 1200);
}

/// Operations of each client in each tenth of a second, and from them every window of one second.
class Windows {
 public:
  explicit Windows(Simulation& simulation) : begin_{simulation.now} {
    simulation.began = [&simulation, this](Client& client, const QosCost& cost) {
      const auto tenth = (simulation.now - begin_) / (kSecond / 10);
      auto& tenths = tenths_[&client];
      if (tenths.size() <= tenth) tenths.resize(tenth + 1);
      tenths[tenth] += cost.operations;
    };
  }
  /// Windows from `first` seconds on, and those with less than `least`.
  std::pair<unsigned, unsigned> below(const Client& client, std::uint64_t least, unsigned first) {
    const auto& tenths = tenths_[&client];
    std::pair<unsigned, unsigned> out;
    for (std::size_t at = first * 10UL; at + 10 < tenths.size(); ++at) {
      std::uint64_t sum = 0;
      for (std::size_t i = 0; i < 10; ++i) sum += tenths[at + i];
      ++out.first;
      if (sum < least) ++out.second;
    }
    return out;
  }

 private:
  const std::uint64_t begin_;
  std::map<const Client*, std::vector<std::uint64_t>> tenths_;
};

TEST(QosReservation, IsMetInEverySecondUnderTenfoldOverload) {
  for (const bool device : {true, false}) {
    Simulation simulation{device ? QosHostLimits{.in_flight = 16} : QosHostLimits{.iops = 5000}};
    if (device) simulation.device_iops = 5000;
    simulation.device_jitter = 0.5;
    Windows windows{simulation};
    // 4500 of 5000 are promised, 50,000 are wanted, and most by those without a promise.
    constexpr std::array<std::uint64_t, 6> kReserved{100, 300, 600, 900, 1100, 1500};
    for (const std::uint64_t min : kReserved)
      simulation.client(
          std::make_shared<QosFlowState>(simulation.policy({.min_iops = min, .weight = 1}), 100), 1,
          64);
    for (unsigned i = 0; i < 30; ++i)
      simulation.client(std::make_shared<QosFlowState>(simulation.policy({.weight = 10'000}), 100),
                        1, 64);
    simulation.run(60 * kSecond);
    unsigned all = 0;
    unsigned missed = 0;
    for (std::size_t i = 0; i < kReserved.size(); ++i) {
      // One request may fall on the other side of the edge of a window.
      const auto [count, below] = windows.below(simulation.clients[i], kReserved[i] - 1, 2);
      all += count;
      missed += below;
      EXPECT_FALSE(simulation.clients[i].state->status().insufficient_throughput);
    }
    EXPECT_GE(all, 3000U);
    EXPECT_LE(missed * 1000, all) << device;
    double others = 0;
    for (std::size_t i = kReserved.size(); i < simulation.clients.size(); ++i)
      others += double(simulation.clients[i].served);
    EXPECT_NEAR(others, 30'000, 1000);
  }
}

TEST(QosReservation, TheRestIsSharedByWeight) {
  Simulation simulation{{.iops = 10'000, .iops_burst = 16}};
  const auto& reserved = simulation.client(simulation.policy({.min_iops = 4000, .weight = 100}));
  const auto& other = simulation.client(simulation.policy({.weight = 200}));
  simulation.run(10 * kSecond);
  EXPECT_NEAR(double(reserved.served), 60'000, 1200);
  EXPECT_NEAR(double(other.served), 40'000, 800);
}

TEST(QosReservation, ThatCannotBeMetIsToldAndStarvesNobody) {
  Simulation simulation{{.iops = 1000, .iops_burst = 1}};
  const auto policy = simulation.policy({.min_iops = 800}, QosSharing::dedicated);
  const auto& one = simulation.client(policy);
  const auto& two = simulation.client(policy);
  const auto& other = simulation.client(simulation.policy({}));
  simulation.run(20 * kSecond);
  EXPECT_TRUE(one.state->status().insufficient_throughput);
  EXPECT_TRUE(policy->status().insufficient_throughput);
  EXPECT_TRUE(simulation.scheduler->status().insufficient_throughput);
  EXPECT_FALSE(other.state->status().insufficient_throughput);
  EXPECT_NEAR(double(one.served), double(two.served), 100);
  EXPECT_GE(other.served, 50U);  // a tenth of a second is the most without a turn by weight
  simulation.scheduler->set_limits({.iops = 2000});
  simulation.run(20 * kSecond);
  EXPECT_FALSE(one.state->status().insufficient_throughput);
  EXPECT_FALSE(policy->status().insufficient_throughput);
  EXPECT_GT(other.served, 2000U);
}

TEST(QosReservation, NobodyWhoWantsLessMissesAnything) {
  Simulation simulation{{.iops = 1000}};
  const auto& idle = simulation.client(simulation.policy({.min_iops = 800}));
  simulation.clients.front().submits = false;
  const auto& other = simulation.client(simulation.policy({}));
  simulation.run(10 * kSecond);
  EXPECT_FALSE(idle.state->status().insufficient_throughput);
  EXPECT_NEAR(double(other.served), 10'000, 200);  // nothing is kept free
}

TEST(QosProgress, WhoDoesNotPollStopsNobody) {
  Simulation simulation{{.in_flight = 4}};
  simulation.device_iops = 1000;
  const auto policy = simulation.policy({}, QosSharing::dedicated);
  Client& stuck = simulation.client(policy);
  simulation.run(kSecond / 100);  // takes all there is
  stuck.polls = false;
  const auto& other = simulation.client(policy);
  simulation.run(20 * kSecond);
  EXPECT_GE(other.served, 100U);
}

TEST(QosProgress, WhoIsBusyIsNotWaitedFor) {
  Simulation simulation{{.iops = 1000, .iops_burst = 1}};
  const auto policy = simulation.policy({}, QosSharing::dedicated);
  Client& busy = simulation.client(policy, 1);
  const auto& other = simulation.client(policy);
  simulation.run(kSecond);
  busy.polls = false;  // awake, with requests in its line
  const auto fetched = simulation.scheduler->collect(busy);
  busy.held -= fetched.size();
  const auto before = other.served;
  simulation.run(10 * kSecond);
  EXPECT_NEAR(double(other.served - before), 10'000, 100);
}

TEST(QosProgress, OneWakesForAll) {
  Simulation simulation{{}};
  const auto policy = simulation.policy({.iops = 1000, .iops_burst = 1});
  for (unsigned i = 0; i < 64; ++i) simulation.client(policy);
  simulation.run(10 * kSecond);
  EXPECT_NEAR(double(simulation.grants), 10'000, 100);
  // The leader, and whom it grants to; and each of the 64 looks up ten times a second at most.
  EXPECT_LE(simulation.wakeups, 2 * simulation.grants + 64UL * 10 * 10);
}

TEST(QosProgress, TenThousandFlowsShareOneHost) {
  Simulation simulation{{.iops = 200'000}};
  for (unsigned i = 0; i < 10'000; ++i)
    simulation.client(
        std::make_shared<QosFlowState>(simulation.policy({.min_iops = i % 2 * 10UL}), 100), 1, 2);
  simulation.run(kSecond * 2);
  double least = 1e9;
  for (const auto& client : simulation.clients) least = std::min(least, double(client.served));
  EXPECT_GE(least, 18);  // 150,000 a second are left for all by weight
}

TEST(QosClocks, OneThatJumpsLosesNothing) {
  constexpr std::uint64_t kYears = 100ULL * 365 * 86'400 * kSecond;
  constexpr std::uint64_t kYear2262 = 9'223'372'036'854'775'807ULL;
  Simulation simulation{{.iops = 1000}};
  const auto policy = simulation.policy({.iops = 500, .min_iops = 300}, QosSharing::dedicated);
  for (unsigned i = 0; i < 3; ++i) simulation.client(policy);
  const auto rate_is_right = [&] {
    simulation.run(kSecond * 3 / 2);  // who went back by less than a second has passed that
    std::uint64_t before = 0;
    for (const auto& client : simulation.clients) before += client.served;
    simulation.run(10 * kSecond);
    std::uint64_t after = 0;
    for (const auto& client : simulation.clients) after += client.served;
    EXPECT_NEAR(double(after - before), 10'000, 200) << simulation.now;
    EXPECT_GE(jain(simulation.clients), 0.99);
  };
  rate_is_right();
  simulation.now += kYears;
  rate_is_right();
  simulation.now -= kYears;
  simulation.restart();
  rate_is_right();
  simulation.now -= kSecond / 2;
  simulation.restart();
  rate_is_right();
  simulation.now = kYear2262 - 30 * kSecond;
  rate_is_right();
  simulation.now = kYear2262;
  rate_is_right();
}

/// The bound over every window, in one pass: `largest` is one request's.
class Bound {
 public:
  Bound(std::uint64_t rate, std::uint64_t burst, std::uint64_t largest)
      : rate_{rate}, most_{(Wide{burst} + largest) * kSecond} {}
  void served(std::uint64_t at_ns, std::uint64_t tokens) {
    const Wide paid = Wide{rate_} * at_ns;
    lowest_ = std::min(lowest_, sum_ - paid);
    sum_ += Wide{tokens} * kSecond;
    ASSERT_LE(sum_ - paid - lowest_, most_) << rate_;
  }

 private:
  __extension__ using Wide = __int128;
  std::uint64_t rate_;
  Wide most_;
  Wide sum_ = 0;
  Wide lowest_ = Wide{1} << 126;
};

TEST(QosBound, HoldsOnEveryLevelAtAMillionRandomPoints) {
  std::mt19937_64 random{7};
  std::uint64_t points = 0;
  while (points < 1'000'000) {
    const auto some = [&](std::uint64_t most) { return random() % most + 1; };
    const QosHostLimits host{.iops = some(20'000), .iops_burst = some(5000)};
    const QosLimits limits{.iops = some(20'000),
                           .iops_burst = some(5000),
                           .bytes_per_second = some(100'000'000),
                           .bytes_burst = some(10'000'000)};
    const std::uint64_t largest = some(40);
    Simulation simulation{host};
    const auto policy = simulation.policy(limits);
    const auto neighbour = simulation.policy({});
    Bound host_bound{host.iops, host.iops_burst, largest};
    Bound bound{limits.iops, limits.iops_burst, largest};
    Bound bytes{limits.bytes_per_second, limits.bytes_burst, largest * 4096};
    for (unsigned i = 0; i < 6; ++i)
      simulation.client(std::make_shared<QosFlowState>(i % 3 == 2 ? neighbour : policy, 100),
                        i == 0 ? largest : some(largest), 4);
    simulation.began = [&](Client& client, const QosCost& cost) {
      ++points;
      host_bound.served(simulation.now, cost.operations);
      if (client.group != simulation.clients.front().group) return;
      bound.served(simulation.now, cost.operations);
      bytes.served(simulation.now, cost.bytes);
    };
    for (unsigned step = 0; step < 50; ++step) {
      for (auto& client : simulation.clients) client.submits = random() % 3 != 0;
      simulation.run(random() % (kSecond / 50));
    }
    if (HasFatalFailure()) return;
  }
}

TEST(QosLimitsOfNow, ChangeWithoutLosingARequest) {
  std::mt19937_64 random{9};
  for (unsigned round = 0; round < 60; ++round) {
    Simulation simulation{{.iops = 500}};
    simulation.device_iops = 100'000;
    const auto shared = simulation.policy({.iops = 100, .iops_burst = 1});
    const auto own = simulation.policy({.min_iops = 50}, QosSharing::dedicated);
    for (unsigned i = 0; i < 6; ++i) simulation.client(i % 2 == 0 ? shared : own);
    for (unsigned step = 0; step < 20; ++step) {
      simulation.run(random() % (kSecond / 10));
      const auto maybe = [&](std::uint64_t most) {
        return random() % 3 == 0 ? 0 : random() % most + 1;
      };
      simulation.scheduler->set_limits(
          {.iops = maybe(1000), .in_flight = static_cast<std::uint32_t>(maybe(4))});
      (random() % 2 == 0 ? shared : own)
          ->set_limits({.iops = 1000 + maybe(1000),
                        .iops_burst = maybe(200),
                        .bytes_per_second = maybe(1 << 20),
                        .min_iops = maybe(1000),
                        .weight = static_cast<std::uint32_t>(random() % 10'000 + 1)});
    }
    simulation.scheduler->set_limits({});
    shared->set_limits({});
    own->set_limits({});
    for (auto& client : simulation.clients) client.submits = false;
    simulation.run(10 * kSecond);
    for (const auto& client : simulation.clients) {
      EXPECT_EQ(client.held, 0U);
      EXPECT_EQ(client.idle.size(), client.requests.size());
      EXPECT_EQ(client.operations.get(), client.served);
    }
    EXPECT_TRUE(simulation.scheduler->take_slot() == false);  // no limit, so nothing is counted
    simulation.scheduler->set_limits({.in_flight = 2});
    EXPECT_TRUE(simulation.scheduler->take_slot());  // and all that was has come back
    EXPECT_TRUE(simulation.scheduler->take_slot());
    EXPECT_FALSE(simulation.scheduler->take_slot());
  }
}

TEST(QosStatusOfFlows, TellsRatesAndWhatWaits) {
  Simulation simulation{{}};
  const auto policy = simulation.policy({.iops = 200, .iops_burst = 1});
  const auto& one = simulation.client(policy);
  simulation.client(policy);
  simulation.run(5 * kSecond);
  simulation.scheduler->status();
  simulation.run(2 * kSecond);
  const QosStatus flow = one.state->status();
  EXPECT_NEAR(double(flow.iops), 100, 2);
  EXPECT_NEAR(double(flow.bytes_per_second), 409'600, 8192);
  EXPECT_EQ(flow.held, 8U);
  EXPECT_EQ(flow.operations, one.served);
  EXPECT_NEAR(double(policy->status().iops), 200, 4);
  EXPECT_EQ(policy->status().held, 16U);
}

struct Counted {
  std::uint64_t value = 0;
  static inline std::uint64_t comparisons = 0;
  friend bool operator<(const Counted& a, const Counted& b) {
    ++comparisons;
    return a.value < b.value;
  }
};
struct Item {
  Counted key;
  std::uint32_t place = detail::kNotInHeap;
};

TEST(QosHeap, KeepsOrderInLogarithmicTime) {
  std::mt19937_64 random{3};
  for (const unsigned size : {1U, 2U, 100U, 10'000U}) {
    detail::Heap<Item, &Item::key, &Item::place> heap;
    heap.reserve(size);
    std::vector<Item> items(size);
    const std::uint64_t most = 4 * (std::uint64_t(std::log2(size)) + 2);
    for (auto& item : items) {
      item.key.value = random() % 1000;
      heap.push(item);
    }
    for (unsigned i = 0; i < 20'000; ++i) {
      Item& item = items[random() % size];
      Counted::comparisons = 0;
      if (!heap.holds(item)) {
        heap.push(item);
      } else if (i % 3 == 0) {
        heap.remove(item);
      } else {
        item.key.value = random() % 1000;
        heap.moved(item);
      }
      ASSERT_LE(Counted::comparisons, most);
    }
    std::uint64_t last = 0;
    while (!heap.empty()) {
      ASSERT_GE(heap.top()->key.value, last);
      last = heap.top()->key.value;
      heap.remove(*heap.top());
    }
    for (const auto& item : items) EXPECT_FALSE(heap.holds(item));
  }
}

}  // namespace
}  // namespace openvhd::test
