#include "image/convert/compare_pipeline.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "image/convert/convert_pipeline.hpp"
#include "image/convert/zero_scan.hpp"

namespace openvhd {
namespace {

constexpr int kWaitMs = 250;

}  // namespace

ComparePipeline::ComparePipeline(Endpoint& a, Endpoint& b, std::uint32_t depth, Progress* progress)
    : sides_{Side{.endpoint = &a}, Side{.endpoint = &b}},
      total_{std::max(a.traits().size, b.traits().size)},
      depth_{std::clamp(depth, 1u, kMaxCopyDepth)},
      progress_{progress} {
  const std::uint64_t alignment = std::max(a.traits().alignment, b.traits().alignment);
  chunk_ = std::bit_floor(std::max(
      std::min({std::uint64_t{kCopyChunkBytes}, a.traits().max_transfer, b.traits().max_transfer}),
      std::max(alignment, std::uint64_t{AlignedBuffer::kAlignment})));
  slack_ = align_up(alignment, AlignedBuffer::kAlignment);
}

Status ComparePipeline::prepare() {
  slots_.resize(depth_);
  const std::size_t room = chunk_ + 2 * slack_;
  memory_ = AlignedBuffer{slots_.size() * 2 * room};
  if (memory_.span().empty()) {
    return Error{.code = Errc::io, .sys_errno = ENOMEM, .what = "buffers for comparing"};
  }
  std::size_t next = 0;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    for (Half& half : slots_[i].halves) {
      half.buffer = memory_.span().subspan(next++ * room, room);
      half.transfer.owner = static_cast<std::uint32_t>(i);
    }
  }
  return Ok{};
}

Status ComparePipeline::learn(Side& side) noexcept {
  if (position_ < side.known_end) return Ok{};
  const std::uint64_t size = side.endpoint->traits().size;
  if (position_ >= size) {
    side.known_end = total_;
    side.known_zero = true;
    return Ok{};
  }
  OVHD_TRY(const EndpointRun run, side.endpoint->map({position_}, size - position_));
  if (run.length == 0) return Error{.code = Errc::io, .what = "a source's map made no progress"};
  side.known_end = position_ + std::min(run.length, size - position_);
  side.known_zero = run.zero;
  return Ok{};
}

bool ComparePipeline::fill() noexcept {
  bool moved = false;
  while (!failure_ && !first_ && position_ < total_) {
    for (std::size_t i = 0; i < sides_.size(); ++i) {
      if (const Status known = learn(sides_[i]); !known) {
        failure_ = known.error();
        failed_side_ = i;
        return moved;
      }
    }
    if (sides_[0].known_zero && sides_[1].known_zero) {
      const std::uint64_t end = std::min(sides_[0].known_end, sides_[1].known_end);
      done_ += end - position_;
      position_ = end;
      report();
      moved = true;
      continue;
    }
    const auto slot = std::ranges::find(slots_, false, &Slot::busy);
    if (slot == slots_.end()) break;
    begin(*slot);
    moved = true;
  }
  return moved;
}

bool ComparePipeline::begin(Slot& slot) noexcept {
  slot.busy = true;
  ++busy_;
  slot.at = position_;
  const std::uint64_t end = std::min(total_, align_down(position_, chunk_) + chunk_);
  slot.length = static_cast<std::size_t>(end - position_);
  for (std::size_t i = 0; i < sides_.size(); ++i) {
    Half& half = slot.halves[i];
    half.zero = sides_[i].known_zero && sides_[i].known_end >= end;
    if (!half.zero) read(half, *sides_[i].endpoint, slot);
  }
  position_ = end;
  return true;
}

void ComparePipeline::read(Half& half, Endpoint& endpoint, const Slot& slot) noexcept {
  const EndpointTraits& traits = endpoint.traits();
  const std::uint64_t first = align_down(slot.at, traits.alignment);
  const std::uint64_t wanted = std::min(slot.at + slot.length, traits.size);
  const std::uint64_t last = std::min(align_up(wanted, traits.alignment), traits.size);
  half.head = static_cast<std::size_t>(slot.at - first);
  half.waiting = true;
  half.transfer.kind = Transfer::Kind::read;
  half.transfer.at = {first};
  half.transfer.length = last - first;
  half.transfer.data = half.buffer.data();
  half.transfer.failure.reset();
  endpoint.start(half.transfer);
}

bool ComparePipeline::reap(std::size_t side) noexcept {
  bool moved = false;
  while (Transfer* const transfer = sides_[side].endpoint->reap()) {
    moved = true;
    Slot& slot = slots_[transfer->owner];
    Half& half = slot.halves[side];
    half.waiting = false;
    if (transfer->failure) {
      if (!failure_) {
        failure_ = transfer->failure;
        failed_side_ = side;
      }
    } else {
      const std::uint64_t size = sides_[side].endpoint->traits().size;
      const auto valid =
          static_cast<std::size_t>(std::min<std::uint64_t>(slot.length, size - slot.at));
      std::ranges::fill(half.buffer.subspan(half.head + valid), std::byte{0});
    }
    if (!slot.halves[0].waiting && !slot.halves[1].waiting) judge(slot);
  }
  return moved;
}

void ComparePipeline::judge(Slot& slot) noexcept {
  slot.busy = false;
  --busy_;
  if (failure_) return;
  const auto bytes = [&slot](const Half& half) {
    return std::span<const std::byte>{half.buffer}.subspan(half.head, slot.length);
  };
  const Half& a = slot.halves[0];
  const Half& b = slot.halves[1];
  if (a.zero || b.zero) {
    const auto other = bytes(a.zero ? b : a);
    if (!is_zero(other)) {
      const auto found =
          std::ranges::find_if(other, [](std::byte byte) { return byte != std::byte{0}; });
      differ(slot.at + static_cast<std::uint64_t>(found - other.begin()));
    }
  } else if (std::memcmp(bytes(a).data(), bytes(b).data(), slot.length) != 0) {
    const auto found = std::ranges::mismatch(bytes(a), bytes(b));
    differ(slot.at + static_cast<std::uint64_t>(found.in1 - bytes(a).begin()));
  }
  done_ += slot.length;
  report();
}

void ComparePipeline::differ(std::uint64_t at) noexcept {
  first_ = std::min(at, first_.value_or(at));
}

void ComparePipeline::report() noexcept {
  if (progress_ == nullptr || failure_) return;
  if (!progress_->update(done_, total_)) {
    failure_ = Error{.code = Errc::cancelled, .what = "stopped on request"};
  }
}

void ComparePipeline::wait() noexcept {
  std::array<Readiness, 2> on{};
  for (std::size_t i = 0; i < sides_.size(); ++i) {
    const bool waits = std::ranges::any_of(
        slots_, [i](const Slot& slot) { return slot.busy && slot.halves[i].waiting; });
    if (!waits) continue;
    on[i] = sides_[i].endpoint->readiness();
    // No descriptor: what it was asked for is done, so there is nothing to wait for.
    if (on[i].descriptor < 0) return;
  }
  wait_ready(on, kWaitMs);
  report();
}

// Chunks before a difference may still be on their way: the first one is known at the end.
Result<std::optional<VirtualOffset>> ComparePipeline::run() {
  OVHD_CHECK(prepare());
  for (;;) {
    bool moved = fill();
    moved = reap(0) || moved;
    moved = reap(1) || moved;
    if (moved) continue;
    if (busy_ == 0) break;
    wait();
  }
  if (failure_) return *failure_;
  if (!first_) return std::optional<VirtualOffset>{};
  return std::optional{VirtualOffset{*first_}};
}

}  // namespace openvhd
