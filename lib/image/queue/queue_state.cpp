#include "image/queue/queue_state.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "base/try.hpp"
#include "image/queue/owner.hpp"

namespace openvhd::detail {
namespace {

constexpr std::uint32_t kMostDepth = 1024;
constexpr std::uint64_t kMostBytes = (std::uint64_t{1} << 31) - 4096;

Error not_writable() noexcept { return {.code = Errc::read_only, .what = "opened for reading"}; }
Error too_long() noexcept { return {.code = Errc::invalid, .what = "a request of 2 GiB or more"}; }

std::uint64_t length_of(std::span<const iovec> buffers) noexcept {
  if (buffers.size() == 1) [[likely]]
    return buffers.data()->iov_len;
  return total_bytes(buffers);
}

}  // namespace

Result<std::unique_ptr<QueueState>> QueueState::open(std::shared_ptr<DiskState> disk,
                                                     const QueueOptions& options) {
  if (options.depth == 0 || options.depth > kMostDepth)
    return Error{.code = Errc::invalid, .what = "depth of a queue: 1 to 1024"};
  auto out = std::make_unique<QueueState>(Key{}, std::move(disk), options.depth);
  OVHD_TRY(out->slot_, out->disk_->join_queue());
  out->finder_ = &out->disk_->finder();
  if (out->disk_->driver() != DriverKind::blocking) OVHD_CHECK(out->open_ring());
  return out;
}

QueueState::QueueState(Key, std::shared_ptr<DiskState> disk, std::uint32_t depth)
    : disk_{std::move(disk)},
      leaf_{&disk_->chain().leaf()},
      virtual_size_{disk_->geometry().virtual_size},
      sector_mask_{disk_->geometry().logical_sector_size - std::uint64_t{1}},
      writable_{disk_->writable()},
      depth_{depth} {}

QueueState::~QueueState() {
  while (under_way_ > 0) wait();
  // The owner may be about to wake this queue: afterwards it is not.
  if (slot_ != nullptr) disk_->leave_queue(*slot_);
}

/// Every file of the chain twice: for transfers past the page cache, and for all others.
Status QueueState::open_ring() noexcept {
  alignas(4096) static constexpr std::array<std::byte, 4096> kAligned{};
  std::vector<int> descriptors;
  for (File* const file : disk_->files()) {
    iovec buffer{const_cast<std::byte*>(kAligned.data()), kAligned.size()};
    IoCommand probe{
        .kind = IoCommand::Kind::read, .length = kAligned.size(), .buffers = {&buffer, 1}};
    const int direct = file->async_descriptor(probe);
    probe.at = {1};
    const int cached = file->async_descriptor(probe);
    LayerFile one;
    one.in_ring = file->is_plain() && direct >= 0 && cached >= 0;
    one.direct_mask = file->direct_alignment() - std::uint64_t{1};
    files_.push_back(one);
    descriptors.push_back(one.in_ring ? direct : -1);
    descriptors.push_back(one.in_ring ? cached : -1);
  }
  most_transfers_ = std::max<std::uint32_t>(64, 2 * depth_);
  OVHD_TRY(ring_, QueueRing::create(most_transfers_ + 1, descriptors));
  for (std::size_t i = 0; i < files_.size(); ++i) {
    files_[i].direct = ring_->file(2 * i);
    files_[i].cached = ring_->file(2 * i + 1);
  }
  return Ok{};
}

bool QueueState::may_start(VirtualOffset at, std::uint64_t length) const noexcept {
  return ((at.value | length) & sector_mask_) == 0 && at.value <= virtual_size_ &&
         length <= virtual_size_ - at.value && under_way_ < depth_;
}

/// Why not.
Error QueueState::refusal(VirtualOffset at, std::uint64_t length) const noexcept {
  if (((at.value | length) & sector_mask_) != 0)
    return {.code = Errc::misaligned, .what = "request in parts of a logical sector"};
  if (at.value > virtual_size_ || length > virtual_size_ - at.value)
    return {.code = Errc::out_of_range, .what = "request beyond the end of the disk"};
  return {.code = Errc::busy, .what = "as many requests as the queue's depth"};
}

QueueState::Request& QueueState::begin(IoRequest& caller, Job::Kind kind, std::uint64_t length,
                                       QueueStatistics::Kind& counted) noexcept {
  if (!clock_fresh_) refresh_clock();
  ++under_way_;
  return *::new (static_cast<void*>(caller.state_.data()))
      Request{caller, kind, length, now_ns_, counted};
}

template <QueueRing::Direction direction>
void QueueState::transfer(Request& request, const LayerFile& file, FileOffset at,
                          std::span<const iovec> buffers, std::int32_t registered) noexcept {
  ++request.pending;
  ++transfers_;
  ++statistics_.host_requests;
  if (buffers.size() != 1) [[unlikely]]
    return transfer_list(direction, request, file, at, buffers);
  const iovec& piece = *buffers.data();
  request.left += piece.iov_len;
  const std::uint64_t bits =
      at.value | reinterpret_cast<std::uintptr_t>(piece.iov_base) | piece.iov_len;
  ring_->transfer(direction, (bits & file.direct_mask) == 0 ? file.direct : file.cached, at, piece,
                  registered, &request);
}

bool QueueState::read_mapped(Request& request) noexcept {
  if (request.length == 0 || !ring_) [[unlikely]]
    return false;
  const IoRequest& caller = *request.caller;
  request.side = static_cast<std::uint8_t>(slot_->begin());
  Found found;
  if (finder_->find(caller.at, request.length, found) && found.extent.kind == Extent::Kind::data &&
      found.extent.length == request.length && transfers_ < most_transfers_) [[likely]] {
    const LayerFile& file = files_.data()[found.layer];
    if (file.in_ring) [[likely]] {
      slot_->end_look_up();
      transfer<QueueRing::Direction::read>(request, file, found.extent.at, caller.buffers,
                                           caller.registered);
      return true;
    }
  }
  return read_otherwise(request);
}

bool QueueState::write_mapped(Request& request) noexcept {
  const IoRequest& caller = *request.caller;
  // A durable write that fails may have taken the host's word of another write's loss with it: it
  // must poison like a failed sync, which the owner's flush does (RELIABILITY e.2).
  if (request.length == 0 || !ring_ || caller.durable) [[unlikely]]
    return false;
  request.side = static_cast<std::uint8_t>(slot_->begin());
  Extent extent;
  const bool whole = finder_->find_writable(caller.at, request.length, extent) &&
                     extent.length == request.length && transfers_ < most_transfers_ &&
                     files_.front().in_ring;
  slot_->end_look_up();
  if (!whole) {
    slot_->end_transfer(request.side);
    return false;
  }
  transfer<QueueRing::Direction::write>(request, files_.front(), extent.at, caller.buffers,
                                        caller.registered);
  return true;
}

Status QueueState::read(IoRequest& caller) noexcept {
  const std::uint64_t length = length_of(caller.buffers);
  if (!may_start(caller.at, length)) [[unlikely]]
    return refusal(caller.at, length);
  if (length > kMostBytes) [[unlikely]]
    return too_long();
  Request& request = begin(caller, Job::Kind::read, length, statistics_.reads);
  if (!read_mapped(request)) [[unlikely]]
    to_owner(request);
  return Ok{};
}

Status QueueState::write(IoRequest& caller) noexcept {
  if (!writable_) return not_writable();
  const std::uint64_t length = length_of(caller.buffers);
  if (!may_start(caller.at, length)) [[unlikely]]
    return refusal(caller.at, length);
  if (length > kMostBytes) [[unlikely]]
    return too_long();
  Request& request = begin(caller, Job::Kind::write, length, statistics_.writes);
  if (!write_mapped(request)) to_owner(request);
  return Ok{};
}

Status QueueState::clear(IoRequest& caller, Job::Kind kind) noexcept {
  if (!writable_) return not_writable();
  if (!may_start(caller.at, caller.length)) return refusal(caller.at, caller.length);
  auto& counted = kind == Job::Kind::trim ? statistics_.trims : statistics_.zeroes;
  to_owner(begin(caller, kind, caller.length, counted));
  return Ok{};
}

Status QueueState::flush(IoRequest& caller) noexcept {
  if (!writable_) return not_writable();
  if (!may_start({}, 0)) return refusal({}, 0);
  to_owner(begin(caller, Job::Kind::flush, 0, statistics_.flushes));
  return Ok{};
}

bool QueueState::read_otherwise(Request& request) noexcept {
  const bool begun = read_parts(request);
  slot_->end_look_up();
  if (request.pending != 0) return true;
  slot_->end_transfer(request.side);
  if (!begun) return false;
  request.next = ready_;
  ready_ = &request;
  return true;
}

/// A read that several extents answer, or zeros: all of it is found before any of it begins.
bool QueueState::read_parts(Request& request) noexcept {
  std::array<Part, kMostParts> parts;
  std::size_t count = 0;
  std::size_t pieces = 0;
  BufferSlice slice;
  for (std::uint64_t done = 0; done < request.length;) {
    if (count == kMostParts) return false;
    Part& part = parts[count++];
    if (!finder_->find(request.caller->at + done, request.length - done, part.found)) return false;
    if (part.found.extent.kind == Extent::Kind::data && !files_[part.found.layer].in_ring)
      return false;
    const std::uint64_t covered =
        slice.cut(request.caller->buffers, done, part.found.extent.length);
    if (covered != part.found.extent.length) return false;
    part.first_piece = pieces;
    part.pieces = slice.pieces().size();
    if (pieces + part.pieces > Request::kPieces) return false;
    std::ranges::copy(slice.pieces(), request.pieces.begin() + static_cast<std::ptrdiff_t>(pieces));
    pieces += part.pieces;
    done += covered;
  }
  if (transfers_ + count > most_transfers_) return false;
  for (const Part& part : std::span{parts}.first(count)) {
    const std::span buffers{request.pieces.data() + part.first_piece, part.pieces};
    if (part.found.extent.kind == Extent::Kind::data) {
      transfer<QueueRing::Direction::read>(request, files_[part.found.layer], part.found.extent.at,
                                           buffers, -1);
      continue;
    }
    for (const iovec& piece : buffers) std::memset(piece.iov_base, 0, piece.iov_len);
  }
  return true;
}

void QueueState::transfer_list(QueueRing::Direction direction, Request& request,
                               const LayerFile& file, FileOffset at,
                               std::span<const iovec> buffers) noexcept {
  std::uint64_t bits = at.value;
  for (const iovec& piece : buffers) {
    request.left += piece.iov_len;
    bits |= reinterpret_cast<std::uintptr_t>(piece.iov_base) | piece.iov_len;
  }
  ring_->transfer(direction, (bits & file.direct_mask) == 0 ? file.direct : file.cached, at,
                  buffers, &request);
}

void QueueState::count_latency(const Request& request) noexcept {
  if (request.start_ns != counted_start_ns_) {
    counted_start_ns_ = request.start_ns;
    const std::uint64_t took = now_ns_ > request.start_ns ? now_ns_ - request.start_ns : 0;
    counted_bucket_ = LatencyHistogram::bucket_of(took);
  }
  ++statistics_.latency.counts.data()[counted_bucket_];
}

void QueueState::served(Request& request) noexcept {
  ++request.counts->requests;
  request.counts->bytes += request.length;
  count_latency(request);
  --under_way_;
  ++completed_;
  IoRequest& caller = *request.caller;
  caller.done(caller, Ok{});
}

void QueueState::transferred(Request& request, std::int32_t result) noexcept {
  --transfers_;
  const bool all = result >= 0 && static_cast<std::uint64_t>(result) == request.left;
  if (!all || request.pending != 1) [[unlikely]]
    return transferred_oddly(request, result);
  if (request.kind == Job::Kind::write) leaf_->overwritten();
  slot_->end_transfer(request.side);
  ++statistics_.mapped;
  served(request);
}

/// One of several transfers, or one that did not do all that was asked.
void QueueState::transferred_oddly(Request& request, std::int32_t result) noexcept {
  if (result >= 0) {
    request.left -= static_cast<std::uint32_t>(result);
  } else {
    request.odd = true;
  }
  if (--request.pending != 0) return;
  if (request.kind == Job::Kind::write) leaf_->overwritten();
  slot_->end_transfer(request.side);
  if (request.odd || request.left != 0) {
    to_owner(request);
    return;
  }
  ++statistics_.mapped;
  served(request);
}

void QueueState::to_owner(Request& request) noexcept {
  const IoRequest& caller = *request.caller;
  const bool moves = request.kind == Job::Kind::read || request.kind == Job::Kind::write;
  const bool lasts = request.kind != Job::Kind::read && request.kind != Job::Kind::flush;
  Job& job = *::new (static_cast<void*>(&request.job)) Job{
      .kind = request.kind,
      .durable = lasts && caller.durable,
      .at = caller.at,
      .length = request.length,
      .buffers = moves ? caller.buffers : std::span<const iovec>{},
      .context = &request,
      .sink = this,
  };
  (to_post_ == nullptr ? to_post_ : to_post_last_->next) = &job;
  to_post_last_ = &job;
  ++with_owner_;
  ++statistics_.handed_over;
}

unsigned QueueState::poll() noexcept {
  // Taken back before the look: what comes during it is announced once more.
  if (descriptor_used_ && ring_) ring_->drain_descriptor();
  send(false);
  unsigned ran = harvest();
  if (descriptor_used_) {
    // The caller may now wait for the descriptor: nothing may lie here that does not lead to it.
    send(false);
    if (with_owner_ > 0) sleep(Waiting::for_descriptor);
    if (finished_.load(std::memory_order_relaxed) != nullptr) ran += harvest();
    if (ready_ != nullptr || to_post_ != nullptr || (ring_ && ring_->anything_queued())) nudge();
  }
  return ran;
}

/// Makes the descriptor readable.
void QueueState::nudge() noexcept {
  if (ring_) {
    ring_->announce();
  } else {
    event_.announce();
  }
}

/// Posts and submits what there is; with `wait` the ring waits for a completion.
void QueueState::send(bool wait) noexcept {
  if (to_post_ != nullptr) {
    disk_->owner().post(*to_post_, *to_post_last_);
    to_post_ = nullptr;
  }
  if (ring_ && (wait || ring_->worth_submitting())) ring_->submit(wait);
}

unsigned QueueState::wait() noexcept {
  for (;;) {
    const bool ready = ready_ != nullptr || (ring_ && ring_->anything_ready());
    if (with_owner_ > 0 && !ready) sleep(Waiting::in_ring);
    const bool come = ready || finished_.load(std::memory_order_relaxed) != nullptr;
    send(ring_ && !come && under_way_ > 0);
    if (!ring_ && !come && under_way_ > 0) event_.wait();
    if (const unsigned ran = harvest(); ran != 0 || under_way_ == 0) return ran;
  }
}

/// From here on the owner's next ring() is heard.
void QueueState::sleep(Waiting how) noexcept {
  if (how == Waiting::in_ring && ring_ && !ring_->armed()) ring_->arm();
  waiting_.store(how, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

/// What `done` starts in here is for the next look: a caller that always starts something must
/// get back to its loop.
unsigned QueueState::harvest() noexcept {
  refresh_clock();
  const std::uint64_t before = completed_;
  Request* ready = std::exchange(ready_, nullptr);
  if (ring_) {
    ring_->reap([this](void* tag, std::int32_t result) {
      transferred(*static_cast<Request*>(tag), result);
    });
  }
  while (ready != nullptr) {
    ++statistics_.mapped;
    served(*std::exchange(ready, ready->next));
  }
  take_finished();
  clock_fresh_ = false;
  return static_cast<unsigned>(completed_ - before);
}

void QueueState::take_finished() noexcept {
  if (with_owner_ == 0) return;
  if (!ring_) event_.take();
  // In the order in which they finished.
  Job* first = reversed(finished_.exchange(nullptr, std::memory_order_acquire));
  while (first != nullptr) {
    Job& done = *std::exchange(first, first->next);
    --with_owner_;
    auto& request = *static_cast<Request*>(done.context);
    if (done.status) {
      served(request);
    } else {
      failed(request, done.status.error());
    }
  }
}

void QueueState::failed(Request& request, const Error& error) noexcept {
  ++request.counts->requests;
  ++request.counts->failed;
  count_latency(request);
  --under_way_;
  ++completed_;
  IoRequest& caller = *request.caller;
  caller.done(caller, error);
}

void QueueState::finished(Job& job) noexcept {
  Job* below = finished_.load(std::memory_order_relaxed);
  do {
    job.next = below;
  } while (!finished_.compare_exchange_weak(below, &job, std::memory_order_release,
                                            std::memory_order_relaxed));
}

void QueueState::ring() noexcept {
  // Either this sees that the queue waits, or the queue has seen what is finished.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!ring_) return event_.announce();
  if (waiting_.load(std::memory_order_relaxed) == Waiting::no) return;
  switch (waiting_.exchange(Waiting::no)) {
    case Waiting::no:
      return;
    case Waiting::in_ring:
      return ring_->alarm();
    case Waiting::for_descriptor:
      return ring_->announce();
  }
}

void QueueState::refresh_clock() noexcept {
  now_ns_ = monotonic_ns();
  counted_start_ns_ = 0;
  clock_fresh_ = true;
}

int QueueState::descriptor() noexcept {
  descriptor_used_ = true;
  return ring_ ? ring_->descriptor() : event_.descriptor();
}

Status QueueState::register_buffers(std::span<const iovec> buffers) noexcept {
  if (!ring_) return Error{.code = Errc::unsupported, .what = "no ring to register buffers with"};
  if (under_way_ != 0) return Error{.code = Errc::busy, .what = "requests are under way"};
  return ring_->register_buffers(buffers);
}

const QueueStatistics& QueueState::statistics() noexcept {
  statistics_.submissions = ring_ ? ring_->submissions() : 0;
  return statistics_;
}

}  // namespace openvhd::detail
