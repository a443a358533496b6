#include "bench_run.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <latch>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

#include "bench_worker.hpp"
#include "signals.hpp"

namespace vhdtool {
namespace {

using openvhd::Errc;
using openvhd::Error;
using openvhd::ImageStatistics;
using openvhd::QueueStatistics;

void add(QueueStatistics::Kind& to, const QueueStatistics::Kind& from) noexcept {
  to.requests += from.requests;
  to.bytes += from.bytes;
  to.failed += from.failed;
}

void add(QueueStatistics& to, const QueueStatistics& from) noexcept {
  add(to.reads, from.reads);
  add(to.writes, from.writes);
  add(to.zeroes, from.zeroes);
  add(to.trims, from.trims);
  add(to.flushes, from.flushes);
  to.mapped += from.mapped;
  to.handed_over += from.handed_over;
  to.submissions += from.submissions;
  to.host_requests += from.host_requests;
  for (std::size_t i = 0; i < to.latency.counts.size(); ++i)
    to.latency.counts[i] += from.latency.counts[i];
}

ImageStatistics difference(const ImageStatistics& after, const ImageStatistics& before) noexcept {
  ImageStatistics out;
  for (const auto field :
       {&ImageStatistics::syncs, &ImageStatistics::durable_writes, &ImageStatistics::payload_bytes,
        &ImageStatistics::metadata_reads, &ImageStatistics::metadata_read_bytes,
        &ImageStatistics::metadata_writes, &ImageStatistics::metadata_write_bytes,
        &ImageStatistics::reserves, &ImageStatistics::zeroes, &ImageStatistics::punches,
        &ImageStatistics::allocated_blocks, &ImageStatistics::commits}) {
    out.*field = after.*field - before.*field;
  }
  return out;
}

// All open their queues before any begins, and all have ended before any closes: what opening and
// closing cost the image is no part of the run.
struct Gates {
  explicit Gates(std::ptrdiff_t workers) : opened{workers}, ended{workers} {}
  std::latch opened;
  std::latch begin{1};
  std::latch ended;
  std::latch close{1};
};

void work(BenchWorker& worker, openvhd::Disk& disk, const std::atomic<bool>& stop, Gates& gates) {
  worker.open(disk);
  gates.opened.count_down();
  gates.begin.wait();
  if (!stop) worker.run();
  gates.ended.count_down();
  gates.close.wait();
  worker.close();
}

using Workers = std::vector<std::unique_ptr<BenchWorker>>;

// The threads, one per worker; fewer, and `shared` told to stop, where the host has no more.
std::vector<std::jthread> start(const Workers& workers, openvhd::Disk& disk,
                                BenchWorker::Shared& shared, Gates& gates) {
  std::vector<std::jthread> threads;
  threads.reserve(workers.size());
  try {
    for (const auto& worker : workers)
      threads.emplace_back([&] { work(*worker, disk, shared.stop, gates); });
  } catch (const std::system_error&) {
    shared.stop = true;
    const auto missing = static_cast<std::ptrdiff_t>(workers.size() - threads.size());
    gates.opened.count_down(missing);
    gates.ended.count_down(missing);
  }
  return threads;
}

BenchResult sum(const Workers& workers) {
  BenchResult out;
  auto begin = workers.front()->begin();
  auto end = workers.front()->end();
  for (const auto& worker : workers) {
    begin = std::min(begin, worker->begin());
    end = std::max(end, worker->end());
    out.requests += worker->requests();
    out.exhausted = out.exhausted || worker->exhausted();
    add(out.queues, worker->statistics());
  }
  out.seconds = std::chrono::duration<double>(end - begin).count();
  out.driver = workers.front()->driver();
  return out;
}

}  // namespace

openvhd::Result<BenchResult> run_bench(openvhd::Disk& disk, const BenchRange& range,
                                       const BenchOptions& options) {
  BenchWorker::Shared shared{.range = range, .options = options};
  if (options.qos) {
    auto policy = openvhd::QosPolicy::create(*options.qos);
    if (!policy) return policy.error();
    shared.policy = *std::move(policy);
  }
  Workers workers;
  for (std::uint32_t i = 0; i < options.queues; ++i)
    workers.push_back(std::make_unique<BenchWorker>(shared, i));
  Gates gates{static_cast<std::ptrdiff_t>(workers.size())};
  auto threads = start(workers, disk, shared, gates);
  const bool all_started = threads.size() == workers.size();
  gates.opened.wait();
  const auto before = openvhd::image_statistics(disk);
  gates.begin.count_down();
  gates.ended.wait();
  const auto after = openvhd::image_statistics(disk);
  gates.close.count_down();
  threads.clear();
  for (const auto& worker : workers) {
    if (worker->error()) return *worker->error();
  }
  if (!all_started) return Error{.code = Errc::io, .sys_errno = EAGAIN, .what = "threads"};
  if (interrupted()) return Error{.code = Errc::cancelled, .what = "stopped on request"};
  auto out = sum(workers);
  out.image = difference(after, before);
  if (shared.policy) out.qos = shared.policy->status();
  return out;
}

}  // namespace vhdtool
