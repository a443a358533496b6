/// The owner of a chain: the one thread that changes its metadata while queues are open.
#pragma once

#include <atomic>
#include <memory>
#include <openvhd/error.hpp>
#include <span>
#include <thread>
#include <vector>

#include "image/chain.hpp"
#include "image/queue/job.hpp"
#include "image/queue/job_operation.hpp"
#include "io/driver.hpp"

namespace openvhd {

/// Takes jobs from any thread through a list that needs no lock, runs as many side by side as its
/// driver is deep, and starts them in the order in which each thread posted them. A job that waits
/// for the medium holds up no other one that does not need what it is waiting for.
///
/// A still moment waits until all that has started before it is over, the transfers of queues
/// among it, and holds up what comes after it: nobody but itself is at work on the chain, which it
/// may change in any way. Where a queue's thread does not take its transfers back in time it fails.
class Owner {
 public:
  static constexpr std::uint32_t kDepth = 256;

  /// All borrowed; from now on until this is destroyed the chain is this thread's alone. What is in
  /// `files` changes in still moments only.
  Owner(Chain& chain, const std::vector<File*>& files, std::unique_ptr<Driver> driver,
        CommandCounts& counts);
  /// Every job has come back.
  ~Owner();

  /// Hands over a list of jobs, linked by `next` from the first to the last. Any thread; no lock.
  void post(Job& first, Job& last) noexcept;

  /// Posts one job and waits for it. Any thread.
  Status run(Job& job) noexcept;

  const char* driver_name() const noexcept { return driver_->name(); }
  /// Jobs that change something of [at, at + length) wait until release(). In this thread.
  void hold(VirtualOffset at, std::uint64_t length) noexcept {
    held_at_ = at;
    held_length_ = length;
  }
  void release() noexcept;
  /// Jobs so far that were not in the background. Any thread.
  std::uint64_t requests() const noexcept { return requests_.load(std::memory_order_relaxed); }
  bool is_this_thread() const noexcept { return std::this_thread::get_id() == thread_.get_id(); }

 private:
  void work() noexcept;
  void take_inbox() noexcept;
  void start_backlog() noexcept;
  bool must_wait(const Job& job) const noexcept;
  void be_still(Job& job) noexcept;
  static bool wait_until_quiet(StillMoment& moment) noexcept;
  void finish(Operation& operation) noexcept;
  void give_back(Job& job) noexcept;
  void ring_sinks() noexcept;
  JobOperation& free_operation();

  Chain& chain_;
  const std::vector<File*>& files_;
  std::unique_ptr<Driver> driver_;
  CommandCounts& counts_;

  alignas(64) std::atomic<Job*> inbox_{nullptr};  // the last posted first
  alignas(64) std::atomic<bool> sleeping_{false};
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> requests_{0};  // this thread's to count

  Job* backlog_ = nullptr;  // the first posted first
  Job* backlog_last_ = nullptr;
  VirtualOffset held_at_{};
  std::uint64_t held_length_ = 0;
  Job* held_ = nullptr;  // the last one first
  std::vector<std::unique_ptr<JobOperation>> operations_;
  std::vector<JobOperation*> free_;
  std::vector<JobSink*> to_ring_;
  std::thread thread_;
};

}  // namespace openvhd
