/// The ring of a queue: transfers that one thread submits together and reaps together.
#pragma once

#include <liburing.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <openvhd/error.hpp>
#include <openvhd/types.hpp>
#include <span>

#include "base/fd.hpp"

namespace openvhd {

/// Belongs to the thread that made it. Files are registered when it is made and named by their
/// index. Besides transfers it can carry one alarm: a wait for alarm(), which any thread may call.
class QueueRing {
  struct Key {};

 public:
  /// `transfers` is the most in flight at once. Errors: unsupported, with what forbids it.
  static Result<std::unique_ptr<QueueRing>> create(std::uint32_t transfers,
                                                   std::span<const int> files);
  explicit QueueRing(Key) noexcept {}
  /// Nothing is in flight.
  ~QueueRing();

  /// What a transfer of a file is named by: see file().
  struct File {
    std::uint64_t head = 0;  // the first bytes of its submissions, but for what they do
  };
  /// The file with this index of those that the ring was made with.
  File file(std::size_t index) const noexcept {
    io_uring_sqe sqe{};
    sqe.fd = fixed_files_ ? static_cast<int>(index) : plain_[index];
    sqe.flags = fixed_files_ ? IOSQE_FIXED_FILE : 0;
    File out;
    std::memcpy(&out.head, &sqe, sizeof out.head);
    return out;
  }

  /// Other files from now on, by the same rules as create(). No transfer is in flight or queued.
  /// Errors: of the kernel; the ring has no file then.
  Status replace_files(std::span<const int> files) noexcept;

  enum class Direction : std::uint8_t { read, write };
  /// Queues a transfer of one piece of memory, below 2 GiB; submit() sends it. `registered` names
  /// the piece's buffer of register_buffers(), or is negative. `tag`, not null, comes back with the
  /// result. The caller keeps to `transfers`.
  void transfer(Direction direction, File file, FileOffset at, iovec piece, std::int32_t registered,
                void* tag) noexcept {
    const bool writes = direction == Direction::write;
    // As many as there may be in flight have room (create()), so there is one.
    io_uring_sqe& sqe = ring_.sq.sqes[ring_.sq.sqe_tail++ & ring_.sq.ring_mask];
    io_uring_prep_rw(0, &sqe, -1, piece.iov_base, static_cast<unsigned>(piece.iov_len), at.value);
    std::memcpy(&sqe, &file.head, sizeof file.head);
    sqe.opcode = writes ? IORING_OP_WRITE : IORING_OP_READ;
    if (registered >= 0) [[unlikely]] {
      sqe.opcode = writes ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
      sqe.buf_index = static_cast<std::uint16_t>(registered);
    }
    io_uring_sqe_set_data(&sqe, tag);
  }
  /// The same for several pieces, which stay, with the list, until it completes.
  void transfer(Direction direction, File file, FileOffset at, std::span<const iovec> pieces,
                void* tag) noexcept;

  /// Makes the next alarm() a completion, once.
  void arm() noexcept;
  bool armed() const noexcept { return armed_; }
  void alarm() noexcept;

  /// Sends what is queued, and has the kernel look for completions; with `wait`, until there is
  /// one. Counts system calls.
  void submit(bool wait) noexcept;
  bool anything_ready() const noexcept { return io_uring_cq_ready(&ring_) != 0; }
  bool anything_queued() const noexcept { return io_uring_sq_ready(&ring_) != 0; }
  /// True when submit() would do anything: there is something to send, or the kernel has
  /// completions that it brings only when it is called.
  bool worth_submitting() const noexcept {
    return anything_queued() || (IO_URING_READ_ONCE(*ring_.sq.kflags) &
                                 (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
  }

  /// Calls `each(tag, result)` for every completion that is there now; more may be queued and sent
  /// in it.
  template <class Each>
  void reap(Each each) noexcept {
    for (unsigned left = io_uring_cq_ready(&ring_); left != 0; --left) {
      const unsigned head = *ring_.cq.khead;
      const io_uring_cqe& cqe = ring_.cq.cqes[head & ring_.cq.ring_mask];
      void* const tag = io_uring_cqe_get_data(&cqe);
      const std::int32_t result = cqe.res;
      io_uring_cq_advance(&ring_, 1);
      if (tag == nullptr) [[unlikely]] {
        armed_ = false;
      } else {
        each(tag, result);
      }
    }
  }

  /// Readable when there may be a completion, or after announce(), which any thread may call once
  /// there is a descriptor. An alarm is not announced: some kernels lose an event that follows
  /// from another one.
  int descriptor() noexcept;
  void announce() noexcept;
  void drain_descriptor() noexcept;
  Status register_buffers(std::span<const iovec> buffers) noexcept;
  std::uint64_t submissions() const noexcept { return submissions_; }

 private:
  io_uring_sqe* next_sqe() noexcept {
    io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
    if (sqe != nullptr) [[likely]]
      return sqe;
    return sqe_after_submit();
  }
  io_uring_sqe* sqe_after_submit() noexcept;

  static constexpr std::size_t kMostFiles = 130;
  io_uring ring_{};
  bool open_ = false;
  bool fixed_files_ = false;
  bool armed_ = false;
  bool buffers_registered_ = false;
  std::array<int, kMostFiles> plain_{};
  Fd alarm_;
  std::uint64_t alarm_count_ = 0;
  Fd event_;
  std::uint64_t submissions_ = 0;
};

}  // namespace openvhd
