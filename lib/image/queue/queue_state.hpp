/// What is behind a Queue.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <openvhd/queue.hpp>
#include <vector>

#include "image/disk_state.hpp"
#include "image/queue/chain_finder.hpp"
#include "image/queue/job.hpp"
#include "io/event.hpp"
#include "io/queue_ring.hpp"
#include "io/readers.hpp"

namespace openvhd::detail {

/// Serves what is mapped through its own ring, and posts everything else to the owner: whatever it
/// cannot find in memory, whatever changes metadata, and every transfer that went otherwise than
/// expected, which the owner then repeats and judges.
class QueueState final : public JobSink {
  struct Key {};

 public:
  static Result<std::unique_ptr<QueueState>> open(std::shared_ptr<DiskState> disk,
                                                  const QueueOptions& options);
  QueueState(Key, std::shared_ptr<DiskState> disk, std::uint32_t depth);
  ~QueueState();

  Status read(IoRequest& request) noexcept;
  Status write(IoRequest& request) noexcept;
  Status clear(IoRequest& request, Job::Kind kind) noexcept;
  Status flush(IoRequest& request) noexcept;
  unsigned poll() noexcept;
  unsigned wait() noexcept;
  int descriptor() noexcept;
  Status register_buffers(std::span<const iovec> buffers) noexcept;
  std::uint32_t under_way() const noexcept { return under_way_; }
  const QueueStatistics& statistics() noexcept;
  const char* driver() const noexcept { return ring_ ? "io_uring" : "thread pool"; }

  // The owner's thread.
  void finished(Job& job) noexcept override;
  void ring() noexcept override;

 private:
  /// In IoRequest::state_ while the request is under way. What only the owner needs is made when
  /// the request goes to it.
  struct Request {
    static constexpr std::size_t kPieces = 12;
    IoRequest* caller = nullptr;
    QueueStatistics::Kind* counts = nullptr;
    std::uint64_t length = 0;
    std::uint64_t start_ns = 0;
    std::uint64_t left = 0;     // bytes that the ring has not moved yet
    std::uint32_t pending = 0;  // transfers in the ring
    Job::Kind kind{};
    std::uint8_t side = 0;    // of Readers
    bool odd = false;         // something went otherwise than expected
    Request* next = nullptr;  // of ready_
    union {
      Job job;
    };
    std::array<iovec, kPieces> pieces;

    Request(IoRequest& from, Job::Kind what, std::uint64_t bytes, std::uint64_t now,
            QueueStatistics::Kind& counted) noexcept
        : caller{&from}, counts{&counted}, length{bytes}, start_ns{now}, kind{what} {}
  };
  static_assert(sizeof(Request) <= sizeof(IoRequest::state_));
  static_assert(std::is_trivially_destructible_v<Job>);

  /// A part of a read that one layer answers.
  struct Part {
    Found found{};
    std::size_t first_piece = 0;
    std::size_t pieces = 0;
  };
  static constexpr std::size_t kMostParts = 4;

  struct LayerFile {
    bool in_ring = false;
    std::uint64_t direct_mask = 0;  // of memory, offset and length for the direct descriptor
    QueueRing::File direct{};
    QueueRing::File cached{};
  };

  /// How the queue's thread wants to be told of what the owner has finished.
  enum class Waiting : std::uint8_t { no, in_ring, for_descriptor };

  Status open_ring() noexcept;
  // Where a mapped request passes, in one piece: calls would cost as much as what they do.
  [[gnu::always_inline]] inline bool may_start(VirtualOffset at,
                                               std::uint64_t length) const noexcept;
  Error refusal(VirtualOffset at, std::uint64_t length) const noexcept;
  [[gnu::always_inline]] inline Request& begin(IoRequest& caller, Job::Kind kind,
                                               std::uint64_t length,
                                               QueueStatistics::Kind& counted) noexcept;
  [[gnu::always_inline]] inline bool read_mapped(Request& request) noexcept;
  [[gnu::noinline]] bool read_otherwise(Request& request) noexcept;
  bool read_parts(Request& request) noexcept;
  [[gnu::always_inline]] inline bool write_mapped(Request& request) noexcept;
  template <QueueRing::Direction direction>
  [[gnu::always_inline]] inline void transfer(Request& request, const LayerFile& file,
                                              FileOffset at, std::span<const iovec> buffers,
                                              std::int32_t registered) noexcept;
  void transfer_list(QueueRing::Direction direction, Request& request, const LayerFile& file,
                     FileOffset at, std::span<const iovec> buffers) noexcept;
  [[gnu::always_inline]] inline void transferred(Request& request, std::int32_t result) noexcept;
  void transferred_oddly(Request& request, std::int32_t result) noexcept;
  [[gnu::always_inline]] inline void served(Request& request) noexcept;
  void to_owner(Request& request) noexcept;
  void send(bool wait) noexcept;
  void nudge() noexcept;
  unsigned harvest() noexcept;
  void take_finished() noexcept;
  void failed(Request& request, const Error& error) noexcept;
  [[gnu::always_inline]] inline void count_latency(const Request& request) noexcept;
  void sleep(Waiting how) noexcept;
  void refresh_clock() noexcept;

  std::shared_ptr<DiskState> disk_;
  ChainFinder* finder_ = nullptr;
  Layer* leaf_ = nullptr;
  Readers::Slot* slot_ = nullptr;
  std::unique_ptr<QueueRing> ring_;
  std::vector<LayerFile> files_;
  std::uint64_t virtual_size_ = 0;
  std::uint64_t sector_mask_ = 0;
  bool writable_ = false;

  std::uint32_t depth_;
  std::uint32_t under_way_ = 0;
  std::uint32_t transfers_ = 0;  // in the ring
  std::uint32_t most_transfers_ = 0;
  std::uint32_t with_owner_ = 0;
  Job* to_post_ = nullptr;  // a list, the first first
  Job* to_post_last_ = nullptr;
  Request* ready_ = nullptr;  // a list of requests that needed no transfer
  std::uint64_t now_ns_ = 0;
  std::uint64_t completed_ = 0;
  bool clock_fresh_ = false;
  std::uint64_t counted_start_ns_ = 0;  // requests that start together end in one bucket
  std::size_t counted_bucket_ = 0;
  bool descriptor_used_ = false;
  QueueStatistics statistics_;

  Event event_;                                      // without a ring: something is finished
  alignas(64) std::atomic<Job*> finished_{nullptr};  // the last one first
  std::atomic<Waiting> waiting_{Waiting::no};
};

}  // namespace openvhd::detail
