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
}  // namespace

Result<std::unique_ptr<QueueState>> QueueState::open(std::shared_ptr<DiskState> disk,
                                                     const QueueOptions& options) {
  if (options.depth == 0 || options.depth > kMostDepth)
    return Error{.code = Errc::invalid, .what = "depth of a queue: 1 to 1024"};
  auto out = std::make_unique<QueueState>(Key{}, std::move(disk), options.depth);
  OVHD_TRY(out->slot_, out->disk_->join_queue());
  if (out->disk_->driver() != DriverKind::blocking) OVHD_CHECK(out->open_ring());
  const unsigned side = out->slot_->begin_transfer();
  out->keep_up();
  out->slot_->end_transfer(side);
  return out;
}

QueueState::QueueState(Key, std::shared_ptr<DiskState> disk, std::uint32_t depth)
    : disk_{std::move(disk)},
      sector_mask_{disk_->geometry().logical_sector_size - std::uint64_t{1}},
      writable_{disk_->writable()},
      depth_{depth},
      room_{depth} {}

QueueState::~QueueState() {
  while (under_way() > 0) wait();
  // The owner may be about to wake this queue: afterwards it is not.
  if (slot_ != nullptr) disk_->leave_queue(*slot_);
}

Status QueueState::open_ring() noexcept {
  most_transfers_ = std::max<std::uint32_t>(64, 2 * depth_);
  OVHD_TRY(ring_, QueueRing::create(most_transfers_ + 1, {}));
  return Ok{};
}

/// Learns what the disk is made of now, if it is not what it was. Inside a transfer.
void QueueState::keep_up() noexcept {
  const std::uint64_t now = disk_->generation();
  if (now == generation_ || now % 2 != 0) return;
  generation_ = now;
  const bool other_layers = layer_changes_ != disk_->layer_changes();
  const bool other_notes = notes_ != disk_->write_notes();
  if (other_layers) take_layers();
  if (!other_layers && !other_notes) return;
  notes_ = disk_->write_notes();
  // While writes are noted, each has to come by the place where that is done.
  if (leaf_file_.in_ring && notes_ == nullptr) {
    places_.open(*leaf_);
  } else {
    places_.close();
  }
}

/// Every file of the chain twice: for transfers past the page cache, and for all others. None is
/// in flight: the layers have changed since the last one.
void QueueState::take_layers() noexcept {
  alignas(4096) static constexpr std::array<std::byte, 4096> kAligned{};
  layer_changes_ = disk_->layer_changes();
  finder_ = &disk_->finder();
  leaf_ = &disk_->chain().leaf();
  files_.clear();
  leaf_file_ = {};
  if (!ring_) return;
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
  const bool taken = bool{ring_->replace_files(descriptors)};
  for (std::size_t i = 0; i < files_.size(); ++i) {
    // Without a file in the ring everything is the owner's.
    files_[i].in_ring = files_[i].in_ring && taken;
    files_[i].direct = ring_->file(2 * i);
    files_[i].cached = ring_->file(2 * i + 1);
  }
  leaf_file_ = files_.front();
}

void QueueState::count_latency(std::uint64_t start_ns, std::uint64_t requests) noexcept {
  const std::uint64_t took = now_ns_ > start_ns ? now_ns_ - start_ns : 0;
  statistics_.latency.counts[LatencyHistogram::bucket_of(took)] += requests;
}

void QueueState::count(Run& run, QueueStatistics::Kind& counts) noexcept {
  if (run.requests == 0) return;
  counts.requests += run.requests;
  counts.bytes += run.bytes;
  statistics_.mapped += run.requests;
  transfers_done_ += run.requests;
  completed_ += run.requests;
  count_latency(run.start_ns, run.requests);
  run = {};
}

void QueueState::count_runs() noexcept {
  count(reads_, statistics_.reads);
  count(writes_, statistics_.writes);
}

QueueStatistics::Kind& QueueState::counts_of(Job::Kind kind) noexcept {
  switch (kind) {
    case Job::Kind::read:
      return statistics_.reads;
    case Job::Kind::write:
      return statistics_.writes;
    case Job::Kind::zero:
      return statistics_.zeroes;
    case Job::Kind::trim:
      return statistics_.trims;
    case Job::Kind::flush:
    case Job::Kind::close:
    case Job::Kind::map:
    case Job::Kind::call:
    case Job::Kind::still:
    case Job::Kind::move:
      break;
  }
  return statistics_.flushes;
}

/// Whatever it took.
void QueueState::served(IoRequest& caller) noexcept {
  const Request& request = request_of(caller);
  const bool moves = request.kind == Job::Kind::read || request.kind == Job::Kind::write;
  const std::uint64_t asked = request.kind == Job::Kind::flush ? 0 : caller.length;
  QueueStatistics::Kind& counts = counts_of(request.kind);
  ++counts.requests;
  counts.bytes += moves ? total_bytes(caller.buffers) : asked;
  count_latency(request.start_ns, 1);
  ++room_;
  ++completed_;
  caller.done(caller, Ok{});
}

void QueueState::transferred(IoRequest& caller, std::int32_t result) noexcept {
  const Request& request = request_of(caller);
  // No request is as long as an error is when it is taken for a length.
  if (static_cast<std::uint32_t>(result) != request.left || request.pending != 1) [[unlikely]]
    return transferred_oddly(caller, result);
  const bool wrote = request.kind == Job::Kind::write;
  if (wrote) leaf_->overwritten();
  slot_->end_transfer(request.side);
  Run& run = wrote ? writes_ : reads_;
  if (request.start_ns != run.start_ns) [[unlikely]] {
    count_runs();
    run.start_ns = request.start_ns;
  }
  ++run.requests;
  run.bytes += request.left;
  ++room_;
  caller.done(caller, Ok{});
}

/// One of several transfers, or one that did not do all that was asked.
void QueueState::transferred_oddly(IoRequest& caller, std::int32_t result) noexcept {
  Request& request = request_of(caller);
  ++transfers_done_;
  if (result >= 0) {
    request.left -= static_cast<std::uint32_t>(result);
  } else {
    request.left |= Request::kOdd;
  }
  if ((--request.pending & ~Request::kInParts) != 0) return;
  if (request.kind == Job::Kind::write) leaf_->overwritten();
  slot_->end_transfer(request.side);
  if (request.left != 0) {
    to_owner(caller);
    return;
  }
  ++statistics_.mapped;
  served(caller);
}

void QueueState::to_owner(IoRequest& caller) noexcept {
  Request& request = request_of(caller);
  const Job::Kind kind = request.kind;
  const bool moves = kind == Job::Kind::read || kind == Job::Kind::write;
  const bool clears = kind == Job::Kind::zero || kind == Job::Kind::trim;
  Job& job = *::new (static_cast<void*>(&request.job)) Job{
      .kind = kind,
      .durable = (clears || kind == Job::Kind::write) && caller.durable,
      .at = caller.at,
      .length = clears ? caller.length : 0,
      .buffers = moves ? caller.buffers : std::span<const iovec>{},
      .context = &caller,
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
    send(ring_ && !come && under_way() > 0);
    if (!ring_ && !come && under_way() > 0) event_.wait();
    if (const unsigned ran = harvest(); ran != 0 || under_way() == 0) return ran;
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
  IoRequest* ready = std::exchange(ready_, nullptr);
  if (ring_) {
    ring_->reap([this](void* tag, std::int32_t result) {
      transferred(*static_cast<IoRequest*>(tag), result);
    });
  }
  while (ready != nullptr) {
    ++statistics_.mapped;
    served(*std::exchange(ready, request_of(*ready).next));
  }
  take_finished();
  count_runs();
  now_ns_ = 0;
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
    auto& caller = *static_cast<IoRequest*>(done.context);
    if (done.status) {
      served(caller);
    } else {
      failed(caller, done.status.error());
    }
  }
}

void QueueState::failed(IoRequest& caller, const Error& error) noexcept {
  Request& request = request_of(caller);
  QueueStatistics::Kind& counts = counts_of(request.kind);
  ++counts.requests;
  ++counts.failed;
  count_latency(request.start_ns, 1);
  ++room_;
  ++completed_;
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

void QueueState::refresh_clock() noexcept { now_ns_ = monotonic_ns(); }

int QueueState::descriptor() noexcept {
  descriptor_used_ = true;
  return ring_ ? ring_->descriptor() : event_.descriptor();
}

Status QueueState::register_buffers(std::span<const iovec> buffers) noexcept {
  if (!ring_) return Error{.code = Errc::unsupported, .what = "no ring to register buffers with"};
  if (under_way() != 0) return Error{.code = Errc::busy, .what = "requests are under way"};
  return ring_->register_buffers(buffers);
}

const QueueStatistics& QueueState::statistics() noexcept {
  count_runs();
  statistics_.submissions = ring_ ? ring_->submissions() : 0;
  return statistics_;
}

}  // namespace openvhd::detail
