// Making changes durable, and closing.
#include <algorithm>
#include <limits>

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
  space_.ripen(journal_.durable_group(), oldest_serial());
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
    const bool changed = data_written_ || cache_.any_dirty() || !late_bits_.empty();
    // Nothing new: what was written may still be on its way with the group before.
    ticket.target = changed ? journal_.open_group() : journal_.open_group() - 1;
  }
  if (journal_.durable_group() >= ticket.target) return Ok{};
  OVHD_STEP_DONE(settle_late_bits());
  const std::uint64_t group = journal_.open_group();
  auto step = journal_.commit(ticket.target);
  if (journal_.open_group() != group) data_written_ = false;
  return step;
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
  if (ticket.stage < kFlushed) {
    OVHD_STEP_DONE(flush_to(ticket));
    if (!journal_.writing()) return Ok{};
    space_.ripen(journal_.durable_group(), oldest_serial());
    space_.retire();
    ticket.stage = kFlushed;
  }
  if (ticket.stage == kFlushed) {
    OVHD_STEP_DONE(space_.punch());
    ticket.stage = kPunched;
  }
  return journal_.close(closed_size());
}

std::uint64_t Engine::oldest_serial() const noexcept {
  return oldest_ != nullptr ? oldest_->serial : std::numeric_limits<std::uint64_t>::max();
}

std::uint64_t Engine::closed_size() const noexcept {
  const std::uint64_t now = align_up(space_.file_bytes(), kMiB);
  if (claim_cursor_ < bat_page_count_) return now;  // not all owners are known
  const std::uint64_t least = type() == DiskType::fixed ? align_up(opened_bytes_, kMiB) : 0;
  return std::max(space_.owned_end(), least);
}

}  // namespace openvhd::vhdx
