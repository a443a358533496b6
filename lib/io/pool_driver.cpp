#include "io/pool_driver.hpp"

#include <sys/eventfd.h>

#include <cerrno>
#include <exception>
#include <system_error>
#include <utility>

#include "io/event.hpp"
#include "io/signals_blocked.hpp"

namespace openvhd {
namespace {

/// What several threads may do to one file at a time.
bool may_run_aside(const IoCommand& command) noexcept {
  return command.kind == IoCommand::Kind::read || command.kind == IoCommand::Kind::write ||
         command.kind == IoCommand::Kind::sync;
}

}  // namespace

Result<std::unique_ptr<PoolDriver>> PoolDriver::create(std::uint32_t depth) {
  if (depth == 0 || depth > kMaxDriverDepth)
    return Error{.code = Errc::invalid, .what = "depth of a driver"};
  auto driver = std::make_unique<PoolDriver>(depth);
  if (!driver->event_) return Error{.code = Errc::io, .sys_errno = errno, .what = "eventfd"};
  const SignalsBlocked quiet;
  try {
    for (unsigned i = 0; i < kThreads; ++i)
      driver->threads_.emplace_back([pool = driver.get()] { pool->work(); });
  } catch (const std::system_error& error) {
    // One thread is enough to go on with.
    if (driver->threads_.empty())
      return Error{.code = Errc::io, .sys_errno = error.code().value(), .what = "thread for I/O"};
  }
  return driver;
}

PoolDriver::PoolDriver(std::uint32_t depth)
    : operations_{depth}, event_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {}

PoolDriver::~PoolDriver() {
  while (in_flight_ > 0) take_completions(true, false);
  {
    const std::scoped_lock lock{mutex_};
    stop_ = true;
  }
  todo_changed_.notify_all();
}

void PoolDriver::work() noexcept {
  std::unique_lock lock{mutex_};
  for (;;) {
    todo_changed_.wait(lock, [this] { return stop_ || !todo_.empty(); });
    if (todo_.empty()) return;
    Task task = todo_.front();
    todo_.pop_front();
    lock.unlock();
    task.result = task.file->execute(task.command);
    lock.lock();
    done_.push_back(task);
    if (done_.size() == 1) announce_event(event_);
    done_changed_.notify_one();
  }
}

Status PoolDriver::start(Operation& operation, std::span<File* const> files) noexcept {
  if (operations_.full())
    return Error{.code = Errc::busy, .what = "as many operations as the driver's depth"};
  operations_.add(operation, files);
  ask_all_ = true;
  return Ok{};
}

/// True when something was executed here, or the operation has finished: others may have waited
/// for that.
bool PoolDriver::pump_one(OperationSet::Place& place) noexcept {
  bool changed = false;
  while (const auto command = place.operation->next()) {
    File& file = OperationSet::file_of(place, *command);
    if (!may_run_aside(*command)) {
      place.operation->complete(command->slot, file.execute(*command));
      changed = true;
      continue;
    }
    ++place.in_flight;
    ++in_flight_;
    const std::scoped_lock lock{mutex_};
    todo_.push_back({.command = *command, .place = &place, .file = &file});
    todo_changed_.notify_one();
  }
  return operations_.retire(place) || changed;
}

void PoolDriver::pump() noexcept {
  while (std::exchange(ask_all_, false)) {
    for (OperationSet::Place* place = operations_.first(); place != nullptr;) {
      OperationSet::Place* const next = OperationSet::after(*place);
      if (pump_one(*place)) ask_all_ = true;
      place = next;
    }
    if (operations_.has_finished()) return;
  }
}

/// Gives results to their operations; true when there were any.
bool PoolDriver::take_completions(bool wait, bool or_wake) noexcept {
  {
    std::unique_lock lock{mutex_};
    if (wait) {
      done_changed_.wait(lock, [&] { return !done_.empty() || (or_wake && wake_); });
    }
    woken_ = woken_ || std::exchange(wake_, false);
    std::swap(taken_, done_);
    if (!taken_.empty()) take_event(event_);
  }
  for (const Task& task : taken_) {
    --in_flight_;
    --task.place->in_flight;
    task.place->operation->complete(task.command.slot, task.result);
  }
  const bool any = !taken_.empty();
  taken_.clear();
  if (any) ask_all_ = true;
  return any;
}

void PoolDriver::check_not_stuck() const noexcept {
  if (operations_.unfinished() > 0 && in_flight_ == 0 && !ask_all_ && !operations_.has_finished())
    std::terminate();
}

Operation* PoolDriver::reap() noexcept {
  for (;;) {
    if (Operation* const done = operations_.take_finished()) return done;
    if (operations_.under_way() == 0) return nullptr;
    const bool any = take_completions(false, false);
    const bool asked = ask_all_;
    pump();
    check_not_stuck();
    if (!any && !asked && !operations_.has_finished()) return nullptr;
  }
}

Operation* PoolDriver::wait() noexcept {
  while (operations_.under_way() > 0) {
    if (Operation* const done = reap()) return done;
    take_completions(true, false);
  }
  return nullptr;
}

Operation* PoolDriver::wait_or_wake() noexcept {
  for (;;) {
    if (Operation* const done = reap()) return done;
    if (std::exchange(woken_, false)) return nullptr;
    take_completions(true, true);
  }
}

void PoolDriver::wake() noexcept {
  const std::scoped_lock lock{mutex_};
  wake_ = true;
  done_changed_.notify_one();
}

}  // namespace openvhd
