// How a queue starts its requests: what is mapped goes to the ring, the rest to the owner. What is
// done about the usual request, in one place of a block that was asked for before, is written to
// take few instructions: see docs/benchmarks.md for how they are counted.
#include <algorithm>
#include <cstring>

#include "image/live/write_notes.hpp"
#include "image/queue/queue_state.hpp"

namespace openvhd::detail {
namespace {

constexpr std::uint64_t kMostBytes = (std::uint64_t{1} << 31) - 4096;

Error not_writable() noexcept { return {.code = Errc::read_only, .what = "opened for reading"}; }
Error too_long() noexcept { return {.code = Errc::invalid, .what = "a request of 2 GiB or more"}; }

}  // namespace

/// Keeps `error` for refused().
bool QueueState::refuse(const Error& error) noexcept {
  refused_ = error;
  return false;
}

/// Whether a request cannot start, and why: then it was refused.
bool QueueState::may_not_start(VirtualOffset at, std::uint64_t length) noexcept {
  if (((at.value | length) & sector_mask_) != 0)
    return !refuse({.code = Errc::misaligned, .what = "request in parts of a logical sector"});
  const std::uint64_t size = disk_->virtual_size();
  if (at.value > size || length > size - at.value)
    return !refuse({.code = Errc::out_of_range, .what = "request beyond the end of the disk"});
  if (room_ == 0)
    return !refuse({.code = Errc::busy, .what = "as many requests as the queue's depth"});
  if (now_ns_ == 0) refresh_clock();
  return false;
}

/// The clock is fresh. `side`: of the transfer that has begun, if one has.
QueueState::Request& QueueState::begin(IoRequest& caller, Job::Kind kind, unsigned side) noexcept {
  --room_;
  return *::new (static_cast<void*>(caller.state_.data())) Request{kind, side, now_ns_};
}

/// Nothing stands against a request of this length, if it lies inside the disk.
bool QueueState::may_start_at_once(VirtualOffset at, std::uint64_t length) const noexcept {
  return ((at.value | length) & sector_mask_) == 0 && room_ != 0 && now_ns_ != 0;
}

bool QueueState::read(IoRequest& caller) noexcept {
  if (caller.buffers.size() == 1) [[likely]] {
    const VirtualOffset from = caller.at;
    const iovec piece = *caller.buffers.data();
    if (may_start_at_once(from, piece.iov_len)) [[likely]] {
      const unsigned side = slot_->begin_transfer();
      if (FileOffset at; places_.look(from, piece.iov_len, at)) [[likely]] {
        Request& request = begin(caller, Job::Kind::read, side);
        transfer<QueueRing::Direction::read>(caller, request, leaf_file_, at, piece,
                                             caller.registered);
        return true;
      }
      return read_unplaced(caller, side);
    }
  }
  return read_unplaced(caller, slot_->begin_transfer());
}

/// Inside a transfer.
bool QueueState::read_unplaced(IoRequest& caller, unsigned side) noexcept {
  keep_up();
  const std::uint64_t length = total_bytes(caller.buffers);
  if (may_not_start(caller.at, length) || (length > kMostBytes && !refuse(too_long()))) {
    slot_->end_transfer(side);
    return false;
  }
  begin(caller, Job::Kind::read, side);
  if (!read_found(caller, length)) to_owner(caller);
  return true;
}

bool QueueState::write(IoRequest& caller) noexcept {
  // A durable write that fails may have taken the host's word of another write's loss with it: it
  // must poison like a failed sync, which the owner's flush does (RELIABILITY e.2).
  if (caller.buffers.size() == 1 && !caller.durable) [[likely]] {
    const VirtualOffset to = caller.at;
    const iovec piece = *caller.buffers.data();
    if (may_start_at_once(to, piece.iov_len)) [[likely]] {
      const unsigned side = slot_->begin_transfer();
      if (FileOffset at; places_.look_writable(to, piece.iov_len, at)) [[likely]] {
        Request& request = begin(caller, Job::Kind::write, side);
        transfer<QueueRing::Direction::write>(caller, request, leaf_file_, at, piece,
                                              caller.registered);
        return true;
      }
      return write_unplaced(caller, side);
    }
  }
  return write_unplaced(caller, slot_->begin_transfer());
}

/// Inside a transfer.
bool QueueState::write_unplaced(IoRequest& caller, unsigned side) noexcept {
  keep_up();
  const std::uint64_t length = total_bytes(caller.buffers);
  if ((!writable_ && !refuse(not_writable())) || may_not_start(caller.at, length) ||
      (length > kMostBytes && !refuse(too_long()))) {
    slot_->end_transfer(side);
    return false;
  }
  begin(caller, Job::Kind::write, side);
  if (!write_found(caller, length)) to_owner(caller);
  return true;
}

bool QueueState::clear(IoRequest& caller, Job::Kind kind) noexcept {
  if (!writable_) return refuse(not_writable());
  if (may_not_start(caller.at, caller.length)) return false;
  begin(caller, kind, 0);
  to_owner(caller);
  return true;
}

bool QueueState::flush(IoRequest& caller) noexcept {
  if (!writable_) return refuse(not_writable());
  if (may_not_start({}, 0)) return false;
  begin(caller, Job::Kind::flush, 0);
  to_owner(caller);
  return true;
}

/// Inside a look-up and a transfer. What holds for a whole block is kept for the next request.
bool QueueState::find(VirtualOffset at, std::uint64_t length, Found& found) noexcept {
  const std::uint64_t moves = places_.moves();
  if (!in_step() || !finder_->find(at, length, found)) return false;
  if (found.layer == 0 && found.extent.whole_block) places_.keep(at, found.extent.at, moves);
  return true;
}

/// Inside a transfer, which ends here when nothing comes of it.
bool QueueState::read_found(IoRequest& caller, std::uint64_t length) noexcept {
  Request& request = request_of(caller);
  if (length == 0 || !ring_) {
    slot_->end_transfer(request.side);
    return false;
  }
  slot_->begin_look_up();
  const bool begun = read_parts(caller, length);
  slot_->end_look_up();
  if (request.pending != 0) return true;
  slot_->end_transfer(request.side);
  if (!begun) return false;
  request.next = ready_;
  ready_ = &caller;
  return true;
}

/// What one or several extents answer, or zeros: all of it is found before any of it begins.
bool QueueState::read_parts(IoRequest& caller, std::uint64_t length) noexcept {
  Request& request = request_of(caller);
  std::array<Part, kMostParts> parts;
  std::size_t count = 0;
  std::size_t pieces = 0;
  BufferSlice slice;
  for (std::uint64_t done = 0; done < length;) {
    if (count == kMostParts) return false;
    Part& part = parts[count++];
    if (!find(caller.at + done, length - done, part.found)) return false;
    if (part.found.extent.kind == Extent::Kind::data && !files_[part.found.layer].in_ring)
      return false;
    if (part.found.extent.kind == Extent::Kind::data && part.found.extent.length == length) {
      transfer_list(QueueRing::Direction::read, caller, files_[part.found.layer],
                    part.found.extent.at, caller.buffers);
      return true;
    }
    const std::uint64_t covered = slice.cut(caller.buffers, done, part.found.extent.length);
    if (covered != part.found.extent.length) return false;
    part.first_piece = pieces;
    part.pieces = slice.pieces().size();
    if (pieces + part.pieces > Request::kPieces) return false;
    std::ranges::copy(slice.pieces(), request.pieces.begin() + static_cast<std::ptrdiff_t>(pieces));
    pieces += part.pieces;
    done += covered;
  }
  // Whatever else may be started at the queue's depth has one transfer at least.
  count_runs();
  const std::uint64_t in_ring = statistics_.host_requests - transfers_done_;
  if (in_ring + count + room_ > most_transfers_) return false;
  for (const Part& part : std::span{parts}.first(count)) {
    const std::span buffers{request.pieces.data() + part.first_piece, part.pieces};
    if (part.found.extent.kind == Extent::Kind::data) {
      transfer_list(QueueRing::Direction::read, caller, files_[part.found.layer],
                    part.found.extent.at, buffers);
      continue;
    }
    for (const iovec& piece : buffers) std::memset(piece.iov_base, 0, piece.iov_len);
  }
  if (request.pending != 0) request.pending |= Request::kInParts;
  return true;
}

/// Inside a transfer, which ends here when nothing comes of it.
bool QueueState::write_found(IoRequest& caller, std::uint64_t length) noexcept {
  Request& request = request_of(caller);
  Extent extent;
  bool whole = false;
  if (length != 0 && ring_ && leaf_file_.in_ring && !caller.durable) {
    slot_->begin_look_up();
    const std::uint64_t moves = places_.moves();
    whole =
        in_step() && finder_->find_writable(caller.at, length, extent) && extent.length == length;
    if (whole && notes_ != nullptr) notes_->note(caller.at, length);
    if (whole && extent.whole_block) places_.keep(caller.at, extent.at, moves);
    slot_->end_look_up();
  }
  if (!whole) {
    slot_->end_transfer(request.side);
    return false;
  }
  transfer_list(QueueRing::Direction::write, caller, leaf_file_, extent.at, caller.buffers);
  return true;
}

template <QueueRing::Direction direction>
void QueueState::transfer(IoRequest& caller, Request& request, const LayerFile& file, FileOffset at,
                          iovec piece, std::int32_t registered) noexcept {
  ++request.pending;
  request.left += static_cast<std::uint32_t>(piece.iov_len);
  ++statistics_.host_requests;
  const std::uint64_t bits =
      at.value | reinterpret_cast<std::uintptr_t>(piece.iov_base) | piece.iov_len;
  ring_->transfer(direction, (bits & file.direct_mask) == 0 ? file.direct : file.cached, at, piece,
                  registered, &caller);
}

/// `buffers` are the caller's, or pieces of them.
void QueueState::transfer_list(QueueRing::Direction direction, IoRequest& caller,
                               const LayerFile& file, FileOffset at,
                               std::span<const iovec> buffers) noexcept {
  Request& request = request_of(caller);
  if (buffers.size() == 1) {
    const std::int32_t registered =
        buffers.data() == caller.buffers.data() ? caller.registered : -1;
    if (direction == QueueRing::Direction::read)
      return transfer<QueueRing::Direction::read>(caller, request, file, at, buffers[0],
                                                  registered);
    return transfer<QueueRing::Direction::write>(caller, request, file, at, buffers[0], registered);
  }
  ++request.pending;
  ++statistics_.host_requests;
  std::uint64_t bits = at.value;
  for (const iovec& piece : buffers) {
    request.left += static_cast<std::uint32_t>(piece.iov_len);
    bits |= reinterpret_cast<std::uintptr_t>(piece.iov_base) | piece.iov_len;
  }
  ring_->transfer(direction, (bits & file.direct_mask) == 0 ? file.direct : file.cached, at,
                  buffers, &caller);
}

}  // namespace openvhd::detail

namespace openvhd {

[[gnu::flatten]] bool Queue::start_read(detail::QueueState& queue, IoRequest& request) noexcept {
  return queue.read(request);
}

[[gnu::flatten]] bool Queue::start_write(detail::QueueState& queue, IoRequest& request) noexcept {
  return queue.write(request);
}

}  // namespace openvhd
