#include "image/queue/job_operation.hpp"

#include <exception>
#include <utility>

#include "image/live/write_notes.hpp"

namespace openvhd {
namespace {

void note(Chain& chain, VirtualOffset at, std::uint64_t length) noexcept {
  // What is not on the disk fails, and changes nothing.
  if (check_request(chain.geometry(), at, length)) chain.write_notes()->note(at, length);
}

}  // namespace

void CommandCounts::count(const IoCommand& command, bool of_layer) noexcept {
  switch (command.kind) {
    case IoCommand::Kind::read:
      add(of_layer ? metadata_read_bytes_ : payload_bytes_, command.length);
      if (of_layer) add(metadata_reads_, 1);
      break;
    case IoCommand::Kind::write:
      add(of_layer ? metadata_write_bytes_ : payload_bytes_, command.length);
      if (of_layer) add(metadata_writes_, 1);
      if (command.durable) add(durable_writes_, 1);
      break;
    case IoCommand::Kind::sync:
      add(syncs_, 1);
      break;
    case IoCommand::Kind::zero:
      add(zeroes_, 1);
      break;
    case IoCommand::Kind::punch:
      add(punches_, 1);
      break;
    case IoCommand::Kind::reserve:
      add(reserves_, 1);
      break;
    case IoCommand::Kind::set_size:
      break;
  }
}

ImageStatistics CommandCounts::read() const noexcept {
  constexpr auto kRelaxed = std::memory_order_relaxed;
  ImageStatistics out;
  out.syncs = syncs_.load(kRelaxed);
  out.durable_writes = durable_writes_.load(kRelaxed);
  out.payload_bytes = payload_bytes_.load(kRelaxed);
  out.metadata_reads = metadata_reads_.load(kRelaxed);
  out.metadata_read_bytes = metadata_read_bytes_.load(kRelaxed);
  out.metadata_writes = metadata_writes_.load(kRelaxed);
  out.metadata_write_bytes = metadata_write_bytes_.load(kRelaxed);
  out.reserves = reserves_.load(kRelaxed);
  out.zeroes = zeroes_.load(kRelaxed);
  out.punches = punches_.load(kRelaxed);
  return out;
}

void JobOperation::begin(Job& job) noexcept {
  job_ = &job;
  flushing_ = false;
  Chain& chain = job.chain != nullptr ? *job.chain : chain_;
  const bool moves = job.kind == Job::Kind::write;
  const bool clears = job.kind == Job::Kind::zero || job.kind == Job::Kind::trim;
  if (chain.write_notes() != nullptr && (moves || clears)) {
    note(chain, job.at, moves ? total_bytes(job.buffers) : job.length);
  }
  switch (job.kind) {
    case Job::Kind::read:
      operation_.emplace<ReadOp>(chain, job.at, job.buffers);
      return;
    case Job::Kind::write:
      operation_.emplace<WriteOp>(chain, job.at, job.buffers);
      return;
    case Job::Kind::zero:
      operation_.emplace<ClearOp>(chain, job.at, job.length, ClearKind::zero);
      return;
    case Job::Kind::trim:
      operation_.emplace<ClearOp>(chain, job.at, job.length, ClearKind::trim);
      return;
    case Job::Kind::flush:
      operation_.emplace<FlushOp>(chain, FlushOp::Kind::flush);
      return;
    case Job::Kind::close:
      operation_.emplace<FlushOp>(chain, FlushOp::Kind::close);
      return;
    case Job::Kind::map:
      operation_.emplace<MapOp>(chain, job.at, job.length);
      return;
    case Job::Kind::move:
      operation_.emplace<MoveOp>(chain, job.at, *job.moved);
      return;
    case Job::Kind::call:
    case Job::Kind::still:
      break;
  }
  std::terminate();  // these are no operations
}

Job& JobOperation::end() noexcept {
  Job& job = *std::exchange(job_, nullptr);
  job.status = *active()->finished();
  if (const auto* map = std::get_if<MapOp>(&operation_); map != nullptr && job.status)
    job.entry = map->entry();
  operation_.emplace<std::monostate>();
  return job;
}

Operation* JobOperation::active() noexcept {
  return const_cast<Operation*>(std::as_const(*this).active());
}

const Operation* JobOperation::active() const noexcept {
  return std::visit(
      [](const auto& one) -> const Operation* {
        if constexpr (std::is_base_of_v<Operation, std::decay_t<decltype(one)>>) return &one;
        std::terminate();
      },
      operation_);
}

std::optional<IoCommand> JobOperation::next() noexcept {
  auto command = active()->next();
  if (!command && must_flush_yet()) {
    const auto outcome = active()->finished();
    if (!outcome || !*outcome) return std::nullopt;
    flushing_ = true;
    operation_.emplace<FlushOp>(chain_, FlushOp::Kind::flush);
    command = active()->next();
  }
  if (command) {
    const bool of_layer =
        flushing_ || std::holds_alternative<FlushOp>(operation_) || command->slot == kLayerSlot;
    counts_.count(*command, of_layer);
  }
  return command;
}

void JobOperation::complete(std::uint32_t slot, std::int32_t result) noexcept {
  active()->complete(slot, result);
}

std::optional<Status> JobOperation::finished() const noexcept {
  auto outcome = active()->finished();
  if (outcome && *outcome && must_flush_yet()) return std::nullopt;
  return outcome;
}

}  // namespace openvhd
