/// What a scheduler decides about: groups of flows, flows, and the lines of requests in front of
/// queues. Everything is the scheduler's mutex's, but what is said to be the queue's thread's.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "qos/buckets.hpp"
#include "qos/meter.hpp"
#include "qos/shares.hpp"

namespace openvhd::detail {

class QosScheduler;
struct QosGroup;
struct QosFlowNode;

/// A request that waits. Linked through itself: waiting takes no memory but its own.
struct QosHeld {
  QosHeld* next = nullptr;
  QosCost cost{};
  std::uint64_t since_ns = 0;
  bool slot = false;  ///< It counts among those that are under way on the host.
};

class QosHeldList {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  std::uint32_t size() const noexcept { return size_; }
  void push(QosHeld& held) noexcept {
    held.next = nullptr;
    (first_ == nullptr ? first_ : last_->next) = &held;
    last_ = &held;
    ++size_;
  }
  QosHeld* pop() noexcept {
    QosHeld* const held = first_;
    first_ = held->next;
    --size_;
    return held;
  }

 private:
  QosHeld* first_ = nullptr;
  QosHeld* last_ = nullptr;
  std::uint32_t size_ = 0;
};

/// Written by one thread, read by any.
class QosCount {
 public:
  void add(std::uint64_t more) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
  }
  std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct QosTotals {
  std::uint64_t operations = 0;
  std::uint64_t bytes = 0;
  std::uint64_t throttled = 0;
  std::uint64_t throttled_ns = 0;
  std::uint64_t held = 0;

  QosTotals& operator+=(const QosTotals& more) noexcept {
    operations += more.operations;
    bytes += more.bytes;
    throttled += more.throttled;
    throttled_ns += more.throttled_ns;
    held += more.held;
    return *this;
  }
};

/// The requests in front of one queue, and the tokens that it may use without asking. Its share is
/// that of its flow.
struct QosLine : Share {
  /// The queue's thread's; what it takes from the scheduler it takes under the mutex.
  struct Cache {
    std::uint64_t generation = 0;  ///< Of its group when it was lent; 0: never.
    QosCost left{0, 0};
    QosCost lent{0, 0};
    std::uint64_t policy_epoch = 0;
    std::uint64_t host_epoch = 0;
    std::uint64_t io_size = 1;
    bool slots = false;  ///< The host counts what is under way.
  };

  QosFlowNode* flow = nullptr;
  QosGroup* group = nullptr;
  Cache cache;
  QosCount operations;  // these are written by the queue's thread
  QosCount bytes;
  QosCount throttled;
  QosCount throttled_ns;

  QosHeldList waiting;
  QosHeldList granted;  ///< May begin, are paid for, and are to be fetched by the queue's thread.
  bool asleep = false;  ///< Somebody has to wake it when something is granted.
  QosLine* sleeps_before = nullptr;  ///< Of those that sleep, the one that does so longer.
  QosLine* sleeps_after = nullptr;
  void (*wake)(QosLine&, std::uint64_t in_ns) noexcept = nullptr;  ///< After so long, once.

  /// The queue's thread: begins without asking, if it can.
  bool admit(const QosCost& cost) noexcept;
  void began(const QosCost& cost) noexcept {
    operations.add(cost.operations);
    bytes.add(cost.bytes);
  }
  QosTotals totals() const noexcept {
    return {.operations = operations.get(),
            .bytes = bytes.get(),
            .throttled = throttled.get(),
            .throttled_ns = throttled_ns.get(),
            .held = std::uint64_t{waiting.size()} + granted.size()};
  }
};

/// A disk. Its share is that of its group.
struct QosFlowNode : Share {
  QosGroup* group = nullptr;
  Shares waiting;  ///< Lines that have something waiting.
  std::vector<QosLine*> lines;
  QosTotals past;  ///< Of lines that are no more.
  Meter operations;
  Meter bytes;

  QosTotals totals() const noexcept {
    QosTotals sum = past;
    for (const QosLine* line : lines) sum += line->totals();
    return sum;
  }
};

/// What mClock calls a client: an aggregated policy, or one flow of a dedicated one.
struct QosGroup : Share {
  QosGroup(const QosLimits& what, std::uint64_t now_ns) noexcept
      : limits{what}, buckets{what, now_ns} {
    weight = what.weight;
    meter.start(now_ns);
  }

  QosLimits limits;
  QosBuckets buckets;
  /// Goes up whenever caches of its queues are not to be used any more.
  std::atomic<std::uint64_t> generation{1};
  Shares waiting;  ///< Flows that have something waiting.
  std::vector<QosFlowNode*> flows;

  // One of: in none, delayed, or ready (then among the shares, and perhaps the reservations).
  std::uint64_t ready_at = 0;  ///< While it is delayed by its own limits.
  std::uint32_t delayed_place = kNotInHeap;
  std::uint64_t reserved_at = 0;    ///< When its next reserved request is due.
  std::uint64_t reserved_rest = 0;  ///< Below a nanosecond of that, in 1 / min_iops.
  std::uint32_t reserved_place = kNotInHeap;

  std::uint64_t ready_since = 0;
  std::uint64_t ready_ns = 0;  ///< Waited for the host, since the meter rolled.
  Meter meter;
  std::uint64_t past_operations = 0;  ///< Of flows that are no more.
  std::uint64_t largest = 0;          ///< Reserved request since the meter rolled, in operations.
  bool insufficient = false;

  bool ready() const noexcept { return place != kNotInHeap; }
  bool delayed() const noexcept { return delayed_place != kNotInHeap; }
  /// One more reserved request of so many operations; the next one is due later by their time.
  void advance_reservation(std::uint64_t operations) noexcept;
  void roll(std::uint64_t now_ns) noexcept;
};

inline bool QosLine::admit(const QosCost& cost) noexcept {
  if (cache.generation != group->generation.load(std::memory_order_acquire)) return false;
  if (cache.left.operations < cost.operations || cache.left.bytes < cost.bytes) return false;
  // What is unlimited is TokenBucket::kNever, and is lent anew should it ever come to an end.
  cache.left.operations -= cost.operations;
  cache.left.bytes -= cost.bytes;
  return true;
}

}  // namespace openvhd::detail
