#include "qos/qos_queue.hpp"

#include <poll.h>

#include <array>
#include <cerrno>
#include <new>

#include "io/readiness.hpp"

namespace openvhd::detail {

Result<std::unique_ptr<QosQueueState>> QosQueueState::open(Queue queue, std::uint32_t depth,
                                                           std::shared_ptr<QosFlowState> flow) {
  auto state = std::make_unique<QosQueueState>(std::move(queue), depth, std::move(flow));
  if (!state->line_.timer)
    return Error{.code = Errc::io, .sys_errno = errno, .what = "no timer for a throttled queue"};
  return state;
}

QosQueueState::QosQueueState(Queue queue, std::uint32_t depth, std::shared_ptr<QosFlowState> flow)
    : queue_{std::move(queue)},
      depth_{depth},
      flow_{std::move(flow)},
      scheduler_{flow_->scheduler()} {
  line_.flow = &flow_->node();
  line_.group = flow_->node().group;
  line_.wake = [](QosLine& line, std::uint64_t in_ns) noexcept {
    static_cast<Line&>(line).timer.set(in_ns);
  };
  scheduler_.add(line_);
}

QosQueueState::~QosQueueState() {
  // `done` may start others meanwhile: they begin at once as well.
  while (held_ != 0) {
    start_list(scheduler_.drain(line_));
    if (held_ != 0) queue_.wait();
  }
  while (queue_.wait() != 0) {
    while (held_ != 0) start_list(scheduler_.drain(line_));
  }
  give_back_slots();
  scheduler_.remove(line_);
}

/// What the cache does not admit: the scheduler decides.
Status QosQueueState::submit(IoRequest& request, Start start, const QosCost& cost) noexcept {
  if (held_ + queue_.under_way() >= depth_)
    return Error{.code = Errc::busy, .what = "the queue is at its depth"};
  give_back_slots();
  auto* const held = ::new (request.state_.data()) Held{};
  held->cost = cost;
  held->request = &request;
  held->start = start;
  // Another thread may grant it before this one goes on, but only this one fetches it.
  if (!scheduler_.submit(line_, *held)) {
    ++held_;
    return Ok{};
  }
  slots_ += held->slot ? 1 : 0;
  return start_begun(request, start, cost);
}

void QosQueueState::give_back_slots() noexcept {
  const std::uint32_t used = queue_.under_way();
  if (slots_ <= used) return;
  const std::uint32_t free = slots_ - used;
  slots_ = used;
  scheduler_.give_back_slots(free);
}

/// Returns for how many `done` ran, because Queue refused them.
unsigned QosQueueState::start_granted() noexcept { return start_list(scheduler_.collect(line_)); }

unsigned QosQueueState::start_list(QosHeldList list) noexcept {
  unsigned refused = 0;
  const std::uint64_t now = list.empty() ? 0 : scheduler_.now_ns();
  while (!list.empty()) {
    const Held held = static_cast<Held&>(*list.pop());  // its memory is the queue's from here on
    --held_;
    slots_ += held.slot ? 1 : 0;
    line_.began(held.cost);
    line_.throttled.add(1);
    if (now > held.since_ns) line_.throttled_ns.add(now - held.since_ns);
    if (const Status status = held.start(queue_, *held.request); !status) {
      ++refused;
      held.request->done(*held.request, status);
    }
  }
  return refused;
}

/// Sees to it that the timer's descriptor tells when there is something to fetch.
void QosQueueState::sleep() noexcept {
  if (held_ != 0) {
    scheduler_.sleep(line_);
  } else if (timer_set_) {
    line_.timer.clear();
  }
  timer_set_ = held_ != 0;
}

unsigned QosQueueState::poll() noexcept {
  unsigned done = held_ != 0 ? start_granted() : 0;
  done += queue_.poll();
  if (slots_ != 0) {
    give_back_slots();
    // What ended may have made room for what is held here: submitted by the same call.
    if (held_ != 0 && done != 0) {
      done += start_granted();
      done += queue_.poll();
      give_back_slots();
    }
  }
  // Only who waits for a descriptor needs the timer.
  if (either_ && (held_ != 0 || timer_set_)) sleep();
  return done;
}

unsigned QosQueueState::wait() noexcept {
  while (held_ != 0) {
    queue_.descriptor();  // poll() then sees to it that it tells
    if (const unsigned done = poll(); done != 0) return done;
    if (held_ == 0) break;
    sleep();
    const std::array<Readiness, 2> on{
        Readiness{.descriptor = queue_.under_way() != 0 ? queue_.descriptor() : -1,
                  .events = POLLIN},
        Readiness{.descriptor = line_.timer.descriptor(), .events = POLLIN}};
    wait_ready(on, -1);
  }
  const unsigned done = queue_.wait();
  give_back_slots();
  return done;
}

int QosQueueState::descriptor() noexcept {
  if (!either_) either_ = either_readable(queue_.descriptor(), line_.timer.descriptor());
  return either_.get();
}

}  // namespace openvhd::detail
