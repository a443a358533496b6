#include <cmath>
#include <openvhd/queue.hpp>

#include "base/try.hpp"
#include "image/disk_state.hpp"
#include "image/queue/queue_state.hpp"

namespace openvhd {

std::uint64_t LatencyHistogram::total() const noexcept {
  std::uint64_t sum = 0;
  for (const std::uint64_t count : counts) sum += count;
  return sum;
}

std::uint64_t LatencyHistogram::percentile_ns(double percent) const noexcept {
  const auto wanted = static_cast<std::uint64_t>(std::ceil(double(total()) * percent / 100));
  std::uint64_t sum = 0;
  for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
    sum += counts[bucket];
    if (sum >= wanted && sum != 0) return floor_of(bucket);
  }
  return 0;
}

Result<Queue> Queue::open(Disk& disk, const QueueOptions& options) {
  OVHD_TRY(auto state, detail::QueueState::open(detail::DiskState::shared(disk), options));
  return Queue{std::move(state)};
}

Queue::Queue(std::unique_ptr<detail::QueueState> state) noexcept : state_{std::move(state)} {}
Queue::Queue(Queue&&) noexcept = default;
Queue& Queue::operator=(Queue&&) noexcept = default;
Queue::~Queue() = default;

const Error& Queue::refused(const detail::QueueState& queue) noexcept { return queue.refused(); }

Status Queue::write_zeroes(IoRequest& request) noexcept {
  if (state_->clear(request, Job::Kind::zero)) return Ok{};
  return state_->refused();
}
Status Queue::trim(IoRequest& request) noexcept {
  if (state_->clear(request, Job::Kind::trim)) return Ok{};
  return state_->refused();
}
Status Queue::flush(IoRequest& request) noexcept {
  if (state_->flush(request)) return Ok{};
  return state_->refused();
}
unsigned Queue::poll() noexcept { return state_->poll(); }
unsigned Queue::wait() noexcept { return state_->wait(); }
int Queue::descriptor() noexcept { return state_->descriptor(); }
Status Queue::register_buffers(std::span<const iovec> buffers) noexcept {
  return state_->register_buffers(buffers);
}
std::uint32_t Queue::under_way() const noexcept { return state_->under_way(); }
const QueueStatistics& Queue::statistics() const noexcept { return state_->statistics(); }
const char* Queue::driver() const noexcept { return state_->driver(); }

ImageStatistics image_statistics(const Disk& disk) noexcept {
  return detail::DiskState::of(disk).statistics();
}

}  // namespace openvhd
