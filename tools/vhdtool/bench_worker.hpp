/// One queue of a bench, with the requests that go round in it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <openvhd/qos.hpp>
#include <openvhd/queue.hpp>
#include <optional>
#include <vector>

#include "bench_run.hpp"

namespace vhdtool {

class BenchWorker {
 public:
  using Clock = std::chrono::steady_clock;

  /// By the workers of one disk.
  struct Shared {
    const BenchRange& range;
    const BenchOptions& options;
    std::optional<openvhd::QosFlow> flow;
    std::atomic<bool>& stop;  ///< One failed: all end, of every disk.
  };

  BenchWorker(Shared& shared, std::uint64_t number);
  BenchWorker(const BenchWorker&) = delete;
  BenchWorker& operator=(const BenchWorker&) = delete;

  // All in one thread, in this order. Whether something failed is in error(), and all are told to
  // stop.
  void open(openvhd::Disk& disk) noexcept;
  void run() noexcept;
  void close() noexcept;

  // Of a run that has ended.

  const std::optional<openvhd::Error>& error() const noexcept { return error_; }
  const openvhd::QueueStatistics& statistics() const noexcept { return statistics_; }
  const char* driver() const noexcept { return driver_; }
  std::uint64_t requests() const noexcept { return completed_; }
  bool exhausted() const noexcept { return exhausted_; }
  Clock::time_point begin() const noexcept { return begin_; }
  Clock::time_point end() const noexcept { return end_; }

 private:
  struct Slot : openvhd::IoRequest {
    BenchWorker* worker = nullptr;
    iovec memory{};
    bool flushing = false;
  };
  struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };

  openvhd::Status open_queue(openvhd::Disk& disk) noexcept;
  openvhd::Status prepare_memory() noexcept;
  static void on_done(openvhd::IoRequest& request, openvhd::Status status) noexcept;
  [[gnu::always_inline]] inline void completed(Slot& slot) noexcept;
  void submit_next(Slot& slot) noexcept;
  void submit_flush(Slot& slot) noexcept;
  void fail(const openvhd::Error& error) noexcept;
  bool must_stop() const noexcept;
  [[gnu::noinline]] void submit(Slot& slot) noexcept;
  [[gnu::noinline]] void read_limited(Slot& slot) noexcept;
  /// Calls with the limited queue, or else with the queue.
  template <class Call>
  auto on_queue(Call call) noexcept {
    return limited_ ? call(*limited_) : call(*queue_);
  }

  Shared& shared_;
  const BenchMode mode_;
  BenchWalk walk_;
  bool reads_anywhere_;                  // of a queue without limits
  bool limited_reads_anywhere_ = false;  // of one with limits
  std::uint64_t places_;                 // for a request in a unit, where that is longer
  std::uint64_t left_;                   // requests to submit
  std::uint64_t until_flush_;
  std::uint64_t completed_ = 0;
  bool exhausted_ = false;
  std::optional<openvhd::Error> error_;
  std::unique_ptr<std::byte, Free> memory_;
  std::vector<Slot> slots_;
  std::optional<openvhd::Queue> queue_;
  openvhd::Queue* door_ = nullptr;            // queue_, where it has no limits
  std::optional<openvhd::QosQueue> limited_;  // with a flow; has taken over `queue_`
  openvhd::QueueStatistics statistics_;
  const char* driver_ = "";
  Clock::time_point begin_;
  Clock::time_point end_;
};

}  // namespace vhdtool
