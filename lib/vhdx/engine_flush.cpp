// Making changes durable, and closing.
#include <algorithm>

#include "vhdx/engine_impl.hpp"

namespace openvhd::vhdx {
namespace {

// How much freed space one flush gives back to the host before it returns; close() does the rest.
constexpr std::uint32_t kMostPunchesPerFlush = 64;
// Stages of a ticket that close() uses.
constexpr std::uint32_t kFlushed = 1000;
constexpr std::uint32_t kPunched = 1001;

}  // namespace

Step<Ok> Engine::flush(FlushTicket& ticket) noexcept {
  if (!writable_) return Ok{};
  OVHD_STEP_DONE(flush_to(ticket));
  space_.ripen(journal_.durable_group(), operations_.oldest());
  if (ticket.stage < kMostPunchesPerFlush) {
    ++ticket.stage;
    auto step = space_.punch();
    if (std::holds_alternative<IoCommand>(step)) return step;
  }
  return Ok{};
}

Step<Ok> Engine::flush_to(FlushTicket& ticket) noexcept {
  if (const auto reason = journal_.refusal()) return *reason;
  if (ticket.target == 0) {
    const bool changed = shared_.data_written.load(std::memory_order_acquire) ||
                         cache_.any_dirty() || !late_bits_.empty();
    // Nothing new: what was written may still be on its way with the group before.
    ticket.target = changed ? journal_.open_group() : journal_.open_group() - 1;
  }
  if (journal_.durable_group() >= ticket.target) return Ok{};
  OVHD_STEP_DONE(settle_late_bits());
  return noted(journal_.commit(ticket.target));
}

Step<Ok> Engine::noted(Step<Ok> step) noexcept {
  if (journal_.open_group() != noted_group_) {
    noted_group_ = journal_.open_group();
    // Here the group has begun and its sync is not issued: the fence orders this store before
    // it, as the one in overwritten() orders a write before the look at this flag. So either
    // that sync covers the write, or the flag is set again and the next flush does. A flush that
    // finds it clear waits for the group before, which is the one whose sync is meant.
    shared_.data_written.store(false, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  publish_state();
  return step;
}

void Engine::publish_state() noexcept {
  const bool may = writable_ && journal_.writing() && !journal_.failed() && !damage_ && !closing_;
  if (shared_.terms.may_overwrite.load(std::memory_order_relaxed) != may) {
    shared_.terms.may_overwrite.store(may, std::memory_order_release);
  }
  if (shared_.settled.load(std::memory_order_relaxed)) return;
  const bool all_durable = journal_.durable_group() + 1 == journal_.open_group();
  if (all_durable && !cache_.any_dirty() && late_bits_.empty()) {
    shared_.settled.store(true, std::memory_order_release);
  }
}

Step<Ok> Engine::settle_late_bits() noexcept {
  // Each round settles one at least: its pages stay for the length of the call.
  for (retry_late_bits(); !late_bits_.empty(); retry_late_bits()) {
    cache_.begin_call();
    const LateBits late = late_bits_.front();
    for (std::uint64_t done = 0; done < late.placed.length;) {
      const Piece piece = piece_of(late.at + done, late.placed.length - done);
      OVHD_STEP(TablePage* const page, bat_page_to_change(piece.index));
      if (entry_in(*page, piece.index).payload_state() == PayloadState::partially_present) {
        OVHD_STEP_DONE(load_bits(piece));
      }
      done += piece.length;
    }
  }
  return Ok{};
}

Step<Ok> Engine::close(FlushTicket& ticket) noexcept {
  if (!writable_ || journal_.closed()) return Ok{};
  closing_ = true;
  publish_state();
  if (ticket.stage < kFlushed) {
    OVHD_STEP_DONE(flush_to(ticket));
    if (!journal_.writing()) return Ok{};
    space_.ripen(journal_.durable_group(), operations_.oldest());
    space_.retire();
    ticket.stage = kFlushed;
  }
  if (ticket.stage == kFlushed) {
    OVHD_STEP_DONE(space_.punch());
    ticket.stage = kPunched;
  }
  return noted(journal_.close(closed_size()));
}

std::uint64_t Engine::closed_size() const noexcept {
  const std::uint64_t now = align_up(space_.file_bytes(), kMiB);
  if (claim_cursor_ < bat_page_count_) return now;  // not all owners are known
  const std::uint64_t least = type() == DiskType::fixed ? align_up(opened_bytes_, kMiB) : 0;
  return std::max(space_.owned_end(), least);
}

}  // namespace openvhd::vhdx
