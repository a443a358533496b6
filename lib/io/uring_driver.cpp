#include "io/uring_driver.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <limits>

#include "base/try.hpp"
#include "io/event.hpp"
#include "io/ring_setup.hpp"

namespace openvhd {
namespace {

constexpr std::uint32_t kLeastEntries = 32;
constexpr std::uint32_t kMostEntries = 4096;
constexpr std::uint32_t kCommandsPerOperation = 4;
constexpr unsigned kCompletionBatch = 64;
// How long the kernel may be out of memory for requests before we give up.
constexpr int kMostSubmitRetries = 10'000;
constexpr int kSubmitRetryMs = 1;
// User data of the read that wake() completes.
constexpr std::uint64_t kWake = std::numeric_limits<std::uint64_t>::max();

void prepare(io_uring_sqe* sqe, const IoCommand& command, int fd) noexcept {
  using Kind = IoCommand::Kind;
  const auto pieces = static_cast<unsigned>(command.buffers.size());
  const bool one = pieces == 1 && command.buffers[0].iov_len <= std::uint64_t{1} << 30;
  const auto length = one ? static_cast<unsigned>(command.buffers[0].iov_len) : 0;
  switch (command.kind) {
    case Kind::read:
      if (one)
        io_uring_prep_read(sqe, fd, command.buffers[0].iov_base, length, command.at.value);
      else
        io_uring_prep_readv(sqe, fd, command.buffers.data(), pieces, command.at.value);
      return;
    case Kind::write:
      if (one)
        io_uring_prep_write(sqe, fd, command.buffers[0].iov_base, length, command.at.value);
      else
        io_uring_prep_writev(sqe, fd, command.buffers.data(), pieces, command.at.value);
      if (command.durable) sqe->rw_flags = RWF_DSYNC;
      return;
    case Kind::sync:
      io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
      return;
    case Kind::zero:
    case Kind::punch: {
      const int what = command.kind == Kind::zero ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE;
      io_uring_prep_fallocate(sqe, fd, what | FALLOC_FL_KEEP_SIZE,
                              static_cast<off_t>(command.at.value),
                              static_cast<off_t>(command.length));
      return;
    }
    case Kind::reserve:
    case Kind::set_size:
      break;
  }
  std::terminate();  // no file gives a descriptor for these
}

}  // namespace

UringDriver::Support UringDriver::probe() noexcept {
  io_uring ring{};
  const int result = init_ring(&ring, 2, 0);
  if (result < 0) return {.available = false, .reason = ring_refusal(result)};
  io_uring_queue_exit(&ring);
  return {.available = true};
}

Result<std::unique_ptr<UringDriver>> UringDriver::create(std::uint32_t depth) {
  if (depth == 0 || depth > kMaxDriverDepth)
    return Error{.code = Errc::invalid, .what = "depth of a driver"};
  auto driver = std::make_unique<UringDriver>(Key{}, depth);
  driver->wake_event_ = Fd{::eventfd(0, EFD_CLOEXEC)};
  if (!driver->wake_event_)
    return Error{.code = Errc::unsupported, .sys_errno = errno, .what = "eventfd for io_uring"};
  OVHD_CHECK(driver->open_ring());
  return driver;
}

UringDriver::UringDriver(Key, std::uint32_t depth)
    : operations_{depth},
      table_(std::clamp(depth * kCommandsPerOperation, kLeastEntries, kMostEntries)) {
  free_.reserve(table_.size());
  for (std::size_t i = table_.size(); i > 0; --i)
    free_.push_back(static_cast<std::uint32_t>(i - 1));
}

UringDriver::~UringDriver() {
  if (!open_) return;
  // Another thread cannot wait for it; then it is cancelled with the ring, and nobody wakes it.
  const bool drain_wake = wake_armed_ && thread_ == std::this_thread::get_id();
  if (drain_wake) wake();
  while (in_flight_ > 0 || (drain_wake && wake_armed_)) {
    submit(true);
    take_completions();
  }
  close_ring();
}

Status UringDriver::open_ring() noexcept {
  // One table entry per request: never more completions than the ring holds.
  const int result = init_ring(&ring_, static_cast<std::uint32_t>(table_.size()), 0);
  if (result < 0)
    return Error{.code = Errc::unsupported, .sys_errno = -result, .what = ring_refusal(result)};
  open_ = true;
  wake_armed_ = false;
  thread_ = std::this_thread::get_id();
  if (event_ && io_uring_register_eventfd(&ring_, event_.get()) != 0) event_ = Fd{};
  return Ok{};
}

void UringDriver::close_ring() noexcept {
  io_uring_queue_exit(&ring_);
  open_ = false;
}

/// A ring belongs to the thread that made it. A disk may move between its calls, so the ring is
/// made again where it is used next; nothing is in flight then.
Status UringDriver::settle_in_thread() noexcept {
  if (open_ && thread_ == std::this_thread::get_id()) return Ok{};
  if (operations_.under_way() != 0) std::terminate();
  if (open_) close_ring();
  return open_ring();
}

Status UringDriver::start(Operation& operation, std::span<File* const> files) noexcept {
  if (operations_.full())
    return Error{.code = Errc::busy, .what = "as many operations as the driver's depth"};
  OVHD_CHECK(settle_in_thread());
  operations_.add(operation, files);
  ask_all_ = true;
  return Ok{};
}

/// Gets commands out of one operation; true when one was executed here, or it has finished:
/// others may have waited for that.
bool UringDriver::pump_one(OperationSet::Place& place) noexcept {
  bool changed = false;
  while (!free_.empty()) {
    const auto command = place.operation->next();
    if (!command) break;
    File& file = OperationSet::file_of(place, *command);
    const int descriptor = file.async_descriptor(*command);
    // The kernel calls an empty range an error.
    const bool ranged =
        command->kind == IoCommand::Kind::zero || command->kind == IoCommand::Kind::punch;
    if (descriptor >= 0 && !(ranged && command->length == 0)) {
      queue(place, *command, descriptor);
      continue;
    }
    ++counts_.executed;
    place.operation->complete(command->slot, file.execute(*command));
    changed = true;
  }
  return operations_.retire(place) || changed;
}

/// Asks operations until none has anything more to say. True when any had.
bool UringDriver::pump() noexcept {
  bool any = false;
  while (ask_all_) {
    ask_all_ = false;
    for (OperationSet::Place* place = operations_.first(); place != nullptr;) {
      OperationSet::Place* const next = OperationSet::after(*place);
      if (pump_one(*place)) ask_all_ = any = true;
      place = next;
    }
    // Deliver what has finished before going on with what only this thread can execute.
    if (operations_.has_finished()) break;
  }
  return any;
}

io_uring_sqe* UringDriver::next_sqe() noexcept {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  if (sqe != nullptr) return sqe;
  submit(false);
  sqe = io_uring_get_sqe(&ring_);
  if (sqe == nullptr) std::terminate();  // submit() has emptied the queue
  return sqe;
}

void UringDriver::queue(OperationSet::Place& place, const IoCommand& command,
                        int descriptor) noexcept {
  io_uring_sqe* const sqe = next_sqe();
  const std::uint32_t index = free_.back();
  free_.pop_back();
  table_[index] = {.command = command, .place = &place};
  prepare(sqe, command, descriptor);
  io_uring_sqe_set_data64(sqe, index);
  ++place.in_flight;
  ++in_flight_;
  ++unsubmitted_;
}

void UringDriver::submit(bool wait_for_one) noexcept {
  for (int tries = 0; unsubmitted_ > 0 || wait_for_one; ++tries) {
    const int result = wait_for_one ? io_uring_submit_and_wait(&ring_, 1) : io_uring_submit(&ring_);
    if (result >= 0) {
      const auto taken = std::min(static_cast<std::uint32_t>(result), unsubmitted_);
      if (taken > 0) ++counts_.submissions;
      counts_.requests += taken;
      unsubmitted_ -= taken;
      if (unsubmitted_ == 0) return;
      continue;
    }
    if (result == -EINTR) {
      if (wait_for_one && unsubmitted_ == 0) return;  // the caller looks and comes back
      continue;
    }
    // Out of memory for requests, or completions wait to be taken: the caller does that.
    if ((result != -EAGAIN && result != -EBUSY) || tries >= kMostSubmitRetries) std::terminate();
    if (io_uring_cq_ready(&ring_) > 0) return;
    ::poll(nullptr, 0, kSubmitRetryMs);
  }
}

bool UringDriver::take_completions() noexcept {
  std::array<io_uring_cqe*, kCompletionBatch> batch;
  bool any = false;
  while (in_flight_ + (wake_armed_ ? 1 : 0) > unsubmitted_) {
    const unsigned count = io_uring_peek_batch_cqe(&ring_, batch.data(), kCompletionBatch);
    for (unsigned i = 0; i < count; ++i) {
      const std::uint64_t data = io_uring_cqe_get_data64(batch[i]);
      const std::int32_t result = batch[i]->res;
      if (data == kWake) {
        wake_armed_ = false;
        woken_ = true;
        continue;
      }
      complete(static_cast<std::uint32_t>(data), result);
    }
    io_uring_cq_advance(&ring_, count);
    any = any || count > 0;
    if (count < kCompletionBatch) break;
  }
  if (any) ask_all_ = true;
  return any;
}

void UringDriver::complete(std::uint32_t index, std::int32_t result) noexcept {
  const IoCommand command = table_[index].command;
  OperationSet::Place& place = *table_[index].place;
  free_.push_back(index);
  --in_flight_;
  --place.in_flight;
  if (worth_executing(result)) {
    ++counts_.executed;
    result = OperationSet::file_of(place, command).execute(command);
  }
  place.operation->complete(command.slot, result);
}

void UringDriver::step() noexcept {
  take_completions();
  pump();
  submit(false);
}

/// With nothing in flight and nothing changed by asking, nothing ever will.
void UringDriver::check_not_stuck() const noexcept {
  if (operations_.unfinished() > 0 && in_flight_ == 0 && !ask_all_ && !operations_.has_finished())
    std::terminate();
}

Operation* UringDriver::reap() noexcept {
  if (operations_.under_way() == 0) return nullptr;
  // What has finished goes first: what is started in its place is then submitted together.
  if (Operation* const done = operations_.take_finished()) return done;
  do {
    step();
    if (Operation* const done = operations_.take_finished()) return done;
    check_not_stuck();
  } while (ask_all_ || drain_event() || io_uring_cq_ready(&ring_) > 0);
  return nullptr;
}

Operation* UringDriver::wait() noexcept {
  while (operations_.under_way() > 0) {
    if (Operation* const done = operations_.take_finished()) return done;
    take_completions();
    pump();
    if (operations_.has_finished()) {
      submit(false);
      continue;
    }
    check_not_stuck();
    if (!ask_all_) submit(true);
  }
  return nullptr;
}

Operation* UringDriver::wait_or_wake() noexcept {
  if (const Status settled = settle_in_thread(); !settled) std::terminate();
  for (;;) {
    if (Operation* const done = operations_.take_finished()) return done;
    take_completions();
    pump();
    if (operations_.has_finished()) {
      submit(false);
      continue;
    }
    if (std::exchange(woken_, false)) {
      submit(false);
      return nullptr;
    }
    check_not_stuck();
    arm_wake();
    if (!ask_all_) submit(true);
  }
}

void UringDriver::arm_wake() noexcept {
  if (wake_armed_) return;
  io_uring_sqe* const sqe = next_sqe();
  io_uring_prep_read(sqe, wake_event_.get(), &wake_count_, sizeof wake_count_, 0);
  io_uring_sqe_set_data64(sqe, kWake);
  wake_armed_ = true;
  ++unsubmitted_;
}

void UringDriver::wake() noexcept { announce_event(wake_event_); }

int UringDriver::descriptor() noexcept {
  if (!event_ && open_) {
    Fd event{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (!event || io_uring_register_eventfd(&ring_, event.get()) != 0) return ring_.ring_fd;
    event_ = std::move(event);
  }
  return event_ ? event_.get() : ring_.ring_fd;
}

/// Takes the event back before the last look; true when there was one.
bool UringDriver::drain_event() noexcept { return event_ && take_event(event_); }

}  // namespace openvhd
