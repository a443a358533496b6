#include <openvhd/qos.hpp>

#include "base/try.hpp"
#include "qos/policy.hpp"
#include "qos/qos_queue.hpp"

namespace openvhd {

QosHost::QosHost(std::shared_ptr<detail::QosScheduler> state) noexcept : state_{std::move(state)} {}

Result<QosHost> QosHost::create(const QosHostLimits& limits, const QosClock& clock) {
  return QosHost{std::make_shared<detail::QosScheduler>(limits, clock)};
}

void QosHost::set_limits(const QosHostLimits& limits) noexcept { state_->set_limits(limits); }
QosHostLimits QosHost::limits() const noexcept { return state_->limits(); }
QosStatus QosHost::status() const noexcept { return state_->status(); }

QosPolicy::QosPolicy(std::shared_ptr<detail::QosPolicyState> state) noexcept
    : state_{std::move(state)} {}

Result<QosPolicy> QosPolicy::create(const QosLimits& limits, const QosClock& clock) {
  OVHD_TRY(auto host, QosHost::create({}, clock));
  return create(host, limits, QosSharing::aggregated);
}

Result<QosPolicy> QosPolicy::create(const QosHost& host, const QosLimits& limits,
                                    QosSharing sharing) {
  OVHD_CHECK(detail::QosPolicyState::check(limits));
  return QosPolicy{std::make_shared<detail::QosPolicyState>(host.state_, limits, sharing)};
}

Status QosPolicy::set_limits(const QosLimits& limits) noexcept {
  OVHD_CHECK(detail::QosPolicyState::check(limits));
  state_->set_limits(limits);
  return Ok{};
}

QosLimits QosPolicy::limits() const noexcept { return state_->limits(); }
QosStatus QosPolicy::status() const noexcept { return state_->status(); }

QosFlow::QosFlow(std::shared_ptr<detail::QosFlowState> state) noexcept : state_{std::move(state)} {}

Result<QosFlow> QosFlow::create(const QosPolicy& policy, std::uint32_t weight) {
  OVHD_CHECK(detail::QosPolicyState::check_weight(weight));
  return QosFlow{std::make_shared<detail::QosFlowState>(policy.state_, weight)};
}

QosStatus QosFlow::status() const noexcept { return state_->status(); }

namespace {

// Not their addresses: a call that is inline would get a body of its own in this library.
Status start_read(Queue& queue, IoRequest& request) noexcept { return queue.read(request); }
Status start_write(Queue& queue, IoRequest& request) noexcept { return queue.write(request); }
Status start_write_zeroes(Queue& queue, IoRequest& request) noexcept {
  return queue.write_zeroes(request);
}
Status start_trim(Queue& queue, IoRequest& request) noexcept { return queue.trim(request); }
Status start_flush(Queue& queue, IoRequest& request) noexcept { return queue.flush(request); }

}  // namespace

Result<QosQueue> QosQueue::open(Queue queue, std::uint32_t depth, const QosFlow& flow) {
  OVHD_TRY(auto state, detail::QosQueueState::open(std::move(queue), depth, flow.state_));
  return QosQueue{std::move(state)};
}

Result<QosQueue> QosQueue::open(Queue queue, std::uint32_t depth, const QosPolicy& policy) {
  OVHD_TRY(const auto flow, QosFlow::create(policy));
  return open(std::move(queue), depth, flow);
}

QosQueue::QosQueue(std::unique_ptr<detail::QosQueueState> state) noexcept
    : state_{std::move(state)} {}
QosQueue::QosQueue(QosQueue&&) noexcept = default;
QosQueue& QosQueue::operator=(QosQueue&&) noexcept = default;
QosQueue::~QosQueue() = default;

Status QosQueue::read(IoRequest& request) noexcept {
  return state_.get()->start_transfer(request, start_read);
}
Status QosQueue::write(IoRequest& request) noexcept {
  return state_.get()->start_transfer(request, start_write);
}
Status QosQueue::write_zeroes(IoRequest& request) noexcept {
  return state_->start_other(request, start_write_zeroes);
}
Status QosQueue::trim(IoRequest& request) noexcept {
  return state_->start_other(request, start_trim);
}
Status QosQueue::flush(IoRequest& request) noexcept {
  return state_->start_other(request, start_flush);
}
unsigned QosQueue::poll() noexcept { return state_->poll(); }
unsigned QosQueue::wait() noexcept { return state_->wait(); }
int QosQueue::descriptor() noexcept { return state_->descriptor(); }
Status QosQueue::register_buffers(std::span<const iovec> buffers) noexcept {
  return state_->queue().register_buffers(buffers);
}
std::uint32_t QosQueue::under_way() const noexcept {
  return state_->held() + state_->queue().under_way();
}
std::uint32_t QosQueue::held() const noexcept { return state_->held(); }
const QueueStatistics& QosQueue::statistics() const noexcept {
  return state_->queue().statistics();
}
const char* QosQueue::driver() const noexcept { return state_->queue().driver(); }

}  // namespace openvhd
