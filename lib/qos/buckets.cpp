#include "qos/buckets.hpp"

#include <algorithm>

namespace openvhd::detail {
namespace {

TokenBucket::Limit bucket_limit(std::uint64_t rate, std::uint64_t burst,
                                std::uint64_t one_time) noexcept {
  const std::uint64_t collected = burst != 0 ? burst : std::max<std::uint64_t>(rate / 10, 1);
  return {.rate = rate, .burst = collected, .one_time = one_time};
}

std::uint64_t batch_of(const TokenBucket& bucket) noexcept {
  return bucket.limited() ? bucket.limit().burst / 64 : TokenBucket::kNever;
}

/// From both, or from neither.
std::uint64_t lend_of(TokenBucket& one, TokenBucket& other) noexcept {
  const std::uint64_t batch = std::min(batch_of(one), batch_of(other));
  if (one.limited() && !one.lend(batch)) return 0;
  if (other.limited() && !other.lend(batch)) {
    if (one.limited()) one.give_back(batch, batch);
    return 0;
  }
  return batch;
}

}  // namespace

TokenBucket::Limit QosBuckets::operations_of(const QosLimits& limits) noexcept {
  return bucket_limit(limits.iops, limits.iops_burst, limits.iops_one_time);
}
TokenBucket::Limit QosBuckets::bytes_of(const QosLimits& limits) noexcept {
  return bucket_limit(limits.bytes_per_second, limits.bytes_burst, limits.bytes_one_time);
}

std::uint64_t QosBuckets::ready_at(std::uint64_t now_ns) const noexcept {
  return std::max(operations_.ready_at(now_ns), bytes_.ready_at(now_ns));
}

QosCost QosBuckets::lend(QosBuckets& policy, QosBuckets& host) noexcept {
  return {.operations = lend_of(policy.operations_, host.operations_),
          .bytes = lend_of(policy.bytes_, host.bytes_)};
}

void QosBuckets::give_back(const QosCost& lent, const QosCost& left,
                           std::uint64_t now_ns) noexcept {
  if (operations_.limited()) {
    operations_.refill(now_ns);
    operations_.give_back(lent.operations, left.operations);
  }
  if (bytes_.limited()) {
    bytes_.refill(now_ns);
    bytes_.give_back(lent.bytes, left.bytes);
  }
}

}  // namespace openvhd::detail
