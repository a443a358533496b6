#include "image/convert/convert_pipeline.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <limits>

#include "base/checked.hpp"
#include "base/try.hpp"

namespace openvhd {
namespace {

constexpr std::size_t kUnit = 4096;
// Leaving out less than this saves no time: one large write is cheaper than two small ones.
constexpr std::size_t kSparseGap = std::size_t{32} * 1024;
constexpr std::size_t kMapGap = std::size_t{64} * 1024;
// Progress is reported at least this often, so that a user can stop a copy that is stuck.
constexpr int kWaitMs = 250;

std::size_t chunk_for(const EndpointTraits& source, const EndpointTraits& target) noexcept {
  const std::uint64_t most =
      std::min({std::uint64_t{kCopyChunkBytes}, source.max_transfer, target.max_transfer});
  const std::uint64_t least = std::max(
      {std::uint64_t{kUnit}, std::uint64_t{source.alignment}, std::uint64_t{target.alignment}});
  return std::bit_floor(std::max(most, least));
}

std::uint64_t longest_zero(const EndpointTraits& target, std::size_t chunk) noexcept {
  switch (target.zeros) {
    case ZeroPolicy::leave:
      return std::numeric_limits<std::uint64_t>::max();
    case ZeroPolicy::clear:
      return std::max(align_down(target.max_zero, chunk), std::uint64_t{chunk});
    case ZeroPolicy::write:
      break;
  }
  return chunk;
}

}  // namespace

CopyPipeline::CopyPipeline(Endpoint& source, Endpoint& target, const CopyPlan& plan)
    : source_{source},
      target_{target},
      plan_{plan},
      grain_{.unit = std::max(kUnit, std::size_t{target.traits().alignment}),
             .gap = std::max(kSparseGap, std::size_t{target.traits().alignment})},
      chunk_{chunk_for(source.traits(), target.traits())},
      slack_{align_up(source.traits().alignment, AlignedBuffer::kAlignment)},
      cursor_{source,
              {.source_at = plan.source_at,
               .length = plan.length,
               .total = plan.total,
               .unit = grain_.unit,
               .gap = std::max(kMapGap, grain_.gap),
               .chunk = chunk_,
               .max_zero = longest_zero(target.traits(), chunk_)}} {
  plan_.depth = std::clamp(plan.depth, 1u, kMaxCopyDepth);
}

Status CopyPipeline::check_plan() const noexcept {
  const auto end = checked_add(plan_.source_at.value, plan_.length);
  if (!end || *end > source_.traits().size) {
    return Error{.code = Errc::out_of_range, .what = "the part to copy ends beyond the source"};
  }
  if (plan_.length > plan_.total || plan_.total > target_.traits().size) {
    return Error{.code = Errc::out_of_range, .what = "the target is smaller than what is copied"};
  }
  return Ok{};
}

Status CopyPipeline::prepare() {
  const bool writes_zeros = target_.traits().zeros == ZeroPolicy::write;
  const std::size_t room = chunk_ + 2 * slack_;
  slots_.resize(std::size_t{plan_.depth} * 2);
  memory_ = AlignedBuffer{slots_.size() * room};
  if (writes_zeros) zeros_ = AlignedBuffer{chunk_};
  if (memory_.span().empty() || (writes_zeros && zeros_.span().empty())) {
    return Error{.code = Errc::io, .sys_errno = ENOMEM, .what = "buffers for copying"};
  }
  std::ranges::fill(zeros_.span(), std::byte{0});
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    slots_[i].buffer = memory_.span().subspan(i * room, room);
    slots_[i].transfer.owner = static_cast<std::uint32_t>(i);
  }
  return Ok{};
}

Result<CopyCounts> CopyPipeline::run() {
  OVHD_CHECK(check_plan());
  OVHD_CHECK(prepare());
  for (;;) {
    bool moved = fill();
    moved = reap(source_) || moved;
    moved = write_ready() || moved;
    moved = reap(target_) || moved;
    if (moved) continue;
    if (reading_ + writing_ == 0) break;
    wait();
  }
  if (failure_) return *failure_;
  return counts_;
}

CopyPipeline::Slot* CopyPipeline::idle_slot() noexcept {
  const auto found = std::ranges::find(slots_, State::idle, &Slot::state);
  return found == slots_.end() ? nullptr : &*found;
}

bool CopyPipeline::fill() noexcept {
  bool moved = false;
  while (!failure_ && reading_ < plan_.depth && fill_one()) moved = true;
  return moved;
}

bool CopyPipeline::fill_one() noexcept {
  Slot* const slot = idle_slot();
  if (slot == nullptr) return false;
  const auto piece = cursor_.next();
  if (!piece) {
    fail(piece.error(), true);
    return false;
  }
  if (piece->length == 0) return false;
  if (!piece->zero) {
    begin_read(*slot, piece->at, static_cast<std::size_t>(piece->length));
    return true;
  }
  counts_.skipped_bytes += piece->length;
  if (target_.traits().zeros == ZeroPolicy::leave) {
    done_ += piece->length;
    report();
    return true;
  }
  return begin_zero(*slot, piece->at, piece->length);
}

void CopyPipeline::begin_read(Slot& slot, std::uint64_t at, std::size_t length) noexcept {
  const std::uint64_t alignment = source_.traits().alignment;
  const std::uint64_t wanted = std::min<std::uint64_t>(length, plan_.length - at);
  const std::uint64_t from = plan_.source_at.value + at;
  const std::uint64_t first = align_down(from, alignment);
  const std::uint64_t last = std::min(align_up(from + wanted, alignment), source_.traits().size);
  slot.state = State::reading;
  slot.read = true;
  slot.sequence = next_sequence_++;
  slot.at = {at};
  slot.length = length;
  slot.position = 0;
  slot.head = static_cast<std::size_t>(from - first);
  slot.transfer.kind = Transfer::Kind::read;
  slot.transfer.at = {first};
  slot.transfer.length = last - first;
  slot.transfer.data = slot.buffer.data();
  slot.transfer.failure.reset();
  ++reading_;
  source_.start(slot.transfer);
}

bool CopyPipeline::begin_zero(Slot& slot, std::uint64_t at, std::uint64_t length) noexcept {
  slot.state = State::ready;
  slot.read = false;
  slot.sequence = next_sequence_++;
  slot.at = {at};
  slot.length = static_cast<std::size_t>(length);
  slot.position = 0;
  slot.head = 0;
  return true;
}

void CopyPipeline::read_done(Slot& slot) noexcept {
  --reading_;
  slot.state = State::ready;
  if (slot.transfer.failure) {
    fail(*slot.transfer.failure, true);
    slot.state = State::idle;
    return;
  }
  // Behind the end of the source, and up to a whole sector of the target, there are zeros.
  const auto valid =
      static_cast<std::size_t>(std::min<std::uint64_t>(slot.length, plan_.length - slot.at.value));
  std::ranges::fill(slot.buffer.subspan(slot.head + valid), std::byte{0});
}

CopyPipeline::Slot* CopyPipeline::oldest_ready() noexcept {
  Slot* oldest = nullptr;
  for (Slot& slot : slots_) {
    if (slot.state != State::ready) continue;
    if (oldest == nullptr || slot.sequence < oldest->sequence) oldest = &slot;
  }
  return oldest;
}

/// In the order of the disk, as far as it was read in that order: hosts lay new files out better.
bool CopyPipeline::write_ready() noexcept {
  bool moved = false;
  while (writing_ < plan_.depth) {
    Slot* const slot = oldest_ready();
    if (slot == nullptr) break;
    if (target_.traits().ordered && !failure_ && slot->sequence != next_write_) break;
    ++next_write_;
    moved = true;
    slot->state = State::writing;
    ++writing_;
    advance(*slot);
  }
  return moved;
}

void CopyPipeline::advance(Slot& slot) noexcept {
  const ZeroPolicy zeros = target_.traits().zeros;
  while (!failure_ && slot.position < slot.length) {
    const std::size_t left = slot.length - slot.position;
    if (!slot.read) return start(slot, left, zeros == ZeroPolicy::write);
    ByteRun run{.at = slot.position, .length = left};
    if (zeros != ZeroPolicy::write) {
      run = next_data_run(slot.buffer.subspan(slot.head, slot.length), slot.position, grain_);
    }
    const std::size_t gap = (run.length == 0 ? slot.length : run.at) - slot.position;
    if (gap == 0) {
      counts_.copied_bytes += run.length;
      return start(slot, run.length, true);
    }
    counts_.zero_bytes += gap;
    if (zeros == ZeroPolicy::clear) return start(slot, gap, false);
    slot.position += gap;
  }
  retire(slot);
}

void CopyPipeline::start(Slot& slot, std::size_t length, bool data) noexcept {
  const EndpointTraits& traits = target_.traits();
  const VirtualOffset at = slot.at + slot.position;
  slot.moving = length;
  slot.transfer.kind = data ? Transfer::Kind::write : Transfer::Kind::zero;
  slot.transfer.at = at;
  // Only the last piece can end inside a sector; what follows in the buffer is zero.
  slot.transfer.length = std::min(align_up(length, traits.alignment), traits.size - at.value);
  slot.transfer.data = !data       ? nullptr
                       : slot.read ? slot.buffer.data() + slot.head + slot.position
                                   : zeros_.span().data();
  slot.transfer.failure.reset();
  target_.start(slot.transfer);
}

void CopyPipeline::retire(Slot& slot) noexcept {
  slot.state = State::idle;
  --writing_;
  done_ += slot.length;
  report();
}

bool CopyPipeline::reap(Endpoint& endpoint) noexcept {
  bool moved = false;
  while (Transfer* const transfer = endpoint.reap()) {
    moved = true;
    Slot& slot = slots_[transfer->owner];
    if (slot.state == State::reading) {
      read_done(slot);
      continue;
    }
    if (transfer->failure) fail(*transfer->failure);
    slot.position += slot.moving;
    advance(slot);
  }
  return moved;
}

void CopyPipeline::fail(const Error& error, bool source) noexcept {
  if (failure_) return;
  failure_ = error;
  source_failed_ = source;
}

void CopyPipeline::report() noexcept {
  if (plan_.progress == nullptr || failure_) return;
  if (!plan_.progress->update(done_, plan_.total)) {
    fail({.code = Errc::cancelled, .what = "stopped on request"});
  }
}

void CopyPipeline::wait() noexcept {
  const std::array<Readiness, 2> on{source_.readiness(), target_.readiness()};
  // An endpoint that has no descriptor needs no waiting: what it was asked for is done.
  const bool source_waits = reading_ == 0 || on[0].descriptor >= 0;
  const bool target_waits = writing_ == 0 || on[1].descriptor >= 0;
  if (source_waits && target_waits) wait_ready(on, kWaitMs);
  report();
}

}  // namespace openvhd
