#include "qos/qos_queue.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>

#include "io/readiness.hpp"

namespace openvhd::detail {

Result<std::unique_ptr<QosQueueState>> QosQueueState::open(Queue queue, std::uint32_t depth,
                                                           std::shared_ptr<QosPolicyState> policy) {
  auto state = std::make_unique<QosQueueState>(std::move(queue), depth, std::move(policy));
  if (!state->timer_)
    return Error{.code = Errc::io, .sys_errno = errno, .what = "no timer for a throttled queue"};
  return state;
}

QosQueueState::QosQueueState(Queue queue, std::uint32_t depth,
                             std::shared_ptr<QosPolicyState> policy) noexcept
    : queue_{std::move(queue)}, depth_{depth}, policy_{std::move(policy)} {}

QosQueueState::~QosQueueState() {
  // `done` may start others meanwhile: they begin at once as well.
  while (held_ != 0) {
    release(true);
    if (held_ != 0 && queue_.wait() == 0) continue;
  }
  policy_->leave(cache_);
}

Status QosQueueState::hold(IoRequest& request, Start start, const Cost& cost) noexcept {
  if (held_ + queue_.under_way() >= depth_)
    return Error{.code = Errc::busy, .what = "the queue is at its depth"};
  auto* const held = ::new (request.state_.data())
      Held{.request = &request, .start = start, .cost = cost, .since_ns = policy_->now_ns()};
  (first_ == nullptr ? first_ : last_->next) = held;
  last_ = held;
  ++held_;
  policy_->add_held(1);
  return Ok{};
}

/// Begins what may begin, or all. Returns for how many `done` ran, because Queue refused them.
unsigned QosQueueState::release(bool all) noexcept {
  unsigned refused = 0;
  bool released = false;
  // Those that are held now, and none that `done` adds: a request that is refused, and submitted
  // again each time, would keep this going.
  for (std::uint32_t most = held_; most != 0 && first_ != nullptr; --most) {
    const Held held = *first_;  // its memory is the queue's from its start on
    if (all) {
      policy_->charge(cache_, held.cost);
    } else if (!policy_->admit(cache_, held.cost)) {
      break;
    }
    released = true;
    first_ = held.next;
    --held_;
    policy_->add_held(-1);
    ++cache_.throttled;
    const std::uint64_t now = policy_->now_ns();
    if (now > held.since_ns) cache_.throttled_ns += now - held.since_ns;
    if (const Status status = held.start(queue_, *held.request); !status) {
      ++refused;
      held.request->done(*held.request, status);
    }
  }
  if (released) policy_->leave(cache_);  // which reports them
  return refused;
}

void QosQueueState::set_timer() noexcept {
  if (first_ == nullptr) {
    if (timer_set_) timer_.clear();
    timer_set_ = false;
    return;
  }
  const std::uint64_t now = policy_->now_ns();
  const std::uint64_t at = policy_->ready_at();
  timer_.set(at > now ? std::min(at - now, kLongestWaitNs) : 1);
  timer_set_ = true;
}

unsigned QosQueueState::poll() noexcept {
  unsigned done = first_ != nullptr ? release(false) : 0;
  done += queue_.poll();
  // Only who waits for a descriptor needs the timer.
  if (either_ && (first_ != nullptr || timer_set_)) set_timer();
  return done;
}

unsigned QosQueueState::wait() noexcept {
  while (first_ != nullptr) {
    queue_.descriptor();  // poll() then sees to it that it tells
    if (const unsigned done = poll(); done != 0) return done;
    if (first_ == nullptr) break;
    set_timer();
    const std::array<Readiness, 2> on{
        Readiness{.descriptor = queue_.under_way() != 0 ? queue_.descriptor() : -1,
                  .events = POLLIN},
        Readiness{.descriptor = timer_.descriptor(), .events = POLLIN}};
    wait_ready(on, -1);
  }
  return queue_.wait();
}

int QosQueueState::descriptor() noexcept {
  if (!either_) either_ = either_readable(queue_.descriptor(), timer_.descriptor());
  return either_.get();
}

}  // namespace openvhd::detail
