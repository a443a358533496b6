/// A job as an operation on a chain.
#pragma once

#include <atomic>
#include <openvhd/queue.hpp>
#include <variant>

#include "image/ops/clear_op.hpp"
#include "image/ops/flush_op.hpp"
#include "image/ops/map_op.hpp"
#include "image/ops/move_op.hpp"
#include "image/ops/read_op.hpp"
#include "image/ops/write_op.hpp"
#include "image/queue/job.hpp"

namespace openvhd {

/// What is in flight to the host, by kind, of all jobs of an image. Written by one thread at a
/// time, read by any.
class CommandCounts {
 public:
  void count(const IoCommand& command, bool of_layer) noexcept;
  /// Everything but what layers count themselves.
  ImageStatistics read() const noexcept;

 private:
  using Counter = std::atomic<std::uint64_t>;
  static void add(Counter& counter, std::uint64_t amount) noexcept {
    counter.store(counter.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  Counter syncs_{0};
  Counter durable_writes_{0};
  Counter payload_bytes_{0};
  Counter metadata_reads_{0};
  Counter metadata_read_bytes_{0};
  Counter metadata_writes_{0};
  Counter metadata_write_bytes_{0};
  Counter reserves_{0};
  Counter zeroes_{0};
  Counter punches_{0};
};

/// Runs any job but a call; used for one after the other. Where a job must be durable, what it
/// changed is flushed after it. Made, used and reset in the owner's thread.
class JobOperation final : public Operation {
 public:
  JobOperation(Chain& chain, CommandCounts& counts) noexcept : chain_{chain}, counts_{counts} {}

  void begin(Job& job) noexcept;
  /// After it has finished: sets the job's status and gives it back.
  Job& end() noexcept;

  std::optional<IoCommand> next() noexcept override;
  void complete(std::uint32_t slot, std::int32_t result) noexcept override;
  std::optional<Status> finished() const noexcept override;

 private:
  Operation* active() noexcept;
  const Operation* active() const noexcept;
  bool must_flush_yet() const noexcept { return job_->durable && !flushing_; }

  Chain& chain_;
  CommandCounts& counts_;
  Job* job_ = nullptr;
  bool flushing_ = false;
  std::variant<std::monostate, ReadOp, WriteOp, ClearOp, FlushOp, MapOp, MoveOp> operation_;
};

}  // namespace openvhd
