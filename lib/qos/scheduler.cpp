#include "qos/scheduler.hpp"

#include <algorithm>

#include "io/event.hpp"

namespace openvhd::detail {
namespace {

std::uint64_t host_clock(void*) noexcept { return monotonic_ns(); }

QosLimits buckets_of(const QosHostLimits& limits) noexcept {
  return {.iops = limits.iops,
          .iops_burst = limits.iops_burst,
          .bytes_per_second = limits.bytes_per_second,
          .bytes_burst = limits.bytes_burst};
}

std::uint64_t since(std::uint64_t now, std::uint64_t then) noexcept {
  return now > then ? now - then : 0;
}

}  // namespace

QosScheduler::QosScheduler(const QosHostLimits& limits, const QosClock& clock) noexcept
    : clock_{clock.now_ns != nullptr ? clock : QosClock{host_clock, nullptr}},
      slots_{limits.in_flight},
      limits_{limits},
      last_ns_{now_ns()},
      host_{buckets_of(limits), last_ns_} {}

// The clock is read under the mutex, so that it goes back only when it does.
std::uint64_t QosScheduler::look() noexcept {
  const std::uint64_t now = now_ns();
  if (now >= last_ns_) {
    last_ns_ = now;
  } else if (last_ns_ - now >= kBackNs) {
    rebase(now);
  }
  return last_ns_;
}

void QosScheduler::rebase(std::uint64_t now) noexcept {
  last_ns_ = now;
  last_grant_ns_ = std::min(last_grant_ns_, now);
  last_share_ns_ = std::min(last_share_ns_, now);
  host_.rebase(now);
  for (QosGroup* group : groups_) {
    group->buckets.rebase(now);
    group->ready_since = std::min(group->ready_since, now);
    group->ready_ns = 0;
    group->meter.start(now);
    group->reserved_at = std::min(group->reserved_at, now);
    if (reserved_.holds(*group)) reserved_.moved(*group);
    if (group->delayed()) {
      group->ready_at = group->buckets.ready_at(now);
      delayed_.moved(*group);
    }
  }
}

// What was lent under other limits is forgotten: their change took it off the books.
void QosScheduler::settle(QosLine& line, std::uint64_t now) noexcept {
  QosGroup& group = *line.group;
  auto& cache = line.cache;
  if (cache.policy_epoch == group.buckets.epoch())
    group.buckets.give_back(cache.lent, cache.left, now);
  if (cache.host_epoch == host_.epoch()) host_.give_back(cache.lent, cache.left, now);
  cache = {.generation = group.generation.load(std::memory_order_relaxed),
           .io_size = group.limits.io_size,
           .slots = limits_.in_flight != 0};
}

void QosScheduler::refresh(QosLine& line) noexcept {
  const std::scoped_lock lock{mutex_};
  settle(line, look());
}

bool QosScheduler::submit(QosLine& line, QosHeld& held) noexcept {
  const std::scoped_lock lock{mutex_};
  const std::uint64_t now = look();
  settle(line, now);
  QosGroup& group = *line.group;
  if (!shares_.empty() || !delayed_.empty()) dispatch(now);
  if (group.waiting.empty() && shares_.empty() && group.buckets.ready(now) &&
      host_admits(now, held.slot)) {
    group.buckets.take(held.cost, now);
    host_.take(held.cost, now);
    auto& cache = line.cache;
    cache.lent = cache.left = QosBuckets::lend(group.buckets, host_);
    cache.policy_epoch = group.buckets.epoch();
    cache.host_epoch = host_.epoch();
    return true;
  }
  held.since_ns = now;
  const bool first = line.waiting.empty();
  line.waiting.push(held);
  if (first) enlist(line, now);
  dispatch(now);
  return false;
}

void QosScheduler::enlist(QosLine& line, std::uint64_t now) noexcept {
  QosFlowNode& flow = *line.flow;
  QosGroup& group = *line.group;
  const bool first_of_flow = flow.waiting.empty();
  flow.waiting.join(line);
  if (!first_of_flow) return;
  const bool first_of_group = group.waiting.empty();
  group.waiting.join(flow);
  if (!first_of_group) return;
  // The others of the group get in line behind, too.
  group.generation.fetch_add(1, std::memory_order_release);
  place(group, now, 0);
}

/// Nothing waits in it any more.
void QosScheduler::delist(QosLine& line) noexcept {
  QosFlowNode& flow = *line.flow;
  flow.waiting.leave(line);
  if (flow.waiting.empty()) line.group->waiting.leave(flow);
}

/// Puts one that has something waiting where it belongs.
void QosScheduler::place(QosGroup& group, std::uint64_t now, std::uint64_t arrears) noexcept {
  if (!group.buckets.ready(now)) {
    group.ready_at = group.buckets.ready_at(now);
    delayed_.push(group);
    return;
  }
  if (shares_.empty()) last_grant_ns_ = last_share_ns_ = now;
  shares_.join(group);
  group.ready_since = now;
  if (group.limits.min_iops == 0) return;
  group.reserved_at = std::max(group.reserved_at, since(now, arrears));
  reserved_.push(group);
}

void QosScheduler::unplace(QosGroup& group, std::uint64_t now) noexcept {
  if (group.delayed()) delayed_.remove(group);
  if (!group.ready()) return;
  group.ready_ns += since(now, group.ready_since);
  shares_.leave(group);
  if (reserved_.holds(group)) reserved_.remove(group);
}

bool QosScheduler::host_admits(std::uint64_t now, bool& slot) noexcept {
  slot = false;
  if (!host_.ready(now)) return false;
  if (limits_.in_flight == 0) return true;
  if (!take_slot()) {
    if (shares_.empty() || since(now, last_grant_ns_) < kLongestWaitNs) return false;
    in_flight_.fetch_add(1);
  }
  slot = true;
  return true;
}

std::uint64_t QosScheduler::host_ready_at(std::uint64_t now) const noexcept {
  const std::uint64_t at = host_.ready_at(now);
  return at > now || limits_.in_flight == 0 ? at : last_grant_ns_ + kLongestWaitNs;
}

QosLine& QosScheduler::next_line(const QosGroup& group) noexcept {
  return static_cast<QosLine&>(*static_cast<QosFlowNode*>(group.waiting.next())->waiting.next());
}

void QosScheduler::grant(QosGroup& group, bool reserved, bool slot, std::uint64_t now) noexcept {
  QosLine& line = next_line(group);
  QosHeld& held = *line.waiting.pop();
  held.slot = slot;
  line.granted.push(held);
  group.buckets.take(held.cost, now);
  host_.take(held.cost, now);
  line.flow->waiting.serve(line, held.cost.operations);
  group.waiting.serve(*line.flow, held.cost.operations);
  last_grant_ns_ = now;
  if (reserved) {
    group.advance_reservation(held.cost.operations);
    reserved_.moved(group);
  } else {
    last_share_ns_ = now;
    shares_.serve(group, held.cost.operations);
  }
  if (line.waiting.empty()) delist(line);
  if (group.waiting.empty()) {
    unplace(group, now);
  } else if (!group.buckets.ready(now)) {
    unplace(group, now);
    place(group, now, kArrearsNs);
  }
  if (group.meter.is_due(now)) group.roll(now);
  if (line.asleep) {
    rouse(line);
    line.wake(line, 1);
  }
}

void QosScheduler::grant_all(std::uint64_t now) noexcept {
  for (;;) {
    while (!delayed_.empty() && delayed_.top()->ready_at <= now) {
      QosGroup& group = *delayed_.top();
      delayed_.remove(group);
      place(group, now, kArrearsNs);
    }
    bool slot = false;
    if (shares_.empty() || !host_admits(now, slot)) return;
    // Should reservations take all that there is, the others still get a little.
    const bool patient = since(now, last_share_ns_) < kLongestWaitNs;
    QosGroup* const due = reserved_.top();
    if (due != nullptr && due->reserved_at <= now && patient) {
      due->reserved_at = std::max(due->reserved_at, since(now, kArrearsNs));
      grant(*due, true, slot, now);
    } else {
      grant(static_cast<QosGroup&>(*shares_.next()), false, slot, now);
    }
  }
}

/// Decides whatever can be decided now.
void QosScheduler::dispatch(std::uint64_t now) noexcept {
  grant_all(now);
  if (!shares_.empty() && !contended_.load(std::memory_order_relaxed)) {
    // Who gives slots back from here on sees this, and dispatches; what came back before is seen
    // here.
    contended_.store(true);
    grant_all(now);
  }
  if (shares_.empty()) contended_.store(false);
  name_leader(now);
}

void QosScheduler::dispatch_now() noexcept {
  const std::scoped_lock lock{mutex_};
  dispatch(look());
}

/// Of those that sleep, the one whose turn is next wakes when it may be: the others need not.
/// Should that one's thread be busy, the one that has slept longest does.
void QosScheduler::name_leader(std::uint64_t now) noexcept {
  const QosGroup* const group =
      shares_.empty() ? delayed_.top() : static_cast<const QosGroup*>(shares_.next());
  if (group == nullptr || first_asleep_ == nullptr) {
    leader_ = nullptr;
    return;
  }
  const std::uint64_t at = shares_.empty() ? group->ready_at : host_ready_at(now);
  QosLine& next = next_line(*group);
  QosLine& line = next.asleep ? next : *first_asleep_;
  if (leader_ == &line && leader_at_ == at) return;
  leader_ = &line;
  leader_at_ = at;
  line.wake(line, at > now ? std::min(at - now, kLongestWaitNs) : 1);
}

void QosScheduler::fall_asleep(QosLine& line) noexcept {
  if (line.asleep) return;
  line.asleep = true;
  line.sleeps_before = last_asleep_;
  line.sleeps_after = nullptr;
  (last_asleep_ == nullptr ? first_asleep_ : last_asleep_->sleeps_after) = &line;
  last_asleep_ = &line;
}

void QosScheduler::rouse(QosLine& line) noexcept {
  if (leader_ == &line) leader_ = nullptr;
  if (!line.asleep) return;
  line.asleep = false;
  (line.sleeps_before == nullptr ? first_asleep_ : line.sleeps_before->sleeps_after) =
      line.sleeps_after;
  (line.sleeps_after == nullptr ? last_asleep_ : line.sleeps_after->sleeps_before) =
      line.sleeps_before;
}

QosHeldList QosScheduler::collect(QosLine& line) noexcept {
  const std::scoped_lock lock{mutex_};
  rouse(line);
  dispatch(look());
  return std::exchange(line.granted, {});
}

QosHeldList QosScheduler::drain(QosLine& line) noexcept {
  const std::scoped_lock lock{mutex_};
  const std::uint64_t now = look();
  rouse(line);
  if (!line.waiting.empty()) {
    while (!line.waiting.empty()) {
      QosHeld& held = *line.waiting.pop();
      line.group->buckets.take(held.cost, now);
      host_.take(held.cost, now);
      line.granted.push(held);
    }
    delist(line);
    if (line.group->waiting.empty()) unplace(*line.group, now);
    dispatch(now);
  }
  return std::exchange(line.granted, {});
}

void QosScheduler::sleep(QosLine& line) noexcept {
  const std::scoped_lock lock{mutex_};
  if (!line.granted.empty()) return line.wake(line, 1);
  rouse(line);  // its timer is to be set anew
  fall_asleep(line);
  dispatch(look());
  if (line.asleep && leader_ != &line) line.wake(line, kLongestWaitNs);
}

}  // namespace openvhd::detail
