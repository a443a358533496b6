/// Quality of service: limits on what queues may ask of their disks.
#pragma once

#include <cstdint>
#include <memory>
#include <openvhd/error.hpp>
#include <openvhd/queue.hpp>

namespace openvhd {

namespace detail {
class QosPolicyState;
class QosQueueState;
}  // namespace detail

/// Upper bounds. In any time, no more is begun than burst + rate x time + one request.
struct QosLimits {
  std::uint64_t iops = 0;              ///< Operations per second; 0: unlimited.
  std::uint64_t iops_burst = 0;        ///< Operations that may collect; 0: a tenth of a second's.
  std::uint64_t iops_one_time = 0;     ///< Once, from the start, above the burst.
  std::uint64_t bytes_per_second = 0;  ///< Of reads and writes; 0: unlimited.
  std::uint64_t bytes_burst = 0;       ///< Bytes that may collect; 0: a tenth of a second's.
  std::uint64_t bytes_one_time = 0;    ///< Once, from the start, above the burst.
  /// A read or write counts as one operation for each so many bytes that it begins, 512 to 1 GiB;
  /// everything else is one.
  std::uint64_t io_size = 8192;
};

/// What queues of a policy have done. Counts lag behind by what each queue has done since it last
/// visited the policy, 256 requests at most.
struct QosStatus {
  std::uint64_t operations = 0;    ///< Begun, normalised.
  std::uint64_t bytes = 0;         ///< Of the reads and writes among them.
  std::uint64_t throttled = 0;     ///< Requests that had to wait, and have begun since.
  std::uint64_t throttled_ns = 0;  ///< How long, added up.
  std::uint32_t held = 0;          ///< Requests that wait now.
};

/// Nanoseconds that any thread may ask for at any time. One that jumps forward gives a burst, one
/// that goes back gives nothing until it has passed where it was.
struct QosClock {
  std::uint64_t (*now_ns)(void* context) noexcept = nullptr;  ///< null: the host's monotonic clock.
  void* context = nullptr;                                    ///< Handed to `now_ns`.
};

/// Limits that all its queues share, of one disk (dedicated) or of several (aggregated). A handle:
/// copies name the same policy, which lives as long as one of them or a queue does.
class QosPolicy {
 public:
  /// Errors: invalid (`io_size`). Thread: any.
  static Result<QosPolicy> create(const QosLimits& limits, const QosClock& clock = {});

  /// From now on. No request is lost; what was begun beyond the old limits is still paid for. A
  /// queue that holds requests notices within 100 ms. One-time bursts are not given again. Errors:
  /// as create(). Thread: any.
  Status set_limits(const QosLimits& limits) noexcept;
  /// The limits of now. Thread: any.
  QosLimits limits() const noexcept;
  /// What it has let through and held back. Thread: any.
  QosStatus status() const noexcept;

 private:
  friend class QosQueue;
  explicit QosPolicy(std::shared_ptr<detail::QosPolicyState> state) noexcept;
  std::shared_ptr<detail::QosPolicyState> state_;
};

/// A queue whose requests keep to a policy; otherwise as Queue, call by call. A request beyond the
/// limits is accepted and held, in its own memory, and begins in poll() or wait() when it may; held
/// ones begin in the order of their submission. One that Queue would have refused at once is
/// then completed with that error.
class QosQueue {
 public:
  /// Takes over `queue`, which was opened with `depth` and has nothing under way. Errors: io (no
  /// descriptor left).
  static Result<QosQueue> open(Queue queue, std::uint32_t depth, const QosPolicy& policy);

  /// The other one may only be destroyed or assigned to afterwards.
  QosQueue(QosQueue&&) noexcept;
  /// Likewise; what was here is closed.
  QosQueue& operator=(QosQueue&&) noexcept;
  /// What is held begins at once, and is paid for by the policy's others; then as ~Queue.
  ~QosQueue();

  /// As Queue::read(), when the policy lets it.
  Status read(IoRequest& request) noexcept;
  /// As Queue::write(), when the policy lets it.
  Status write(IoRequest& request) noexcept;
  /// As Queue::write_zeroes(), when the policy lets it.
  Status write_zeroes(IoRequest& request) noexcept;
  /// As Queue::trim(), when the policy lets it.
  Status trim(IoRequest& request) noexcept;
  /// As Queue::flush(), when the policy lets it.
  Status flush(IoRequest& request) noexcept;

  /// As Queue::poll(); begins what may begin first.
  unsigned poll() noexcept;
  /// Waits also for the time at which a held request may begin.
  unsigned wait() noexcept;
  /// As Queue::descriptor(); readable as well when a held request may begin.
  int descriptor() noexcept;

  /// As Queue::register_buffers().
  Status register_buffers(std::span<const iovec> buffers) noexcept;
  /// Those that are held included.
  std::uint32_t under_way() const noexcept;
  /// Requests that the policy holds back now.
  std::uint32_t held() const noexcept;
  /// Of the queue below: from when it was handed a request.
  const QueueStatistics& statistics() const noexcept;
  /// As Queue::driver().
  const char* driver() const noexcept;

 private:
  explicit QosQueue(std::unique_ptr<detail::QosQueueState> state) noexcept;
  std::unique_ptr<detail::QosQueueState> state_;
};

}  // namespace openvhd
