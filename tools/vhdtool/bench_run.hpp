/// The work of `vhdtool bench`: requests through the queues of a disk, and what they took.
#pragma once

#include <cstdint>
#include <openvhd/disk.hpp>
#include <openvhd/qos.hpp>
#include <openvhd/queue.hpp>
#include <optional>
#include <span>
#include <vector>

#include "bench_online.hpp"
#include "bench_range.hpp"
#include "qos_plan.hpp"

namespace vhdtool {

enum class BenchMode : std::uint8_t { read, write, alloc, trim };

struct BenchOptions {
  BenchMode mode = BenchMode::read;
  std::uint64_t block = 4096;          ///< Bytes of a request; for trim the unit of the range.
  std::uint32_t depth = 32;            ///< Requests under way at once, in each queue.
  std::uint32_t queues = 1;            ///< Each with a thread of its own.
  std::uint64_t flush_every = 0;       ///< A flush behind so many requests of a queue; 0: none.
  std::uint64_t seconds = 0;           ///< 0: no limit.
  std::optional<std::uint64_t> count;  ///< Requests of all queues together.
  std::uint64_t seed = 0;
  bool sequential = false;
  bool durable = false;                  ///< Each write is durable when it completes.
  bool registered = false;               ///< Buffers are made known to the kernel.
  OnlineWork online = OnlineWork::none;  ///< What goes on beside the requests.
  std::uint64_t online_rate = 0;         ///< Bytes per second of that; 0: no limit.
};

struct BenchResult {
  double seconds = 0;  ///< From the first request until the last one was done.
  std::uint64_t requests = 0;
  bool exhausted = false;  ///< Ended because no unit was left.
  const char* driver = "";
  openvhd::QueueStatistics queues;  ///< Of all queues together.
  openvhd::ImageStatistics image;   ///< What the run added.
  openvhd::QosStatus qos;           ///< With a plan: of this disk.
  OnlineReport online;              ///< With work beside the requests.
};

/// A disk, and what it is asked for. All of it is borrowed.
struct BenchJob {
  openvhd::Disk& disk;
  const BenchRange& range;  ///< Not empty.
  const BenchOptions& options;
};

struct BenchRun {
  std::vector<BenchResult> disks;  ///< By job.
  openvhd::QosStatus host;         ///< With a plan: of all disks.
};

/// What ended a run before its time, and in which job.
struct BenchFailure {
  openvhd::Error error;
  std::size_t job = 0;
};

/// Runs all jobs at once, each until its count, the time or its units are at an end, and waits for
/// what is under way. The first request that fails ends the run with its error; SIGINT ends it with
/// cancelled. Errors: as Queue; `failure` tells, and the result then has no disks. `plan` has a
/// disk for each job; null: no limits.
BenchRun run_bench(std::span<const BenchJob> jobs, const QosPlan* plan,
                   std::optional<BenchFailure>& failure);

}  // namespace vhdtool
