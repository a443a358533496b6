#include "snapshot/range_copier.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "image/convert/zero_scan.hpp"

namespace openvhd::snapshot {
namespace {

constexpr int kWaitMs = 250;

}  // namespace

RangeCopier::RangeCopier(Endpoint& source, Endpoint& target, std::uint32_t depth)
    : source_{source}, target_{target}, depth_{std::clamp(depth, 1u, 64u)} {}

Status RangeCopier::prepare() {
  if (!slots_.empty()) return Ok{};
  memory_ = AlignedBuffer{std::size_t{2} * depth_ * kChunkBytes};
  if (memory_.span().empty()) {
    return Error{.code = Errc::io, .sys_errno = ENOMEM, .what = "buffers for copying"};
  }
  slots_.resize(std::size_t{2} * depth_);
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    slots_[i].buffer = memory_.span().subspan(i * kChunkBytes, kChunkBytes);
    slots_[i].transfer.owner = static_cast<std::uint32_t>(i);
  }
  return Ok{};
}

Status RangeCopier::copy(std::span<const DiskRange> ranges) {
  return copy([&]() -> Result<Piece> {
    if (ranges.empty()) return Piece{};
    const DiskRange range = ranges.front();
    ranges = ranges.subspan(1);
    return Piece{.at = range.at, .length = range.length};
  });
}

Status RangeCopier::copy(const Next& next) {
  OVHD_CHECK(prepare());
  piece_ = {};
  ended_ = false;
  for (;;) {
    bool moved = fill(next);
    moved = reap(source_) || moved;
    moved = start_writes() || moved;
    moved = reap(target_) || moved;
    if (moved) continue;
    if (reading_ + writing_ == 0 && (failure_ || first_ == next_)) break;
    wait();
  }
  if (failure_) return *failure_;
  return Ok{};
}

bool RangeCopier::fill(const Next& next) {
  bool moved = false;
  while (!failure_ && !ended_ && reading_ < depth_ && next_ - first_ < slots_.size()) {
    if (piece_.length == 0) {
      const auto piece = next();
      if (!piece) {
        failure_ = piece.error();
        return moved;
      }
      piece_ = *piece;
      ended_ = piece_.length == 0;
      if (ended_) break;
    }
    start(slots_[next_++ % slots_.size()]);
    moved = true;
  }
  return moved;
}

void RangeCopier::start(Slot& slot) {
  const std::uint64_t most = piece_.zero ? target_.traits().max_zero : kChunkBytes;
  slot.zero = piece_.zero;
  slot.transfer.at = piece_.at;
  slot.transfer.length = std::min(most, piece_.length);
  slot.transfer.failure.reset();
  piece_.at = piece_.at + slot.transfer.length;
  piece_.length -= slot.transfer.length;
  if (slot.zero) {
    slot.state = State::ready;
    return;
  }
  slot.state = State::reading;
  slot.transfer.kind = Transfer::Kind::read;
  slot.transfer.data = slot.buffer.data();
  ++reading_;
  source_.start(slot.transfer);
}

bool RangeCopier::start_writes() {
  bool moved = false;
  while (!failure_ && write_ < next_ && writing_ < depth_) {
    Slot& slot = slots_[write_ % slots_.size()];
    if (slot.state != State::ready) break;
    ++write_;
    slot.state = State::writing;
    const bool zero =
        slot.zero || is_zero(slot.buffer.first(static_cast<std::size_t>(slot.transfer.length)));
    slot.transfer.kind = zero ? Transfer::Kind::zero : Transfer::Kind::write;
    if (zero) slot.transfer.data = nullptr;
    slot.transfer.failure.reset();
    ++writing_;
    target_.start(slot.transfer);
    moved = true;
  }
  return moved;
}

void RangeCopier::finished(Slot& slot) {
  if (slot.transfer.failure && !failure_) failure_ = slot.transfer.failure;
  if (slot.state == State::reading) {
    --reading_;
    slot.state = State::ready;
    return;
  }
  --writing_;
  slot.state = State::idle;
  (slot.zero ? cleared_ : copied_) += slot.transfer.length;
  while (first_ < write_ && oldest().state == State::idle) ++first_;
}

bool RangeCopier::reap(Endpoint& endpoint) {
  bool moved = false;
  while (Transfer* const transfer = endpoint.reap()) {
    moved = true;
    finished(slots_[transfer->owner]);
  }
  return moved;
}

void RangeCopier::wait() {
  const std::array<Readiness, 2> on{source_.readiness(), target_.readiness()};
  // An endpoint without a descriptor has done what it was asked for.
  const bool source_waits = reading_ == 0 || on[0].descriptor >= 0;
  const bool target_waits = writing_ == 0 || on[1].descriptor >= 0;
  if (source_waits && target_waits) wait_ready(on, kWaitMs);
}

}  // namespace openvhd::snapshot
