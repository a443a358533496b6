#include "vhdx/space.hpp"

#include <algorithm>

namespace openvhd::vhdx {
namespace {

// The file grows in steps that double from the first to the last of these.
constexpr std::uint64_t kFirstStep = 32;
constexpr std::uint64_t kLastStep = 256;

FileOffset offset_of(SpaceRun run) noexcept { return {run.first * kMiB}; }

}  // namespace

Space::Space(std::uint64_t file_bytes, std::span<const OwnedRange> fixed)
    : file_bytes_{file_bytes}, step_{kFirstStep} {
  for (const OwnedRange& range : fixed) {
    owned_.mark(range.at.value / kMiB, div_ceil(range.length, kMiB));
  }
}

Step<FileOffset> Space::take(std::uint64_t length, std::uint64_t most) noexcept {
  const std::uint64_t count = length / kMiB;
  if (const auto run = take_fresh(count)) return offset_of(*run);
  if (growth_) return Wait{};
  if (growth_error_ && count >= growth_error_count_) {
    return *std::exchange(growth_error_, std::nullopt);
  }
  auto unowned = find_unowned(count);
  if (!unowned && !unpunched_.empty()) {
    // Using it is better than giving it to the host and growing the file.
    for (const SpaceRun& run : unpunched_) owned_.release(run.first, run.count);
    unpunched_.clear();
    none_of_ = 0;
    unowned = find_unowned(count);
  }
  if (unowned) return start(Growth::zero, {*unowned, count}, count);
  return start(Growth::reserve, growth_run(count, most / kMiB), count);
}

std::optional<SpaceRun> Space::take_fresh(std::uint64_t count) noexcept {
  auto best = fresh_.end();
  for (auto run = fresh_.begin(); run != fresh_.end(); ++run) {
    if (run->count >= count && (best == fresh_.end() || run->count < best->count)) best = run;
  }
  if (best == fresh_.end()) return std::nullopt;
  const SpaceRun taken{best->first, count};
  taken_growth_ = best->growth;
  best->first += count;
  best->count -= count;
  if (best->count == 0) fresh_.erase(best);
  return taken;
}

std::optional<std::uint64_t> Space::find_unowned(std::uint64_t count) noexcept {
  if (none_of_ != 0 && count >= none_of_) return std::nullopt;
  const std::uint64_t end = file_bytes_ / kMiB;
  auto found = search_unowned(search_from_, end, count);
  if (!found && search_from_ != 0) found = search_unowned(0, end, count);
  if (found) {
    search_from_ = *found + count;
  } else {
    none_of_ = count;
  }
  return found;
}

std::optional<FileOffset> Space::claim_hole(std::uint64_t length, FileOffset below) noexcept {
  const std::uint64_t count = length / kMiB;
  const std::uint64_t end = std::min(mib(below), file_bytes_ / kMiB);
  const auto found = search_unowned(0, end, count);
  if (!found) return std::nullopt;
  owned_.mark(*found, count);
  return offset_of({*found, count});
}

std::optional<std::uint64_t> Space::search_unowned(std::uint64_t from, std::uint64_t end,
                                                   std::uint64_t count) const noexcept {
  for (;;) {
    const auto found = owned_.find_clear(from, end, count);
    if (!found) return std::nullopt;
    const std::uint64_t avoided = avoided_.next_set(*found, *found + count);
    if (avoided == *found + count) return found;
    from = avoided_.next_clear(avoided, end);
  }
}

SpaceRun Space::growth_run(std::uint64_t count, std::uint64_t most) const noexcept {
  const std::uint64_t first = std::max(div_ceil(file_bytes_, kMiB), owned_.end());
  if (smallest_step_) return {first, count};
  return {first, std::max(count, std::min(step_, most))};
}

IoCommand Space::start(Growth kind, SpaceRun run, std::uint64_t least) noexcept {
  growth_kind_ = kind;
  growing_ = run;
  growing_least_ = least;
  const bool zero = kind == Growth::zero;
  if (zero) owned_.mark(run.first, run.count);
  growth_.emplace(zero ? IoCommand::Kind::zero : IoCommand::Kind::reserve, offset_of(run),
                  run.count * kMiB,
                  zero ? "zeroing of space for a block" : "growing the image for a block");
  return growth_->start(make_token(TokenKind::space, 0));
}

void Space::complete(TokenKind kind, std::int32_t result) noexcept {
  if (kind == TokenKind::punch) {
    owned_.release(punching_.first, punching_.count);
    none_of_ = 0;
    punch_.reset();
    return;
  }
  growth_->complete(result);
  const bool done = growth_->state() == Transfer::State::done;
  const Error error = growth_->error();
  growth_.reset();
  if (done) {
    grown();
  } else {
    not_grown(error);
  }
}

void Space::grown() noexcept {
  if (growth_kind_ == Growth::reserve) {
    owned_.mark(growing_.first, growing_.count);
    file_bytes_ = std::max(file_bytes_, (growing_.first + growing_.count) * kMiB);
    if (!smallest_step_) step_ = std::min(2 * step_, kLastStep);
    smallest_step_ = false;
  }
  add_fresh({growing_, ++growths_});
}

void Space::not_grown(const Error& error) noexcept {
  if (growth_kind_ == Growth::zero) {
    owned_.release(growing_.first, growing_.count);
  } else if (error.code == Errc::no_space && growing_.count > growing_least_) {
    smallest_step_ = true;  // whoever asks next tries with what is needed now
    return;
  }
  smallest_step_ = false;
  growth_error_ = error;
  growth_error_count_ = growing_least_;
}

void Space::add_fresh(FreshRun run) {
  for (FreshRun& other : fresh_) {
    const bool behind = other.first + other.count == run.first;
    if (!behind && run.first + run.count != other.first) continue;
    if (!behind) other.first = run.first;
    other.count += run.count;
    other.growth = std::max(other.growth, run.growth);
    return;
  }
  fresh_.push_back(run);
}

void Space::free(FileOffset at, std::uint64_t length, std::uint64_t group, std::uint64_t serial) {
  add_freed({.run = {mib(at), length / kMiB}, .group = group, .serial = serial});
}

void Space::free_avoided(FileOffset at, std::uint64_t length, std::uint64_t group,
                         std::uint64_t serial) {
  add_freed({.run = {mib(at), length / kMiB}, .group = group, .serial = serial, .avoided = true});
}

void Space::add_freed(const Freed& freed) {
  if (!freed_.empty()) {
    Freed& last = freed_.back();
    if (last.group == freed.group && last.avoided == freed.avoided &&
        last.run.first + last.run.count == freed.run.first) {
      last.run.count += freed.run.count;
      last.serial = freed.serial;
      return;
    }
  }
  freed_.push_back(freed);
}

void Space::ripen(std::uint64_t durable_group, std::uint64_t oldest) {
  // Groups and serials only grow along the queue.
  while (!freed_.empty() && freed_.front().group <= durable_group &&
         freed_.front().serial < oldest) {
    const Freed& freed = freed_.front();
    if (freed.avoided) {
      avoided_.release(freed.run.first, freed.run.count);
      none_of_ = 0;
    } else {
      unpunched_.push_back(freed.run);
    }
    freed_.pop_front();
  }
}

Step<Ok> Space::punch() noexcept {
  if (punch_) return Wait{};
  if (unpunched_.empty()) return Ok{};
  punching_ = unpunched_.back();
  unpunched_.pop_back();
  punch_.emplace(IoCommand::Kind::punch, offset_of(punching_), punching_.count * kMiB,
                 "giving freed space back");
  return punch_->start(make_token(TokenKind::punch, 0));
}

std::uint64_t Space::owned_end() const noexcept {
  return std::max(owned_.end(), avoided_.end()) * kMiB;
}

void Space::retire() {
  unpunched_.insert(unpunched_.end(), fresh_.begin(), fresh_.end());
  fresh_.clear();
  for (const SpaceRun& run : unpunched_) owned_.release(run.first, run.count);
  // What lies behind the last owned byte is cut off with the file's tail.
  const std::uint64_t end = owned_end() / kMiB;
  std::erase_if(unpunched_, [end](const SpaceRun& run) { return run.first >= end; });
}

}  // namespace openvhd::vhdx
