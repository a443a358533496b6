/// What is behind a QosPolicy and a QosFlow.
#pragma once

#include <memory>
#include <mutex>
#include <openvhd/qos.hpp>
#include <vector>

#include "qos/scheduler.hpp"

namespace openvhd::detail {

/// One group for all its flows, or one for each.
class QosPolicyState {
 public:
  QosPolicyState(std::shared_ptr<QosScheduler> scheduler, const QosLimits& limits,
                 QosSharing sharing);
  QosPolicyState(const QosPolicyState&) = delete;
  QosPolicyState& operator=(const QosPolicyState&) = delete;
  ~QosPolicyState();

  static Status check(const QosLimits& limits) noexcept;
  static Status check_weight(std::uint64_t weight) noexcept;

  void set_limits(const QosLimits& limits) noexcept;
  QosLimits limits() const noexcept;
  QosStatus status() const noexcept;
  QosScheduler& scheduler() const noexcept { return *scheduler_; }

 private:
  friend class QosFlowState;
  /// The group of a new flow.
  QosGroup& join();
  /// `flow` is no more; nor is its group, if it was alone in it.
  void leave(QosFlowNode& flow) noexcept;

  const std::shared_ptr<QosScheduler> scheduler_;
  const QosSharing sharing_;
  mutable std::mutex mutex_;  // of what follows; taken before the scheduler's
  QosLimits limits_;
  std::vector<std::unique_ptr<QosGroup>> groups_;
  QosTotals past_;  // of flows that are no more
};

class QosFlowState {
 public:
  QosFlowState(std::shared_ptr<QosPolicyState> policy, std::uint32_t weight);
  QosFlowState(const QosFlowState&) = delete;
  QosFlowState& operator=(const QosFlowState&) = delete;
  ~QosFlowState();

  QosFlowNode& node() noexcept { return node_; }
  QosScheduler& scheduler() const noexcept { return policy_->scheduler(); }
  QosStatus status() noexcept { return scheduler().status(node_); }

 private:
  const std::shared_ptr<QosPolicyState> policy_;
  QosFlowNode node_;
};

}  // namespace openvhd::detail
