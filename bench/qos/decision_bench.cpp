// What a request costs that nothing holds back, and what deciding costs among many that wait.
#include <benchmark/benchmark.h>

#include <deque>
#include <memory>

#include "qos/policy.hpp"

namespace {

using namespace openvhd;
using namespace openvhd::detail;

struct Line : QosLine {
  std::shared_ptr<QosFlowState> state;
  QosHeld held{};
  Line** woken = nullptr;
};

void enter(QosScheduler& scheduler, Line& line, std::shared_ptr<QosFlowState> state) {
  line.flow = &state->node();
  line.group = state->node().group;
  line.state = std::move(state);
  line.wake = [](QosLine& one, std::uint64_t in_ns) noexcept {
    auto& self = static_cast<Line&>(one);
    if (in_ns == 1 && self.woken != nullptr) *self.woken = &self;
  };
  scheduler.add(line);
}

void admit(benchmark::State& bench, const QosLimits& limits) {
  const auto scheduler = std::make_shared<QosScheduler>(QosHostLimits{}, QosClock{});
  const auto policy = std::make_shared<QosPolicyState>(scheduler, limits, QosSharing::aggregated);
  Line line;
  enter(*scheduler, line, std::make_shared<QosFlowState>(policy, 100));
  const QosCost cost{1, 4096};
  for (auto _ : bench) {
    if (!scheduler->contended() && line.admit(cost)) {
      line.began(cost);
    } else {
      scheduler->submit(line, line.held);
      scheduler->drain(line);
    }
  }
  scheduler->remove(line);
}

void BM_NotLimited(benchmark::State& bench) { admit(bench, {}); }
void BM_FarBelowItsLimit(benchmark::State& bench) {
  admit(bench, {.iops = 4'000'000'000, .iops_burst = 1'000'000'000});
}

/// Everybody always waits; each time the host has room for one.
void BM_Decision(benchmark::State& bench) {
  const auto scheduler = std::make_shared<QosScheduler>(QosHostLimits{.in_flight = 1}, QosClock{});
  const auto policy =
      std::make_shared<QosPolicyState>(scheduler, QosLimits{.min_iops = 10}, QosSharing::dedicated);
  const auto count = static_cast<std::size_t>(bench.range(0));
  std::deque<Line> lines(count);
  Line* woken = nullptr;
  for (Line& line : lines) {
    enter(*scheduler, line, std::make_shared<QosFlowState>(policy, 100));
    line.woken = &woken;
    if (scheduler->submit(line, line.held)) woken = &line;
    scheduler->sleep(line);
  }
  // `woken` holds the one place; it comes back for another request.
  for (auto _ : bench) {
    Line& line = *woken;
    scheduler->submit(line, line.held);
    scheduler->sleep(line);
    scheduler->give_back_slots(1);
    scheduler->collect(*woken);
  }
  for (Line& line : lines) {
    scheduler->drain(line);
    scheduler->remove(line);
  }
}

BENCHMARK(BM_NotLimited);
BENCHMARK(BM_FarBelowItsLimit);
BENCHMARK(BM_Decision)->RangeMultiplier(10)->Range(10, 10'000);

}  // namespace
