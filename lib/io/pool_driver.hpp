/// The driver where io_uring is forbidden: a few threads that read, write and sync.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/fd.hpp"
#include "io/driver.hpp"
#include "io/operation_set.hpp"

namespace openvhd {

/// Transfers and syncs run side by side in threads of its own, so that a slow sync holds up
/// nobody else. Commands that change the shape of a file run in the thread that asks, one at a
/// time, as files expect it.
class PoolDriver final : public Driver {
 public:
  static constexpr unsigned kThreads = 8;

  /// Errors: invalid depth, io when no thread can be started.
  static Result<std::unique_ptr<PoolDriver>> create(std::uint32_t depth);
  explicit PoolDriver(std::uint32_t depth);
  ~PoolDriver() override;

  Status start(Operation& operation, std::span<File* const> files) noexcept override;
  Operation* reap() noexcept override;
  Operation* wait() noexcept override;
  Operation* wait_or_wake() noexcept override;
  void wake() noexcept override;
  int descriptor() noexcept override { return event_.get(); }
  std::uint32_t under_way() const noexcept override { return operations_.under_way(); }
  const char* name() const noexcept override { return "thread pool"; }

 private:
  struct Task {
    IoCommand command;
    OperationSet::Place* place = nullptr;
    File* file = nullptr;
    std::int32_t result = 0;
  };

  void work() noexcept;
  void pump() noexcept;
  bool pump_one(OperationSet::Place& place) noexcept;
  bool take_completions(bool wait, bool or_wake) noexcept;
  void check_not_stuck() const noexcept;

  OperationSet operations_;
  std::uint32_t in_flight_ = 0;
  bool ask_all_ = false;
  bool woken_ = false;
  std::vector<Task> taken_;  // take_completions()'s

  std::mutex mutex_;  // of what follows, up to the threads
  std::condition_variable todo_changed_;
  std::condition_variable done_changed_;
  std::deque<Task> todo_;
  std::vector<Task> done_;
  bool wake_ = false;
  bool stop_ = false;
  Fd event_;  // readable while done_ has something
  std::vector<std::jthread> threads_;
};

}  // namespace openvhd
