#include "io/file_steps.hpp"

#include <algorithm>
#include <utility>

#include "io/file.hpp"

namespace openvhd {
namespace {

constexpr std::uint64_t kCopyBytes = std::uint64_t{4} << 20;

bool moves(const FileStep& step) noexcept { return step.kind == IoCommand::Kind::write; }

bool is_copy(const FileStep& step) noexcept { return step.source.has_value(); }

std::uint64_t bytes_of(const FileStep& step) noexcept {
  if (!moves(step)) return 0;
  return is_copy(step) ? step.length : step.bytes.size();
}

}  // namespace

FileStep write_step(FileOffset at, std::vector<std::byte> bytes, const char* what) {
  FileStep step{.kind = IoCommand::Kind::write, .at = at, .what = what};
  step.bytes = std::move(bytes);
  return step;
}

FileStep durable_step(FileOffset at, std::vector<std::byte> bytes, const char* what) {
  FileStep step = write_step(at, std::move(bytes), what);
  step.durable = true;
  return step;
}

FileStep copy_step(FileOffset from, FileOffset to, std::uint64_t length, const char* what) {
  FileStep step{.kind = IoCommand::Kind::write, .at = to, .length = length, .what = what};
  step.source = from;
  return step;
}

FileStep sync_step(const char* what) { return {.kind = IoCommand::Kind::sync, .what = what}; }

FileStep range_step(IoCommand::Kind kind, FileOffset at, std::uint64_t length, const char* what) {
  return {.kind = kind, .at = at, .length = length, .what = what};
}

FileStep size_step(std::uint64_t bytes, const char* what) {
  return {.kind = IoCommand::Kind::set_size, .at = {bytes}, .what = what};
}

FileStep optionally(FileStep step) {
  step.optional = true;
  return step;
}

FileSteps::FileSteps(std::vector<FileStep> steps, std::uint64_t bytes_before) noexcept
    : steps_{std::move(steps)}, bytes_before_{bytes_before} {
  for (const FileStep& step : steps_) total_ += bytes_of(step);
}

IoCommand FileSteps::command(IoCommand::Kind kind, FileOffset at, std::uint64_t length) noexcept {
  in_flight_ = true;
  return {.kind = kind, .at = at, .length = length};
}

std::optional<IoCommand> FileSteps::next() noexcept {
  if (in_flight_ || outcome_) return std::nullopt;
  if (cancelled_ && !committed_ && !restoring_ && at_ < steps_.size() && !steps_[at_].commits) {
    fail({.code = Errc::cancelled, .what = "stopped on request: nothing was changed"});
    if (outcome_) return std::nullopt;
  }
  if (restoring_) return command(IoCommand::Kind::set_size, {bytes_before_}, 0);
  while (at_ < steps_.size() && moves(steps_[at_]) && bytes_of(steps_[at_]) == 0) step_done();
  if (at_ == steps_.size()) {
    committed_ = true;
    outcome_ = Status{Ok{}};
    return std::nullopt;
  }
  const FileStep& step = steps_[at_];
  past_return_ = past_return_ || step.past_return;
  extends_ = extends_ || moves(step) || step.kind == IoCommand::Kind::reserve ||
             step.kind == IoCommand::Kind::set_size;
  if (moves(step)) return transfer(step);
  return command(step.kind, step.at, step.length);
}

std::optional<IoCommand> FileSteps::transfer(const FileStep& step) noexcept {
  IoCommand out;
  if (!is_copy(step)) {
    out = command(IoCommand::Kind::write, step.at + done_, step.bytes.size() - done_);
    // The kernel only reads from it.
    piece_ = {.iov_base = steps_[at_].bytes.data() + done_, .iov_len = out.length};
  } else if (unloaded_ == loaded_) {
    buffer_.resize(kCopyBytes);
    loaded_ = unloaded_ = 0;
    out = command(IoCommand::Kind::read, *step.source + done_,
                  std::min(kCopyBytes, step.length - done_));
    piece_ = {.iov_base = buffer_.data(), .iov_len = out.length};
  } else {
    out = command(IoCommand::Kind::write, step.at + done_, loaded_ - unloaded_);
    piece_ = {.iov_base = buffer_.data() + unloaded_, .iov_len = out.length};
  }
  out.durable = out.kind == IoCommand::Kind::write && step.durable;
  out.buffers = {&piece_, 1};
  return out;
}

void FileSteps::complete(std::uint32_t, std::int32_t result) noexcept {
  in_flight_ = false;
  if (restoring_) {
    outcome_ = Status{*failure_};
    return;
  }
  const FileStep& step = steps_[at_];
  if (result < 0 || (moves(step) && result == 0)) {
    if (step.optional) return step_done();
    return fail(host_error(result, step.at, step.what));
  }
  if (!moves(step)) return step_done();
  const auto bytes = std::min<std::uint64_t>(static_cast<std::uint64_t>(result), piece_.iov_len);
  if (is_copy(step) && unloaded_ == loaded_) {
    loaded_ = bytes;
    return;
  }
  if (is_copy(step)) unloaded_ += bytes;
  done_ += bytes;
  moved_ += bytes;
  if (done_ == bytes_of(step)) step_done();
}

void FileSteps::step_done() noexcept {
  committed_ = committed_ || steps_[at_].commits;
  ++at_;
  done_ = loaded_ = unloaded_ = 0;
}

void FileSteps::fail(const Error& error) noexcept {
  // Whether a failed commit counts is not known: then nothing more is written.
  const bool before = !committed_ && at_ < steps_.size() && !steps_[at_].commits;
  if (before && extends_ && !past_return_) {
    failure_ = error;
    restoring_ = true;
    return;
  }
  outcome_ = Status{error};
}

std::optional<Status> FileSteps::finished() const noexcept { return outcome_; }

}  // namespace openvhd
