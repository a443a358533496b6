/// What is behind a QosQueue.
#pragma once

#include <openvhd/qos.hpp>

#include "io/timer.hpp"
#include "qos/policy.hpp"

namespace openvhd::detail {

/// Lets requests through to a Queue as the scheduler admits them; the others wait in its line.
class QosQueueState {
 public:
  using Start = Status (*)(Queue&, IoRequest&) noexcept;

  static Result<std::unique_ptr<QosQueueState>> open(Queue queue, std::uint32_t depth,
                                                     std::shared_ptr<QosFlowState> flow);
  QosQueueState(Queue queue, std::uint32_t depth, std::shared_ptr<QosFlowState> flow);
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
  /// In IoRequest::state_ while the request is held.
  struct Held : QosHeld {
    IoRequest* request = nullptr;
    Start start = nullptr;
  };
  static_assert(sizeof(Held) <= sizeof(IoRequest::state_));
  static_assert(alignof(Held) <= 16);

  struct Line : QosLine {
    Timer timer;
  };

  std::uint64_t io_size() noexcept {
    const auto now = line_.group->generation.load(std::memory_order_acquire);
    if (line_.cache.generation != now) [[unlikely]]
      scheduler_.refresh(line_);
    return line_.cache.io_size;
  }
  /// A place among what the host has under way, where it counts that: one that became free here, if
  /// there is one. It is asked for before tokens are: a place that is not used goes back.
  bool has_slot() noexcept {
    if (!line_.cache.slots || queue_.under_way() < slots_) return true;
    if (!scheduler_.take_slot()) return false;
    ++slots_;
    return true;
  }
  Status start_paid(IoRequest& request, Start start, const QosCost& cost) noexcept {
    if (held_ == 0 && !scheduler_.contended() && has_slot() && line_.admit(cost)) [[likely]] {
      return start_begun(request, start, cost);
    }
    return submit(request, start, cost);
  }
  [[gnu::always_inline]] Status start_begun(IoRequest& request, Start start,
                                            const QosCost& cost) noexcept {
    line_.began(cost);
    Status status = start(queue_, request);
    if (!status) [[unlikely]]
      give_back_slots();
    return status;
  }
  Status submit(IoRequest& request, Start start, const QosCost& cost) noexcept;
  void give_back_slots() noexcept;
  unsigned start_granted() noexcept;
  unsigned start_list(QosHeldList list) noexcept;
  void sleep() noexcept;

  Queue queue_;
  const std::uint32_t depth_;
  const std::shared_ptr<QosFlowState> flow_;
  QosScheduler& scheduler_;
  Line line_;
  std::uint32_t held_ = 0;   // in the line, granted or not
  std::uint32_t slots_ = 0;  // of the host's, for what is under way here
  bool timer_set_ = false;
  Fd either_;
};

}  // namespace openvhd::detail
