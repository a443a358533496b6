/// Quality of service: limits, reservations and shares of what queues ask of their disks.
///
/// host > policy > flow > queue: a host stands for what disks have in common, a policy for what is
/// promised to some of them, a flow for one disk under it. Who may begin next is decided as mClock
/// does (Gulati, Merchant, Varman: mClock, OSDI 2010): reservations that are due first, then by
/// weight, both below the upper limits; lib/qos/README.md says where this differs.
#pragma once

#include <cstdint>
#include <memory>
#include <openvhd/error.hpp>
#include <openvhd/queue.hpp>

namespace openvhd {

namespace detail {
class QosScheduler;
class QosPolicyState;
class QosFlowState;
class QosQueueState;
}  // namespace detail

/// What a policy allows and promises. In any time, no more is begun than burst + rate x time + one
/// request.
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
  /// Operations per second that are served before anybody's share when the host is at its limits;
  /// not above `iops`. 0: none. Means something only below a QosHost that has limits.
  std::uint64_t min_iops = 0;
  /// The share of what reservations leave of the host, beside other policies', 1 to 10,000.
  std::uint32_t weight = 100;
};

/// What all policies of a host together may ask of it.
struct QosHostLimits {
  std::uint64_t iops = 0;              ///< Operations per second; 0: unlimited.
  std::uint64_t iops_burst = 0;        ///< As in QosLimits.
  std::uint64_t bytes_per_second = 0;  ///< Of reads and writes; 0: unlimited.
  std::uint64_t bytes_burst = 0;       ///< As in QosLimits.
  /// Requests that are under way at once; 0: unlimited. The device itself then tells how fast it
  /// is, and no rate need be known. Where none ends for 100 ms, others begin nevertheless, one
  /// each 100 ms: whoever does not poll cannot stop them.
  std::uint32_t in_flight = 0;
};

/// Whom the limits of a policy are for.
enum class QosSharing : std::uint8_t {
  aggregated,  ///< All its flows together.
  dedicated,   ///< Each flow by itself.
};

/// What queues have done, and how they fare.
struct QosStatus {
  std::uint64_t operations = 0;        ///< Begun, normalised.
  std::uint64_t bytes = 0;             ///< Of the reads and writes among them.
  std::uint64_t throttled = 0;         ///< Requests that had to wait, and have begun since.
  std::uint64_t throttled_ns = 0;      ///< How long, added up.
  std::uint32_t held = 0;              ///< Requests that wait now.
  std::uint64_t iops = 0;              ///< Rate of `operations` over the last second or more.
  std::uint64_t bytes_per_second = 0;  ///< Likewise of `bytes`.
  /// Over that time requests waited for the host, and the reservation was not met: of the flow's
  /// group, that is its policy's or, where it is dedicated, its own; of any, for policy and host.
  bool insufficient_throughput = false;
};

/// Nanoseconds that any thread may ask for at any time. One that jumps forward gives a burst. One
/// that goes back by less than a second gives nothing until it has passed where it was; by more, it
/// goes on from there, which is worth a burst at most.
struct QosClock {
  std::uint64_t (*now_ns)(void* context) noexcept = nullptr;  ///< null: the host's monotonic clock.
  void* context = nullptr;                                    ///< Handed to `now_ns`.
};

/// What policies have in common: a device, or a machine. A handle: copies name the same host, which
/// lives as long as one of them or a policy does.
class QosHost {
 public:
  /// Thread: any.
  static Result<QosHost> create(const QosHostLimits& limits, const QosClock& clock = {});

  /// From now on. No request is lost. Thread: any.
  void set_limits(const QosHostLimits& limits) noexcept;
  /// The limits of now. Thread: any.
  QosHostLimits limits() const noexcept;
  /// The sum of all flows. Thread: any.
  QosStatus status() const noexcept;

 private:
  friend class QosPolicy;
  explicit QosHost(std::shared_ptr<detail::QosScheduler> state) noexcept;
  std::shared_ptr<detail::QosScheduler> state_;
};

/// Limits and promises for the flows under it. A handle: copies name the same policy, which lives
/// as long as one of them or a flow does.
class QosPolicy {
 public:
  /// One that is alone on a host without limits. Errors: invalid (`io_size`, `weight`, `min_iops`).
  /// Thread: any.
  static Result<QosPolicy> create(const QosLimits& limits, const QosClock& clock = {});
  /// One of a host's. Errors and thread: likewise.
  static Result<QosPolicy> create(const QosHost& host, const QosLimits& limits, QosSharing sharing);

  /// From now on. No request is lost; what was begun beyond the old limits is still paid for.
  /// One-time bursts are not given again. Errors: as create(). Thread: any.
  Status set_limits(const QosLimits& limits) noexcept;
  /// The limits of now. Thread: any.
  QosLimits limits() const noexcept;
  /// The sum of its flows, past ones included. Thread: any.
  QosStatus status() const noexcept;

 private:
  friend class QosFlow;
  explicit QosPolicy(std::shared_ptr<detail::QosPolicyState> state) noexcept;
  std::shared_ptr<detail::QosPolicyState> state_;
};

/// One disk under a policy, with however many queues. A handle: copies name the same flow, which
/// lives as long as one of them or a queue does.
class QosFlow {
 public:
  /// `weight`: the share of an aggregated policy, beside its other flows, 1 to 10,000. Errors:
  /// invalid (`weight`). Thread: any.
  static Result<QosFlow> create(const QosPolicy& policy, std::uint32_t weight = 100);

  /// The sum of its queues, past ones included. Thread: any.
  QosStatus status() const noexcept;

 private:
  friend class QosQueue;
  explicit QosFlow(std::shared_ptr<detail::QosFlowState> state) noexcept;
  std::shared_ptr<detail::QosFlowState> state_;
};

/// A queue whose requests keep to a policy; otherwise as Queue, call by call. A request beyond the
/// limits is accepted and held, in its own memory, and begins in poll() or wait() when it may; held
/// ones begin in the order of their submission. One that Queue would have refused at once is
/// then completed with that error.
class QosQueue {
 public:
  /// Takes over `queue`, which was opened with `depth` and has nothing under way. Errors: io (no
  /// descriptor left).
  static Result<QosQueue> open(Queue queue, std::uint32_t depth, const QosFlow& flow);
  /// Likewise, as a flow of its own.
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
