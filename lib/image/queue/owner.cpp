#include "image/queue/owner.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <utility>

#include "io/signals_blocked.hpp"

namespace openvhd {
namespace {

/// For whoever waits for one job.
class Waiter final : public JobSink {
 public:
  void finished(Job&) noexcept override {}
  void ring() noexcept override {
    // Under the lock: who waits may take this object away as soon as it has seen `done_`.
    const std::scoped_lock lock{mutex_};
    done_ = true;
    changed_.notify_one();
  }
  void wait() noexcept {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [this] { return done_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
};

}  // namespace

Owner::Owner(Chain& chain, const std::vector<File*>& files, std::unique_ptr<Driver> driver,
             CommandCounts& counts)
    : chain_{chain}, files_{files}, driver_{std::move(driver)}, counts_{counts} {
  const SignalsBlocked quiet;
  thread_ = std::thread{[this] { work(); }};
}

Owner::~Owner() {
  stop_.store(true);
  driver_->wake();
  thread_.join();
}

void Owner::post(Job& first, Job& last) noexcept {
  // The inbox is a stack: what is posted together is turned around here, and again when taken.
  Job* top = nullptr;
  for (Job* job = &first; job != nullptr;) {
    Job* const next = job == &last ? nullptr : job->next;
    job->next = top;
    top = job;
    job = next;
  }
  Job* below = inbox_.load(std::memory_order_relaxed);
  do {
    first.next = below;
  } while (!inbox_.compare_exchange_weak(below, top, std::memory_order_release,
                                         std::memory_order_relaxed));
  // Either the owner sees the jobs before it sleeps, or this sees that it sleeps.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (sleeping_.load(std::memory_order_relaxed) && sleeping_.exchange(false)) driver_->wake();
}

Status Owner::run(Job& job) noexcept {
  Waiter waiter;
  job.sink = &waiter;
  post(job, job);
  waiter.wait();
  return job.status;
}

void Owner::work() noexcept {
  for (;;) {
    take_inbox();
    start_backlog();
    while (Operation* const done = driver_->reap()) {
      finish(*done);
      start_backlog();
    }
    ring_sinks();
    if (stop_.load() && driver_->under_way() == 0 && inbox_.load() == nullptr) return;

    sleeping_.store(true, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const bool stopping = stop_.load() && driver_->under_way() == 0;
    if (inbox_.load(std::memory_order_relaxed) != nullptr || stopping) {
      sleeping_.store(false, std::memory_order_relaxed);
      continue;
    }
    Operation* const done = driver_->wait_or_wake();
    sleeping_.store(false, std::memory_order_relaxed);
    if (done != nullptr) finish(*done);
  }
}

void Owner::take_inbox() noexcept {
  Job* const last = inbox_.exchange(nullptr, std::memory_order_acquire);
  if (last == nullptr) return;
  Job* const first = reversed(last);
  (backlog_ == nullptr ? backlog_ : backlog_last_->next) = first;
  backlog_last_ = last;
}

void Owner::start_backlog() noexcept {
  while (backlog_ != nullptr && driver_->under_way() < kDepth) {
    Job& job = *backlog_;
    backlog_ = job.next;
    if (job.kind == Job::Kind::call) {
      // A call may be what a sink is taken away after.
      ring_sinks();
      job.call(job);
      give_back(job);
      continue;
    }
    if (job.kind == Job::Kind::still) {
      be_still(job);
      continue;
    }
    if (held_length_ != 0 && must_wait(job)) {
      job.next = held_;
      held_ = &job;
      continue;
    }
    if (!job.background) requests_.store(requests() + 1, std::memory_order_relaxed);
    JobOperation& operation = free_operation();
    operation.begin(job);
    const auto files = std::span{files_}.subspan(job.first_layer);
    if (const Status started = driver_->start(operation, files); !started) std::terminate();
  }
}

bool Owner::must_wait(const Job& job) const noexcept {
  const bool writes = job.kind == Job::Kind::write;
  if (!writes && job.kind != Job::Kind::zero && job.kind != Job::Kind::trim) return false;
  const std::uint64_t length = writes ? total_bytes(job.buffers) : job.length;
  return job.at < held_at_ + held_length_ && held_at_ < job.at + length;
}

void Owner::release() noexcept {
  held_length_ = 0;
  if (held_ == nullptr) return;
  Job* const last = held_;
  Job* const first = reversed(std::exchange(held_, nullptr));
  last->next = backlog_;
  if (backlog_ == nullptr) backlog_last_ = last;
  backlog_ = first;
}

void Owner::be_still(Job& job) noexcept {
  StillMoment& moment = *job.moment;
  moment.begin();
  while (driver_->under_way() > 0) {
    // Whose transfers are waited for may itself be waiting for what has just finished.
    ring_sinks();
    if (Operation* const done = driver_->wait_or_wake()) finish(*done);
  }
  ring_sinks();
  if (wait_until_quiet(moment)) {
    job.status = moment.act();
  } else {
    job.status =
        Error{.code = Errc::busy, .what = "a queue's thread does not take back what has completed"};
  }
  moment.end();
  give_back(job);
}

/// Transfers take as long as the medium does; only their queue's thread can say that they are over.
bool Owner::wait_until_quiet(StillMoment& moment) noexcept {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::seconds kLongest{5};
  constexpr unsigned kLooks = 200;  // without sleeping
  constexpr std::chrono::microseconds kPause{20};
  for (unsigned looks = 0; looks < kLooks; ++looks) {
    if (moment.quiet()) return true;
    std::this_thread::yield();
  }
  for (const auto end = Clock::now() + kLongest; Clock::now() < end;) {
    if (moment.quiet()) return true;
    std::this_thread::sleep_for(kPause);
  }
  return false;
}

JobOperation& Owner::free_operation() {
  if (free_.empty()) {
    operations_.push_back(std::make_unique<JobOperation>(chain_, counts_));
    free_.reserve(operations_.size());
    return *operations_.back();
  }
  JobOperation& out = *free_.back();
  free_.pop_back();
  return out;
}

void Owner::finish(Operation& operation) noexcept {
  // The driver runs nothing but what start_backlog() gave it.
  auto& done = static_cast<JobOperation&>(operation);
  Job& job = done.end();
  free_.push_back(&done);
  give_back(job);
}

void Owner::give_back(Job& job) noexcept {
  JobSink* const sink = job.sink;
  if (std::ranges::find(to_ring_, sink) == to_ring_.end()) to_ring_.push_back(sink);
  sink->finished(job);
}

void Owner::ring_sinks() noexcept {
  for (JobSink* const sink : to_ring_) sink->ring();
  to_ring_.clear();
}

}  // namespace openvhd
