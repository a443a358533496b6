// Who is under a host, by which limits, and how they fare.
#include <algorithm>

#include "qos/scheduler.hpp"

namespace openvhd::detail {
namespace {

template <class T>
void make_room(std::vector<T*>& list, std::size_t more) {
  if (list.capacity() < list.size() + more)
    list.reserve(std::max(list.size() + more, 2 * list.capacity()));
}

// Their order means nothing.
template <class T>
void erase(std::vector<T*>& list, const T* one) noexcept {
  const auto at = std::find(list.begin(), list.end(), one);
  *at = list.back();
  list.pop_back();
}

void add_flow(QosFlowNode& flow, std::uint64_t now, QosStatus& sum) noexcept {
  const QosTotals totals = flow.totals();
  if (flow.operations.is_due(now)) {
    flow.operations.roll(now, totals.operations);
    flow.bytes.roll(now, totals.bytes);
  }
  if (flow.group->meter.is_due(now)) flow.group->roll(now);
  QosScheduler::add_totals(totals, sum);
  sum.iops += flow.operations.rate();
  sum.bytes_per_second += flow.bytes.rate();
  sum.insufficient_throughput = sum.insufficient_throughput || flow.group->insufficient;
}

}  // namespace

void QosGroup::advance_reservation(std::uint64_t operations) noexcept {
  __extension__ using Wide = unsigned __int128;
  const Wide time = Wide{operations} * 1'000'000'000 + reserved_rest;
  const Wide step = time / limits.min_iops;
  reserved_rest = static_cast<std::uint64_t>(time % limits.min_iops);
  const std::uint64_t room = TokenBucket::kNever - reserved_at;
  reserved_at += step < room ? static_cast<std::uint64_t>(step) : room;
  largest = std::max(largest, operations);
}

void QosGroup::roll(std::uint64_t now_ns) noexcept {
  __extension__ using Wide = unsigned __int128;
  std::uint64_t operations = past_operations;
  for (const QosFlowNode* flow : flows) operations += flow->totals().operations;
  if (ready() && now_ns > ready_since) ready_ns += now_ns - ready_since;
  ready_since = now_ns;
  const std::uint64_t length = meter.roll(now_ns, operations);
  const std::uint64_t waited = std::min(ready_ns, length);
  // Nobody is promised a part of a request, nor more while nobody waited.
  const Wide served = Wide{meter.counted()} + std::max<std::uint64_t>(largest, 1) - 1;
  insufficient = limits.min_iops != 0 && length != 0 && waited >= length / 2 &&
                 served * 1'000'000'000 * 100 < Wide{limits.min_iops} * waited * 99;
  ready_ns = 0;
  largest = 0;
}

void QosScheduler::add(QosGroup& group) {
  const std::scoped_lock lock{mutex_};
  make_room(groups_, 1);
  shares_.reserve(groups_.size() + 1);
  reserved_.reserve(groups_.size() + 1);
  delayed_.reserve(groups_.size() + 1);
  groups_.push_back(&group);
}

void QosScheduler::remove(QosGroup& group) noexcept {
  const std::scoped_lock lock{mutex_};
  erase(groups_, &group);
}

void QosScheduler::add(QosFlowNode& flow) {
  const std::scoped_lock lock{mutex_};
  make_room(flow.group->flows, 1);
  flow.group->waiting.reserve(flow.group->flows.size() + 1);
  flow.group->flows.push_back(&flow);
  flow.operations.start(last_ns_);
  flow.bytes.start(last_ns_);
}

void QosScheduler::remove(QosFlowNode& flow, QosTotals& past) noexcept {
  const std::scoped_lock lock{mutex_};
  erase(flow.group->flows, &flow);
  flow.group->past_operations += flow.past.operations;
  past += flow.past;
  past_ += flow.past;
}

void QosScheduler::add(QosLine& line) {
  const std::scoped_lock lock{mutex_};
  make_room(line.flow->lines, 1);
  line.flow->waiting.reserve(line.flow->lines.size() + 1);
  line.flow->lines.push_back(&line);
}

void QosScheduler::remove(QosLine& line) noexcept {
  const std::scoped_lock lock{mutex_};
  rouse(line);
  settle(line, look());
  erase(line.flow->lines, &line);
  line.flow->past += line.totals();
}

void QosScheduler::set_limits(const QosHostLimits& limits) noexcept {
  const std::scoped_lock lock{mutex_};
  const std::uint64_t now = look();
  host_.change({.iops = limits.iops,
                .iops_burst = limits.iops_burst,
                .bytes_per_second = limits.bytes_per_second,
                .bytes_burst = limits.bytes_burst},
               now);
  limits_ = limits;
  slots_.store(limits.in_flight, std::memory_order_relaxed);
  for (QosGroup* group : groups_) group->generation.fetch_add(1, std::memory_order_release);
  dispatch(now);
}

void QosScheduler::set_limits(QosGroup& group, const QosLimits& limits) noexcept {
  const std::scoped_lock lock{mutex_};
  const std::uint64_t now = look();
  const bool waits = group.ready() || group.delayed();
  if (waits) unplace(group, now);
  if (limits.min_iops != group.limits.min_iops) {
    group.reserved_at = now;
    group.reserved_rest = 0;
  }
  group.buckets.change(limits, now);
  group.limits = limits;
  group.weight = limits.weight;
  group.generation.fetch_add(1, std::memory_order_release);
  if (waits) place(group, now, kArrearsNs);
  dispatch(now);
}

QosHostLimits QosScheduler::limits() const noexcept {
  const std::scoped_lock lock{mutex_};
  return limits_;
}

// Asking changes nothing: a clock that went back is for the next request to notice.
std::uint64_t QosScheduler::last_known(std::uint64_t now) const noexcept {
  return std::max(now, last_ns_);
}

void QosScheduler::add_totals(const QosTotals& totals, QosStatus& sum) noexcept {
  sum.operations += totals.operations;
  sum.bytes += totals.bytes;
  sum.throttled += totals.throttled;
  sum.throttled_ns += totals.throttled_ns;
  sum.held += static_cast<std::uint32_t>(totals.held);
}

QosStatus QosScheduler::status() const noexcept {
  const std::scoped_lock lock{mutex_};
  const std::uint64_t now = last_known(now_ns());
  QosStatus sum;
  for (QosGroup* group : groups_)
    for (QosFlowNode* flow : group->flows) add_flow(*flow, now, sum);
  add_totals(past_, sum);
  return sum;
}

QosStatus QosScheduler::status(QosFlowNode& flow) const noexcept {
  const std::scoped_lock lock{mutex_};
  QosStatus sum;
  add_flow(flow, last_known(now_ns()), sum);
  return sum;
}

void QosScheduler::add_status(QosGroup& group, QosStatus& sum) const noexcept {
  const std::scoped_lock lock{mutex_};
  const std::uint64_t now = last_known(now_ns());
  for (QosFlowNode* flow : group.flows) add_flow(*flow, now, sum);
}

}  // namespace openvhd::detail
