// Making changes durable: data, sync, table and bitmaps, sync (V08).
#include <algorithm>
#include <cassert>
#include <utility>

#include "vhd/sparse_layer.hpp"

namespace openvhd::vhd {
namespace {

constexpr std::uint64_t kMostPunchBytes = kGiB;

}  // namespace

bool SparseLayer::dirty() const noexcept {
  return shared_.data_written.load(std::memory_order_acquire) || table_.dirty() || bitmaps_.dirty();
}

/// From here on nothing is written. The host tells of a failed sync once, so this comes before any
/// other operation is asked: its next sync would succeed.
void SparseLayer::poison(const Error& error) noexcept {
  if (!poison_) poison_ = error;
  admit_overwrites(false);
  unsettle();
}

/// The failure itself for the first who learns of it.
Error SparseLayer::refusal() noexcept {
  if (!std::exchange(poison_told_, true)) return *poison_;
  return {.code = Errc::poisoned, .what = poison_->what};
}

Step<Ok> SparseLayer::flush(FlushTicket& ticket) noexcept {
  if (poison_) return refusal();
  if (ticket.target == 0) {
    // A round on its way took its picture before this call: what came since needs the next.
    ticket.target = started_rounds_ + (dirty() ? 1 : 0);
  }
  while (finished_rounds_ < ticket.target || round_.stage == Round::Stage::punch) {
    if (round_.stage == Round::Stage::none) start_round();
    if (auto blocked = run_round()) return *blocked;
  }
  return Ok{};
}

/// Bitmaps and table entries are copied now: what changes from here on may speak of data that
/// the first sync does not cover.
///
/// Overwrites of other threads complete at any time. Here nothing of the round has been issued:
/// the fence orders the exchange before its sync, as the one in overwritten() orders a write
/// before the look at the flag. Whoever found the flag set before it was cleared here, or set it
/// until then, has a write that completed before the sync; whoever looks later finds it clear,
/// sets it, and the next round syncs. A flush that finds it clear waits for the round that
/// cleared it, if that is still on its way. Without data there is no first sync: nobody's write
/// is missed, as nobody had completed one.
void SparseLayer::start_round() noexcept {
  ++started_rounds_;
  const bool data = shared_.data_written.exchange(false, std::memory_order_acq_rel);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  data_was_synced_ = data_was_synced_ || data;
  round_.writes.clear();
  round_.next = 0;
  bitmaps_.snapshot(started_rounds_, round_.writes);
  table_.snapshot(started_rounds_, round_.writes);
  free_.snapshot(started_rounds_);
  begin_stage(data ? Round::Stage::sync_data : Round::Stage::write);
}

void SparseLayer::begin_stage(Round::Stage stage) noexcept {
  using Stage = Round::Stage;
  round_.stage = stage;
  if (stage == Stage::write && round_.next == round_.writes.size()) {
    // Nothing but data: the first sync was all there was to do.
    round_.stage = round_.writes.empty() ? Stage::punch : Stage::sync_metadata;
  }
  switch (round_.stage) {
    case Stage::none:
      break;
    case Stage::sync_data:
    case Stage::sync_metadata:
      round_.call.run(IoCommand::Kind::sync, {}, 0, "sync (D2)");
      break;
    case Stage::write: {
      const Snapshot& piece = round_.writes[round_.next];
      round_.call.write(piece.at, piece.bytes, "table and bitmaps: write (V08)");
      break;
    }
    case Stage::punch:
      // Durable from here; what was freed may be given back to the host.
      finished_rounds_ = started_rounds_;
      if (!round_.writes.empty()) ++counters_.commits;
      round_.writes.clear();
      bitmaps_.finish_round(finished_rounds_);
      table_.finish_round(finished_rounds_);
      free_.finish_round(finished_rounds_);
      // What has changed since the round took its picture is dirty again.
      if (!table_.dirty() && !bitmaps_.dirty())
        shared_.settled.store(true, std::memory_order_release);
      round_.ripe = free_.ripen(active_.oldest());
      std::ranges::sort(round_.ripe);
      round_.next = 0;
      if (!punch_next()) round_.stage = Stage::none;
      break;
  }
}

/// Freed blocks that lie together are punched together. False: there are no more.
bool SparseLayer::punch_next() noexcept {
  const auto& ripe = round_.ripe;
  if (round_.next == ripe.size()) {
    for (const std::uint32_t start : ripe) free_.unused(start);
    round_.ripe.clear();
    return false;
  }
  const std::uint64_t at = std::uint64_t{ripe[round_.next]} * kSectorBytes;
  std::uint64_t end = at + image_.stride();
  while (++round_.next < ripe.size() && end - at < kMostPunchBytes) {
    const std::uint64_t next = std::uint64_t{ripe[round_.next]} * kSectorBytes;
    if (next != end) break;
    end = next + image_.stride();
  }
  assert(end <= table_.data_limit());
  round_.call.run(IoCommand::Kind::punch, {at}, end - at, "freed blocks: punch");
  return true;
}

void SparseLayer::next_stage() noexcept {
  using Stage = Round::Stage;
  switch (round_.stage) {
    case Stage::none:
      break;
    case Stage::sync_data:
      begin_stage(Stage::write);
      break;
    case Stage::write:
      ++round_.next;
      begin_stage(Stage::write);
      break;
    case Stage::sync_metadata:
      begin_stage(Stage::punch);
      break;
    case Stage::punch:
      if (!punch_next()) round_.stage = Stage::none;
      break;
  }
}

Pending SparseLayer::run_round() noexcept {
  while (round_.stage != Round::Stage::none) {
    if (auto blocked = advance(round_.call, token_of(TokenKind::round, 0))) {
      // A host that cannot punch keeps the space: nothing is lost by that. All else poisons.
      if (!std::holds_alternative<Error>(blocked->why)) return blocked;
      assert(round_.stage == Round::Stage::punch);
    }
    round_.call.reset();
    next_stage();
  }
  return std::nullopt;
}

Step<Ok> SparseLayer::close(FlushTicket& ticket) noexcept {
  if (poison_) return refusal();
  admit_overwrites(false);
  // An operation that failed elsewhere may have left a growth, or a block that no entry names.
  for (const auto& allocation : allocations_) table_.claims().release(allocation->start);
  allocations_.clear();
  const bool moved = layout_changed_ || tail_.changed();
  if (!data_was_synced_ && !dirty() && !moved) return Ok{};
  if (ticket.stage == 0) {
    const auto step = flush(ticket);
    if (!std::holds_alternative<Ok>(step)) return step;
    ticket.stage = 1;
  }
  if (!moved && image_.footer_at_end) return Ok{};
  if (auto blocked = tail_.settle(end_of_blocks())) {
    if (const auto* error = std::get_if<Error>(&blocked->why)) {
      poison(*error);
      return refusal();
    }
    return *blocked;
  }
  // What was free behind the footer is gone.
  table_.set_data_limit(tail_.limit());
  free_ = {};
  space_known_ = false;
  return Ok{};
}

}  // namespace openvhd::vhd
