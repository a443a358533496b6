/// What is behind a QosQueue.
#pragma once

#include <openvhd/qos.hpp>

#include "io/timer.hpp"
#include "qos/policy.hpp"

namespace openvhd::detail {

/// Lets requests through to a Queue as its policy admits them, and holds the others in a list.
class QosQueueState {
 public:
  using Start = Status (*)(Queue&, IoRequest&) noexcept;

  static Result<std::unique_ptr<QosQueueState>> open(Queue queue, std::uint32_t depth,
                                                     std::shared_ptr<QosPolicyState> policy);
  QosQueueState(Queue queue, std::uint32_t depth, std::shared_ptr<QosPolicyState> policy) noexcept;
  QosQueueState(const QosQueueState&) = delete;
  QosQueueState& operator=(const QosQueueState&) = delete;
  ~QosQueueState();

  Status start_transfer(IoRequest& request, Start start) noexcept {
    std::uint64_t bytes = 0;
    for (const iovec& piece : request.buffers) bytes += piece.iov_len;
    const std::uint64_t size = io_size();
    // One of many, in the common case: no division.
    const std::uint64_t operations = bytes <= size ? 1 : (bytes - 1) / size + 1;
    return start_paid(request, start, {operations, bytes});
  }
  Status start_other(IoRequest& request, Start start) noexcept {
    return start_paid(request, start, {1, 0});
  }
  unsigned poll() noexcept;
  unsigned wait() noexcept;
  int descriptor() noexcept;

  std::uint32_t held() const noexcept { return held_; }
  Queue& queue() noexcept { return queue_; }

 private:
  using Cost = QosPolicyState::Cost;

  /// In IoRequest::state_ while the request is held.
  struct Held {
    Held* next = nullptr;
    IoRequest* request = nullptr;
    Start start = nullptr;
    Cost cost{};
    std::uint64_t since_ns = 0;
  };
  static_assert(sizeof(Held) <= sizeof(IoRequest::state_));
  static_assert(alignof(Held) <= 16);

  /// Long waits are cut into such pieces, so that another limit is noticed.
  static constexpr std::uint64_t kLongestWaitNs = 100'000'000;

  std::uint64_t io_size() noexcept {
    if (!policy_->current(cache_)) policy_->leave(cache_);
    return cache_.io_size;
  }
  Status start_paid(IoRequest& request, Start start, const Cost& cost) noexcept {
    if (first_ == nullptr && policy_->admit(cache_, cost)) return start(queue_, request);
    return hold(request, start, cost);
  }
  Status hold(IoRequest& request, Start start, const Cost& cost) noexcept;
  unsigned release(bool all) noexcept;
  void set_timer() noexcept;

  Queue queue_;
  std::uint32_t depth_;
  std::shared_ptr<QosPolicyState> policy_;
  QosPolicyState::Cache cache_;
  Held* first_ = nullptr;
  Held* last_ = nullptr;
  std::uint32_t held_ = 0;
  bool timer_set_ = false;
  Timer timer_;
  Fd either_;
};

}  // namespace openvhd::detail
