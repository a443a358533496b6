/// What is behind a Queue.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <new>
#include <openvhd/queue.hpp>
#include <vector>

#include "image/disk_state.hpp"
#include "image/queue/chain_finder.hpp"
#include "image/queue/job.hpp"
#include "io/block_places.hpp"
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

  // True: the request is under way. False: it is not, and refused() says why.
  bool read(IoRequest& request) noexcept;
  bool write(IoRequest& request) noexcept;
  bool clear(IoRequest& request, Job::Kind kind) noexcept;
  bool flush(IoRequest& request) noexcept;
  const Error& refused() const noexcept { return refused_; }
  unsigned poll() noexcept;
  unsigned wait() noexcept;
  int descriptor() noexcept;
  Status register_buffers(std::span<const iovec> buffers) noexcept;
  std::uint32_t under_way() const noexcept { return depth_ - room_; }
  const QueueStatistics& statistics() noexcept;
  const char* driver() const noexcept { return ring_ ? "io_uring" : "thread pool"; }

  // The owner's thread.
  void finished(Job& job) noexcept override;
  void ring() noexcept override;

 private:
  /// In IoRequest::state_ while the request is under way. A mapped one sets the first few fields;
  /// what only the owner needs is made when the request goes to it.
  struct Request {
    static constexpr std::size_t kPieces = 12;
    static constexpr std::uint32_t kOdd = std::uint32_t{1} << 31;  // other than expected
    static constexpr std::uint8_t kInParts = 0x80;
    std::uint64_t start_ns;
    std::uint32_t left = 0;    // bytes that the ring has not moved yet, and kOdd
    std::uint16_t side;        // of Readers
    std::uint8_t pending = 0;  // transfers in the ring, and kInParts
    Job::Kind kind;
    IoRequest* next;  // of ready_
    union {
      Job job;
    };
    std::array<iovec, kPieces> pieces;

    Request(Job::Kind what, unsigned which, std::uint64_t now) noexcept
        : start_ns{now}, side{static_cast<std::uint16_t>(which)}, kind{what} {}
  };
  static_assert(sizeof(Request) <= sizeof(IoRequest::state_));
  static Request& request_of(IoRequest& caller) noexcept {
    return *std::launder(reinterpret_cast<Request*>(caller.state_.data()));
  }
  static_assert(std::is_trivially_destructible_v<Job>);

  /// Requests that started together, and have completed in this call as most do: counted together.
  struct Run {
    std::uint64_t start_ns = 0;
    std::uint64_t requests = 0;
    std::uint64_t bytes = 0;
  };

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
  void keep_up() noexcept;
  void take_layers() noexcept;
  /// Layers, files and answers are those that this queue knows. Inside a transfer; where an answer
  /// is to be kept, after the look at its terms.
  bool in_step() const noexcept { return disk_->generation() == generation_; }
  // Where a mapped request passes, in one piece: calls would cost as much as what they do.
  [[gnu::always_inline]] inline bool may_start_at_once(VirtualOffset at,
                                                       std::uint64_t length) const noexcept;
  bool may_not_start(VirtualOffset at, std::uint64_t length) noexcept;
  bool refuse(const Error& error) noexcept;
  [[gnu::always_inline]] inline Request& begin(IoRequest& caller, Job::Kind kind,
                                               unsigned side) noexcept;
  [[gnu::noinline]] bool read_unplaced(IoRequest& caller, unsigned side) noexcept;
  [[gnu::noinline]] bool write_unplaced(IoRequest& caller, unsigned side) noexcept;
  bool read_found(IoRequest& caller, std::uint64_t length) noexcept;
  bool read_parts(IoRequest& caller, std::uint64_t length) noexcept;
  bool write_found(IoRequest& caller, std::uint64_t length) noexcept;
  bool find(VirtualOffset at, std::uint64_t length, Found& found) noexcept;
  template <QueueRing::Direction direction>
  [[gnu::always_inline]] inline void transfer(IoRequest& caller, Request& request,
                                              const LayerFile& file, FileOffset at, iovec piece,
                                              std::int32_t registered) noexcept;
  void transfer_list(QueueRing::Direction direction, IoRequest& caller, const LayerFile& file,
                     FileOffset at, std::span<const iovec> buffers) noexcept;
  [[gnu::always_inline]] inline void transferred(IoRequest& caller, std::int32_t result) noexcept;
  void transferred_oddly(IoRequest& caller, std::int32_t result) noexcept;
  QueueStatistics::Kind& counts_of(Job::Kind kind) noexcept;
  void served(IoRequest& caller) noexcept;
  void to_owner(IoRequest& caller) noexcept;
  void send(bool wait) noexcept;
  void nudge() noexcept;
  unsigned harvest() noexcept;
  void take_finished() noexcept;
  void failed(IoRequest& caller, const Error& error) noexcept;
  void count(Run& run, QueueStatistics::Kind& counts) noexcept;
  void count_runs() noexcept;
  void count_latency(std::uint64_t start_ns, std::uint64_t requests) noexcept;
  void sleep(Waiting how) noexcept;
  void refresh_clock() noexcept;

  std::shared_ptr<DiskState> disk_;
  ChainFinder* finder_ = nullptr;
  BlockPlaces places_;
  Layer* leaf_ = nullptr;
  Readers::Slot* slot_ = nullptr;
  std::unique_ptr<QueueRing> ring_;
  std::vector<LayerFile> files_;
  LayerFile leaf_file_;                                      // the first
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};  // odd
  std::uint64_t generation_ = kNone;
  std::uint64_t layer_changes_ = kNone;
  WriteNotes* notes_ = nullptr;
  std::uint64_t sector_mask_ = 0;
  bool writable_ = false;

  std::uint32_t depth_;
  std::uint32_t room_;                // for more requests
  std::uint64_t transfers_done_ = 0;  // of statistics_.host_requests
  std::uint32_t most_transfers_ = 0;
  std::uint32_t with_owner_ = 0;
  Job* to_post_ = nullptr;  // a list, the first first
  Job* to_post_last_ = nullptr;
  IoRequest* ready_ = nullptr;  // a list of requests that needed no transfer
  std::uint64_t now_ns_ = 0;    // 0: not read since poll() or wait()
  std::uint64_t completed_ = 0;
  Run reads_;
  Run writes_;
  bool descriptor_used_ = false;
  QueueStatistics statistics_;
  Error refused_;

  Event event_;                                      // without a ring: something is finished
  alignas(64) std::atomic<Job*> finished_{nullptr};  // the last one first
  std::atomic<Waiting> waiting_{Waiting::no};
};

}  // namespace openvhd::detail
