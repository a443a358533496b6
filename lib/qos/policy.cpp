#include "qos/policy.hpp"

#include <algorithm>

#include "io/event.hpp"

namespace openvhd::detail {
namespace {

std::uint64_t host_clock(void*) noexcept { return monotonic_ns(); }

TokenBucket::Limit bucket_limit(std::uint64_t rate, std::uint64_t burst,
                                std::uint64_t one_time) noexcept {
  const std::uint64_t collected = burst != 0 ? burst : std::max<std::uint64_t>(rate / 10, 1);
  return {.rate = rate, .burst = collected, .one_time = one_time};
}
TokenBucket::Limit operations_of(const QosLimits& limits) noexcept {
  return bucket_limit(limits.iops, limits.iops_burst, limits.iops_one_time);
}
TokenBucket::Limit bytes_of(const QosLimits& limits) noexcept {
  return bucket_limit(limits.bytes_per_second, limits.bytes_burst, limits.bytes_one_time);
}

}  // namespace

QosPolicyState::QosPolicyState(const QosLimits& limits, const QosClock& clock) noexcept
    : clock_{clock.now_ns != nullptr ? clock : QosClock{host_clock, nullptr}},
      limits_{limits},
      operations_{operations_of(limits), now_ns()},
      bytes_{bytes_of(limits), now_ns()} {}

Status QosPolicyState::check(const QosLimits& limits) noexcept {
  if (limits.io_size < 512 || limits.io_size > (std::uint64_t{1} << 30))
    return Error{.code = Errc::invalid, .what = "QosLimits::io_size is 512 bytes to 1 GiB"};
  return Ok{};
}

void QosPolicyState::settle(Cache& cache) noexcept {
  // What was lent under other limits is forgotten: their change took it off the books.
  if (cache.generation == generation_.load(std::memory_order_relaxed)) {
    if (operations_.limited()) operations_.give_back(cache.lent.operations, cache.left.operations);
    if (bytes_.limited()) bytes_.give_back(cache.lent.bytes, cache.left.bytes);
  }
  done_.operations += cache.used.operations;
  done_.bytes += cache.used.bytes;
  done_.throttled += cache.throttled;
  done_.throttled_ns += cache.throttled_ns;
  cache =
      Cache{.generation = generation_.load(std::memory_order_relaxed), .io_size = limits_.io_size};
}

std::uint64_t QosPolicyState::lend(TokenBucket& bucket) noexcept {
  if (!bucket.limited()) return kNever;
  const std::uint64_t batch = bucket.limit().burst / 64;
  return bucket.lend(batch) ? batch : 0;
}

bool QosPolicyState::visit(Cache& cache, const Cost& cost) noexcept {
  const std::uint64_t now = now_ns();
  const std::scoped_lock lock{mutex_};
  settle(cache);
  const bool operations_ready = operations_.ready(now);
  if (!bytes_.ready(now) || !operations_ready) return false;
  operations_.take(cost.operations);
  bytes_.take(cost.bytes);
  done_.operations += cost.operations;
  done_.bytes += cost.bytes;
  cache.lent = {lend(operations_), lend(bytes_)};
  cache.left = cache.lent;
  return true;
}

void QosPolicyState::charge(Cache& cache, const Cost& cost) noexcept {
  const std::scoped_lock lock{mutex_};
  settle(cache);
  operations_.take(cost.operations);
  bytes_.take(cost.bytes);
  done_.operations += cost.operations;
  done_.bytes += cost.bytes;
}

void QosPolicyState::leave(Cache& cache) noexcept {
  const std::scoped_lock lock{mutex_};
  settle(cache);
}

std::uint64_t QosPolicyState::ready_at() const noexcept {
  const std::uint64_t now = now_ns();
  const std::scoped_lock lock{mutex_};
  return std::max(operations_.ready_at(now), bytes_.ready_at(now));
}

void QosPolicyState::set_limits(const QosLimits& limits) noexcept {
  const std::uint64_t now = now_ns();
  const std::scoped_lock lock{mutex_};
  operations_.change(operations_of(limits), now);
  bytes_.change(bytes_of(limits), now);
  limits_ = limits;
  generation_.fetch_add(1, std::memory_order_release);
}

QosLimits QosPolicyState::limits() const noexcept {
  const std::scoped_lock lock{mutex_};
  return limits_;
}

QosStatus QosPolicyState::status() const noexcept {
  const std::scoped_lock lock{mutex_};
  QosStatus status = done_;
  status.held = held_.load(std::memory_order_relaxed);
  return status;
}

}  // namespace openvhd::detail
