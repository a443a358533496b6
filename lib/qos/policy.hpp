/// What is behind a QosPolicy: two buckets that queues visit, in batches where the limits admit it.
#pragma once

#include <atomic>
#include <mutex>
#include <openvhd/qos.hpp>

#include "qos/token_bucket.hpp"

namespace openvhd::detail {

class QosPolicyState {
 public:
  static constexpr std::uint64_t kNever = TokenBucket::kNever;

  struct Cost {
    std::uint64_t operations = 1;
    std::uint64_t bytes = 0;
  };

  /// One queue's share of the tokens, and what it has done since its last visit. The queue's
  /// thread's alone.
  struct Cache {
    std::uint64_t generation = 0;  ///< Of the limits that it was lent under; 0: never visited.
    Cost left{0, 0};
    Cost lent{0, 0};
    Cost used{0, 0};
    std::uint64_t io_size = 1;
    std::uint32_t requests = 0;  ///< Since the last visit.
    std::uint64_t throttled = 0;
    std::uint64_t throttled_ns = 0;
  };
  static constexpr std::uint32_t kMostUnreported = 256;

  QosPolicyState(const QosLimits& limits, const QosClock& clock) noexcept;

  static Status check(const QosLimits& limits) noexcept;
  std::uint64_t now_ns() const noexcept { return clock_.now_ns(clock_.context); }

  /// True: the request may begin, and has been paid for. Takes no lock while the cache suffices.
  bool admit(Cache& cache, const Cost& cost) noexcept {
    if (current(cache) && cache.left.operations >= cost.operations &&
        cache.left.bytes >= cost.bytes && cache.requests < kMostUnreported) {
      pay(cache, cost);
      return true;
    }
    return visit(cache, cost);
  }
  bool current(const Cache& cache) const noexcept {
    return cache.generation == generation_.load(std::memory_order_acquire);
  }
  /// Pays without asking.
  void charge(Cache& cache, const Cost& cost) noexcept;
  /// What the cache has goes back.
  void leave(Cache& cache) noexcept;
  /// When a request may begin at the earliest.
  std::uint64_t ready_at() const noexcept;
  void add_held(std::int32_t change) noexcept {
    held_.fetch_add(static_cast<std::uint32_t>(change), std::memory_order_relaxed);
  }

  void set_limits(const QosLimits& limits) noexcept;
  QosLimits limits() const noexcept;
  QosStatus status() const noexcept;

 private:
  static void pay(Cache& cache, const Cost& cost) noexcept {
    // What is unlimited is kNever, and stays more than anybody can use before the next visit.
    cache.left.operations -= cost.operations;
    cache.left.bytes -= cost.bytes;
    cache.used.operations += cost.operations;
    cache.used.bytes += cost.bytes;
    ++cache.requests;
  }
  bool visit(Cache& cache, const Cost& cost) noexcept;
  void settle(Cache& cache) noexcept;
  static std::uint64_t lend(TokenBucket& bucket) noexcept;

  const QosClock clock_;
  std::atomic<std::uint64_t> generation_{1};
  std::atomic<std::uint32_t> held_{0};
  mutable std::mutex mutex_;  // of what follows
  QosLimits limits_;
  TokenBucket operations_;
  TokenBucket bytes_;
  QosStatus done_;
};

}  // namespace openvhd::detail
