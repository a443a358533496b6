#include "io/queue_ring.hpp"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <exception>

#include "io/event.hpp"
#include "io/ring_setup.hpp"

namespace openvhd {
namespace {

constexpr std::uint32_t kLeastEntries = 32;
constexpr std::uint32_t kMostEntries = 4096;
// How long the kernel may be out of memory for requests before we give up.
constexpr int kMostSubmitRetries = 10'000;
constexpr int kSubmitRetryMs = 1;

}  // namespace

Result<std::unique_ptr<QueueRing>> QueueRing::create(std::uint32_t transfers,
                                                     std::span<const int> files) {
  if (files.size() > kMostFiles)
    return Error{.code = Errc::invalid, .what = "more files than a queue has room for"};
  auto out = std::make_unique<QueueRing>(Key{});
  const std::uint32_t entries =
      std::bit_ceil(std::clamp(transfers + 1, kLeastEntries, kMostEntries));
  const int result = init_ring(&out->ring_, entries, std::bit_ceil(transfers + 1));
  if (result < 0)
    return Error{.code = Errc::unsupported, .sys_errno = -result, .what = ring_refusal(result)};
  out->open_ = true;
  out->alarm_ = Fd{::eventfd(0, EFD_CLOEXEC)};
  if (!out->alarm_) return Error{.code = Errc::io, .sys_errno = errno, .what = "eventfd"};
  out->plain_.fill(-1);
  std::ranges::copy(files, out->plain_.begin());
  // Without, each transfer takes and drops a reference to its file. With room for all that may
  // come: a table does not grow.
  out->fixed_files_ = io_uring_register_files(&out->ring_, out->plain_.data(), kMostFiles) == 0;
  return out;
}

Status QueueRing::replace_files(std::span<const int> files) noexcept {
  if (files.size() > kMostFiles)
    return Error{.code = Errc::invalid, .what = "more files than a queue has room for"};
  plain_.fill(-1);
  std::ranges::copy(files, plain_.begin());
  if (!fixed_files_) return Ok{};
  for (unsigned done = 0; done < kMostFiles;) {
    const int result =
        io_uring_register_files_update(&ring_, done, plain_.data() + done, kMostFiles - done);
    if (result <= 0)
      return Error{.code = Errc::io, .sys_errno = -result, .what = "registering other files"};
    done += static_cast<unsigned>(result);
  }
  return Ok{};
}

QueueRing::~QueueRing() {
  if (!open_) return;
  // The kernel must not fill alarm_count_ later on.
  if (armed_) alarm();
  while (armed_) {
    submit(true);
    reap([](void*, std::int32_t) {});
  }
  io_uring_queue_exit(&ring_);
}

void QueueRing::transfer(Direction direction, File file, FileOffset at,
                         std::span<const iovec> pieces, void* tag) noexcept {
  io_uring_sqe* const sqe = next_sqe();
  io_uring_prep_rw(0, sqe, -1, pieces.data(), static_cast<unsigned>(pieces.size()), at.value);
  std::memcpy(sqe, &file.head, sizeof file.head);
  sqe->opcode = direction == Direction::write ? IORING_OP_WRITEV : IORING_OP_READV;
  io_uring_sqe_set_data(sqe, tag);
}

void QueueRing::arm() noexcept {
  io_uring_sqe* const sqe = next_sqe();
  io_uring_prep_read(sqe, alarm_.get(), &alarm_count_, sizeof alarm_count_, 0);
  io_uring_sqe_set_data(sqe, nullptr);
  armed_ = true;
}

void QueueRing::alarm() noexcept { announce_event(alarm_); }

io_uring_sqe* QueueRing::sqe_after_submit() noexcept {
  submit(false);
  io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
  if (sqe == nullptr) std::terminate();  // submit() has emptied the queue
  return sqe;
}

void QueueRing::submit(bool wait) noexcept {
  for (int tries = 0;;) {
    ++submissions_;
    const int result =
        wait ? io_uring_submit_and_wait(&ring_, 1) : io_uring_submit_and_get_events(&ring_);
    if (result >= 0 || result == -EINTR) {
      if (!anything_queued()) return;
      continue;
    }
    // Out of memory for requests; completions that nobody has taken are in the caller's hands.
    if ((result != -EAGAIN && result != -EBUSY) || ++tries > kMostSubmitRetries) std::terminate();
    if (io_uring_cq_ready(&ring_) > 0 && !anything_queued()) return;
    ::poll(nullptr, 0, kSubmitRetryMs);
  }
}

int QueueRing::descriptor() noexcept {
  if (event_) return event_.get();
  Fd event{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  if (!event || io_uring_register_eventfd(&ring_, event.get()) != 0) return -1;
  event_ = std::move(event);
  return event_.get();
}

void QueueRing::announce() noexcept {
  if (event_) announce_event(event_);
}

void QueueRing::drain_descriptor() noexcept {
  if (event_) take_event(event_);
}

Status QueueRing::register_buffers(std::span<const iovec> buffers) noexcept {
  if (buffers_registered_) {
    io_uring_unregister_buffers(&ring_);
    buffers_registered_ = false;
  }
  if (buffers.empty()) return Ok{};
  const int result =
      io_uring_register_buffers(&ring_, buffers.data(), static_cast<unsigned>(buffers.size()));
  if (result < 0)
    return Error{.code = Errc::io, .sys_errno = -result, .what = "registering buffers"};
  buffers_registered_ = true;
  return Ok{};
}

}  // namespace openvhd
