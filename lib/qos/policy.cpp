#include "qos/policy.hpp"

#include <algorithm>

namespace openvhd::detail {

QosPolicyState::QosPolicyState(std::shared_ptr<QosScheduler> scheduler, const QosLimits& limits,
                               QosSharing sharing)
    : scheduler_{std::move(scheduler)}, sharing_{sharing}, limits_{limits} {
  if (sharing_ == QosSharing::dedicated) return;
  groups_.push_back(std::make_unique<QosGroup>(limits, scheduler_->now_ns()));
  scheduler_->add(*groups_.back());
}

QosPolicyState::~QosPolicyState() {
  for (const auto& group : groups_) scheduler_->remove(*group);
}

Status QosPolicyState::check_weight(std::uint64_t weight) noexcept {
  if (weight < 1 || weight > 10'000)
    return Error{.code = Errc::invalid, .what = "a weight is 1 to 10,000"};
  return Ok{};
}

Status QosPolicyState::check(const QosLimits& limits) noexcept {
  if (limits.io_size < 512 || limits.io_size > (std::uint64_t{1} << 30))
    return Error{.code = Errc::invalid, .what = "QosLimits::io_size is 512 bytes to 1 GiB"};
  if (limits.iops != 0 && limits.min_iops > limits.iops)
    return Error{.code = Errc::invalid, .what = "QosLimits::min_iops is above iops"};
  return check_weight(limits.weight);
}

QosGroup& QosPolicyState::join() {
  const std::scoped_lock lock{mutex_};
  if (sharing_ == QosSharing::aggregated) return *groups_.front();
  groups_.push_back(std::make_unique<QosGroup>(limits_, scheduler_->now_ns()));
  scheduler_->add(*groups_.back());
  return *groups_.back();
}

void QosPolicyState::leave(QosFlowNode& flow) noexcept {
  const std::scoped_lock lock{mutex_};
  scheduler_->remove(flow, past_);
  if (sharing_ == QosSharing::aggregated) return;
  const auto group = std::find_if(groups_.begin(), groups_.end(),
                                  [&](const auto& one) { return one.get() == flow.group; });
  scheduler_->remove(**group);
  std::swap(*group, groups_.back());
  groups_.pop_back();
}

void QosPolicyState::set_limits(const QosLimits& limits) noexcept {
  const std::scoped_lock lock{mutex_};
  limits_ = limits;
  for (const auto& group : groups_) scheduler_->set_limits(*group, limits);
}

QosLimits QosPolicyState::limits() const noexcept {
  const std::scoped_lock lock{mutex_};
  return limits_;
}

QosStatus QosPolicyState::status() const noexcept {
  const std::scoped_lock lock{mutex_};
  QosStatus sum;
  for (const auto& group : groups_) scheduler_->add_status(*group, sum);
  QosScheduler::add_totals(past_, sum);
  return sum;
}

QosFlowState::QosFlowState(std::shared_ptr<QosPolicyState> policy, std::uint32_t weight)
    : policy_{std::move(policy)} {
  node_.weight = weight;
  node_.group = &policy_->join();
  scheduler().add(node_);
}

QosFlowState::~QosFlowState() { policy_->leave(node_); }

}  // namespace openvhd::detail
