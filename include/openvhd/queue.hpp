/// Asynchronous I/O: queues, each one thread's door to a disk.
#pragma once

#include <sys/uio.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <openvhd/types.hpp>
#include <span>

namespace openvhd {

class IoRequest;
namespace detail {
class QosQueueState;
class QueueState;
}  // namespace detail

/// A request, and the memory that serving it takes. The caller's: it stays in place from its
/// submission until `done` runs, and may be used again then, also from within `done`. Derive from
/// it to carry a context.
class IoRequest {
 public:
  VirtualOffset at{};  ///< A multiple of the logical sector size.
  /// read, write: whole sectors in total, below 2 GiB; both the list and what it names stay until
  /// `done` runs.
  std::span<const iovec> buffers{};
  std::uint64_t length = 0;  ///< write_zeroes, trim: bytes, whole sectors.
  /// write, write_zeroes, trim: durable when it completes (RELIABILITY D3), whatever else is not.
  bool durable = false;
  /// read, write: `buffers` is one piece inside this one of Queue::register_buffers(); -1: not.
  std::int32_t registered = -1;
  /// Runs exactly once, in the queue's thread, from poll() or wait(); last, so that the request
  /// may be freed in it. Never null in a request that is submitted.
  void (*done)(IoRequest&, Status) noexcept = nullptr;

 private:
  friend class detail::QosQueueState;  // while it holds the request
  friend class detail::QueueState;
  alignas(16) std::array<std::byte, 512> state_;
};

/// Set once, when a queue is opened.
struct QueueOptions {
  std::uint32_t depth = 128;  ///< Requests under way at once, 1 to 1024.
};

/// How long requests took, from their start (the clock is read once for all that start between
/// two calls of poll() or wait()) to the call that found them done: 4 buckets for each power of two
/// of nanoseconds.
struct LatencyHistogram {
  static constexpr std::size_t kBuckets = 160;   ///< From 0 ns to half an hour and more.
  std::array<std::uint64_t, kBuckets> counts{};  ///< Requests by bucket.

  /// The bucket that a number of nanoseconds falls into.
  static constexpr std::size_t bucket_of(std::uint64_t ns) noexcept {
    if (ns < 4) return static_cast<std::size_t>(ns);
    const auto width = static_cast<unsigned>(std::bit_width(ns));
    const std::uint64_t bucket = (width - 2) * 4ULL + ((ns >> (width - 3)) & 3);
    return bucket < kBuckets ? static_cast<std::size_t>(bucket) : kBuckets - 1;
  }
  /// The smallest number of nanoseconds that falls into a bucket.
  static constexpr std::uint64_t floor_of(std::size_t bucket) noexcept {
    if (bucket < 4) return bucket;
    return (4 + static_cast<std::uint64_t>(bucket) % 4) << (bucket / 4 - 1);
  }
  /// The bucket floor that `percent` of all requests do not exceed; 0 when there were none.
  std::uint64_t percentile_ns(double percent) const noexcept;
  /// All requests.
  std::uint64_t total() const noexcept;
};

/// What a queue has done since it was opened.
struct QueueStatistics {
  /// Of one kind of request.
  struct Kind {
    std::uint64_t requests = 0;  ///< Completed, failed ones included.
    std::uint64_t bytes = 0;     ///< That they asked for.
    std::uint64_t failed = 0;    ///< Of `requests`.
  };
  Kind reads;                       ///< read().
  Kind writes;                      ///< write().
  Kind zeroes;                      ///< write_zeroes().
  Kind trims;                       ///< trim().
  Kind flushes;                     ///< flush().
  std::uint64_t mapped = 0;         ///< Requests that needed nobody but this queue.
  std::uint64_t handed_over = 0;    ///< Requests that the image's owner served.
  std::uint64_t submissions = 0;    ///< io_uring_enter calls.
  std::uint64_t host_requests = 0;  ///< Transfers that went into this queue's ring.
  LatencyHistogram latency;         ///< Of all kinds together.
};

/// What has been done to an image on behalf of all queues and of the Disk, mapped requests of
/// queues excepted.
struct ImageStatistics {
  std::uint64_t syncs = 0;                ///< fdatasync calls.
  std::uint64_t durable_writes = 0;       ///< RWF_DSYNC: headers, log entries that no sync follows.
  std::uint64_t payload_bytes = 0;        ///< Read or written for requests.
  std::uint64_t metadata_reads = 0;       ///< Log, tables, bitmaps, headers.
  std::uint64_t metadata_read_bytes = 0;  ///< Of `metadata_reads`.
  std::uint64_t metadata_writes = 0;      ///< Log, tables, bitmaps, headers.
  std::uint64_t metadata_write_bytes = 0;  ///< Of `metadata_writes`.
  std::uint64_t reserves = 0;              ///< Growth steps.
  std::uint64_t zeroes = 0;                ///< Ranges that the host zeroed.
  std::uint64_t punches = 0;               ///< Ranges that were given back to the host.
  std::uint64_t allocated_blocks = 0;      ///< Blocks that got space.
  std::uint64_t commits = 0;               ///< Groups of metadata that became durable.
};

/// One thread's door to a disk, which may have up to 64. Mapped reads and overwrites go straight
/// to the host, without a lock, a copy or an allocation; what changes metadata is handed to the
/// image's owner, a thread of the library that runs from the first queue on until the disk closes.
///
/// Every call belongs to the thread that opened the queue. Requests that are under way together
/// and overlap take effect in any order, each wholly or in parts. A queue keeps what is behind
/// its Disk alive; the Disk is closed only after its queues.
class Queue {
 public:
  /// Errors: invalid (depth, a closed disk), busy (64 queues are open), unsupported (the kernel
  /// has no ring left to give), io. Thread: any, also several at once, but no other call on `disk`
  /// is under way.
  static Result<Queue> open(Disk& disk, const QueueOptions& options);

  /// The other one may only be destroyed or assigned to afterwards.
  Queue(Queue&&) noexcept;
  /// Likewise; what was here is closed.
  Queue& operator=(Queue&&) noexcept;
  /// Waits for what is under way; `done` runs for each.
  ~Queue();

  /// Starts a request. Never blocks; poll() or wait() submits it together with others.
  /// Ok: `done` runs exactly once, with Ok or what Disk says of the same call.
  /// Error (invalid, out_of_range, misaligned, read_only, or busy at the queue's depth): `done`
  /// never runs.
  [[gnu::always_inline]] Status read(IoRequest& request) noexcept {
    if (start_read(*state_.get(), request)) [[likely]]
      return Ok{};
    return refused(*state_.get());
  }
  /// Likewise, a write of `request.buffers`.
  [[gnu::always_inline]] Status write(IoRequest& request) noexcept {
    if (start_write(*state_.get(), request)) [[likely]]
      return Ok{};
    return refused(*state_.get());
  }
  /// The range reads as zeros, the space of whole blocks goes back (RELIABILITY D5).
  Status write_zeroes(IoRequest& request) noexcept;
  /// The range is no longer needed, and reads as zeros.
  Status trim(IoRequest& request) noexcept;
  /// What completed before, on any queue, is durable when this completes (RELIABILITY D2).
  Status flush(IoRequest& request) noexcept;

  /// Submits what is queued, runs `done` for what has finished; returns for how many it ran.
  unsigned poll() noexcept;
  /// The same, but waits until at least one has finished. 0: nothing is under way.
  unsigned wait() noexcept;
  /// Becomes readable when poll() may have more to do, provided that poll() has been called since
  /// it last was; for callers with a loop of their own. Valid as long as the queue. Negative where
  /// the process may not have one more descriptor.
  int descriptor() noexcept;

  /// Makes memory known to the kernel beforehand, which saves work for each transfer: requests
  /// name it by IoRequest::registered. Replaces what was registered; nothing is under way. Errors:
  /// unsupported (the driver has none of it), io (memory that cannot be pinned); transfers then
  /// work without.
  Status register_buffers(std::span<const iovec> buffers) noexcept;

  /// Requests whose `done` has not run yet.
  std::uint32_t under_way() const noexcept;
  /// Since the queue was opened; read anew by each call.
  const QueueStatistics& statistics() const noexcept;
  /// "io_uring", "thread pool".
  const char* driver() const noexcept;

 private:
  explicit Queue(std::unique_ptr<detail::QueueState> state) noexcept;
  // True: the request is under way. False: it is not, and refused() says why.
  static bool start_read(detail::QueueState& queue, IoRequest& request) noexcept;
  static bool start_write(detail::QueueState& queue, IoRequest& request) noexcept;
  static const Error& refused(const detail::QueueState& queue) noexcept;

  std::unique_ptr<detail::QueueState> state_;
};

/// Since the disk was opened; its leaf's. Thread: as for the disk's own calls.
ImageStatistics image_statistics(const Disk& disk) noexcept;

}  // namespace openvhd
