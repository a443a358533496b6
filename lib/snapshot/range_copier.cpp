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
  OVHD_CHECK(prepare());
  range_ = 0;
  into_range_ = 0;
  for (;;) {
    bool moved = start_reads(ranges);
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

bool RangeCopier::start_reads(std::span<const DiskRange> ranges) {
  bool moved = false;
  while (!failure_ && reading_ < depth_ && range_ < ranges.size() &&
         next_ - first_ < slots_.size()) {
    const DiskRange& range = ranges[range_];
    const std::uint64_t length = std::min<std::uint64_t>(kChunkBytes, range.length - into_range_);
    if (length != 0) {
      Slot& slot = slots_[next_++ % slots_.size()];
      slot.state = State::reading;
      slot.transfer.kind = Transfer::Kind::read;
      slot.transfer.at = range.at + into_range_;
      slot.transfer.length = length;
      slot.transfer.data = slot.buffer.data();
      slot.transfer.failure.reset();
      ++reading_;
      source_.start(slot.transfer);
      moved = true;
    }
    into_range_ += length;
    if (into_range_ == range.length) {
      ++range_;
      into_range_ = 0;
    }
  }
  return moved;
}

bool RangeCopier::start_writes() {
  bool moved = false;
  while (!failure_ && write_ < next_ && writing_ < depth_) {
    Slot& slot = slots_[write_ % slots_.size()];
    if (slot.state != State::ready) break;
    ++write_;
    slot.state = State::writing;
    const auto bytes = slot.buffer.first(static_cast<std::size_t>(slot.transfer.length));
    const bool zero = is_zero(bytes);
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
  copied_ += slot.transfer.length;
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
