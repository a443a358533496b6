#include "bench_run.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <deque>
#include <latch>
#include <memory>
#include <optional>
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

using Workers = std::vector<std::unique_ptr<BenchWorker>>;

/// A job, and those who do it.
struct Crew {
  const BenchJob& job;
  BenchWorker::Shared shared;
  Workers workers = {};
  ImageStatistics before = {};
  OnlineReport online = {};
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

// The threads, one per worker; fewer, and `stop` set, where the host has no more. The queues of one
// disk are opened one after the other by their threads, as those of another are at the same time.
std::vector<std::jthread> start(const std::deque<Crew>& crews, std::size_t count,
                                std::atomic<bool>& stop, Gates& gates) {
  std::vector<std::jthread> threads;
  threads.reserve(count);
  try {
    for (const auto& crew : crews)
      for (const auto& worker : crew.workers)
        threads.emplace_back([&] { work(*worker, crew.job.disk, stop, gates); });
  } catch (const std::system_error&) {
    stop = true;
    const auto missing = static_cast<std::ptrdiff_t>(count - threads.size());
    gates.opened.count_down(missing);
    gates.ended.count_down(missing);
  }
  return threads;
}

// What changes the disks meanwhile, until `over`.
std::vector<std::jthread> start_online(std::deque<Crew>& crews, const std::atomic<bool>& over) {
  std::vector<std::jthread> threads;
  for (auto& crew : crews) {
    const auto& options = crew.job.options;
    if (options.online == OnlineWork::none) continue;
    threads.emplace_back([&crew, &options, &over] {
      crew.online = work_online(crew.job.disk, options.online, options.online_rate, over);
    });
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

struct Flows {
  std::optional<openvhd::QosHost> host = {};
  std::vector<openvhd::QosFlow> flows = {};
};

openvhd::Result<Flows> make_flows(const QosPlan& plan) {
  Flows out;
  auto host = openvhd::QosHost::create(plan.host);
  if (!host) return host.error();
  out.host = *std::move(host);
  std::vector<openvhd::QosPolicy> policies;
  for (const auto& one : plan.policies) {
    auto policy = openvhd::QosPolicy::create(*out.host, one.limits, one.sharing);
    if (!policy) return policy.error();
    policies.push_back(*std::move(policy));
  }
  for (const auto& disk : plan.disks) {
    auto flow = openvhd::QosFlow::create(policies[disk.policy], disk.weight);
    if (!flow) return flow.error();
    out.flows.push_back(*std::move(flow));
  }
  return out;
}

std::optional<BenchFailure> failure_of(const std::deque<Crew>& crews, bool all_started) {
  for (std::size_t job = 0; job < crews.size(); ++job) {
    for (const auto& worker : crews[job].workers)
      if (worker->error()) return BenchFailure{*worker->error(), job};
    if (crews[job].online.error) return BenchFailure{*crews[job].online.error, job};
  }
  if (!all_started) return BenchFailure{{.code = Errc::io, .sys_errno = EAGAIN, .what = "threads"}};
  if (interrupted()) return BenchFailure{{.code = Errc::cancelled, .what = "stopped on request"}};
  return {};
}

}  // namespace

BenchRun run_bench(std::span<const BenchJob> jobs, const QosPlan* plan,
                   std::optional<BenchFailure>& failure) {
  Flows flows;
  if (plan != nullptr) {
    auto made = make_flows(*plan);
    if (!made) {
      failure = BenchFailure{made.error()};
      return {};
    }
    flows = *std::move(made);
  }
  std::atomic<bool> stop{false};
  std::deque<Crew> crews;
  std::size_t count = 0;
  for (const auto& job : jobs) {
    auto& crew = crews.emplace_back(
        Crew{.job = job,
             .shared = {.range = job.range, .options = job.options, .flow = {}, .stop = stop}});
    if (plan != nullptr) crew.shared.flow = flows.flows[crews.size() - 1];
    for (std::uint32_t i = 0; i < job.options.queues; ++i, ++count)
      crew.workers.push_back(std::make_unique<BenchWorker>(crew.shared, i));
  }
  Gates gates{static_cast<std::ptrdiff_t>(count)};
  auto threads = start(crews, count, stop, gates);
  const bool all_started = threads.size() == count;
  gates.opened.wait();
  for (auto& crew : crews) crew.before = openvhd::image_statistics(crew.job.disk);
  gates.begin.count_down();
  std::atomic<bool> over{false};
  auto beside = start_online(crews, over);
  gates.ended.wait();
  over = true;
  beside.clear();
  BenchRun run;
  for (auto& crew : crews) {
    auto& result = run.disks.emplace_back(sum(crew.workers));
    result.online = crew.online;
    result.image = difference(openvhd::image_statistics(crew.job.disk), crew.before);
    if (crew.shared.flow) result.qos = crew.shared.flow->status();
  }
  if (flows.host) run.host = flows.host->status();
  gates.close.count_down();
  threads.clear();
  failure = failure_of(crews, all_started);
  if (failure) run = {};
  return run;
}

}  // namespace vhdtool
