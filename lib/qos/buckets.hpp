/// The two limits of a policy or a host, operations and bytes, visited together.
#pragma once

#include <cstdint>
#include <openvhd/qos.hpp>

#include "qos/token_bucket.hpp"

namespace openvhd::detail {

struct QosCost {
  std::uint64_t operations = 1;  ///< Normalised.
  std::uint64_t bytes = 0;
};

class QosBuckets {
 public:
  QosBuckets(const QosLimits& limits, std::uint64_t now_ns) noexcept
      : operations_{operations_of(limits), now_ns}, bytes_{bytes_of(limits), now_ns} {}

  void change(const QosLimits& limits, std::uint64_t now_ns) noexcept {
    operations_.change(operations_of(limits), now_ns);
    bytes_.change(bytes_of(limits), now_ns);
    ++epoch_;
  }
  bool ready(std::uint64_t now_ns) noexcept {
    const bool operations = operations_.ready(now_ns);
    return bytes_.ready(now_ns) && operations;
  }
  std::uint64_t ready_at(std::uint64_t now_ns) const noexcept;
  /// What collects until now has its bounds before anything is taken, not after.
  void take(const QosCost& cost, std::uint64_t now_ns) noexcept {
    ready(now_ns);
    operations_.take(cost.operations);
    bytes_.take(cost.bytes);
  }
  void rebase(std::uint64_t now_ns) noexcept {
    operations_.rebase(now_ns);
    bytes_.rebase(now_ns);
  }
  /// Counts the changes: what was lent before one is not given back after it.
  std::uint64_t epoch() const noexcept { return epoch_; }

  /// What a cache may have that draws on both. kNever of what neither limits.
  static QosCost lend(QosBuckets& policy, QosBuckets& host) noexcept;
  void give_back(const QosCost& lent, const QosCost& left, std::uint64_t now_ns) noexcept;

 private:
  static TokenBucket::Limit operations_of(const QosLimits& limits) noexcept;
  static TokenBucket::Limit bytes_of(const QosLimits& limits) noexcept;

  TokenBucket operations_;
  TokenBucket bytes_;
  std::uint64_t epoch_ = 1;
};

}  // namespace openvhd::detail
