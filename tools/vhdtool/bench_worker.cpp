#include "bench_worker.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "signals.hpp"

namespace vhdtool {
namespace {

using openvhd::Errc;
using openvhd::Error;
using openvhd::Status;

constexpr std::size_t kAlignment = 4096;

BenchWalk::Order order_of(const BenchOptions& options) noexcept {
  const bool once = options.mode == BenchMode::alloc || options.mode == BenchMode::trim;
  if (options.sequential) return once ? BenchWalk::Order::once : BenchWalk::Order::sequential;
  return once ? BenchWalk::Order::shuffled : BenchWalk::Order::random;
}

std::uint64_t share_of(const BenchOptions& options, std::uint64_t number) noexcept {
  if (!options.count) return std::numeric_limits<std::uint64_t>::max();
  return *options.count / options.queues + (number < *options.count % options.queues ? 1 : 0);
}

// Nothing between file and device can make less of it.
void fill_with_noise(std::byte* memory, std::size_t length, std::uint64_t seed) noexcept {
  BenchRandom random{seed};
  for (std::size_t at = 0; at < length; at += sizeof(std::uint64_t)) {
    const auto word = random.next();
    std::memcpy(memory + at, &word, std::min(sizeof word, length - at));
  }
}

}  // namespace

BenchWorker::BenchWorker(Shared& shared, std::uint64_t number)
    : shared_{shared},
      mode_{shared.options.mode},
      walk_{shared.range,
            order_of(shared.options),
            {.worker = number, .workers = shared.options.queues},
            shared.options.seed},
      reads_anywhere_{mode_ == BenchMode::read && walk_.order() == BenchWalk::Order::random},
      places_{shared.options.mode == BenchMode::alloc && !shared.options.sequential
                  ? shared.range.unit_bytes() / shared.options.block
                  : 1},
      left_{share_of(shared.options, number)},
      until_flush_{shared.options.flush_every},
      slots_(shared.options.depth) {}

void BenchWorker::open(openvhd::Disk& disk) noexcept {
  if (const auto status = open_queue(disk); !status) fail(status.error());
}

Status BenchWorker::open_queue(openvhd::Disk& disk) noexcept {
  auto queue = openvhd::Queue::open(disk, {.depth = shared_.options.depth});
  if (!queue) return queue.error();
  queue_ = std::move(*queue);
  door_ = &*queue_;
  driver_ = queue_->driver();
  if (shared_.flow) {
    auto limited =
        openvhd::QosQueue::open(*std::move(queue_), shared_.options.depth, *shared_.flow);
    if (!limited) return limited.error();
    limited_ = std::move(*limited);
    door_ = nullptr;
    limited_reads_anywhere_ = std::exchange(reads_anywhere_, false);
  }
  for (auto& slot : slots_) {
    slot.worker = this;
    slot.done = on_done;
    slot.durable = shared_.options.durable;
    slot.length = shared_.options.block;
  }
  if (shared_.options.mode == BenchMode::trim) return openvhd::Ok{};
  return prepare_memory();
}

Status BenchWorker::prepare_memory() noexcept {
  const auto block = static_cast<std::size_t>(shared_.options.block);
  const auto spacing = (block + kAlignment - 1) / kAlignment * kAlignment;
  const iovec all{std::aligned_alloc(kAlignment, spacing * slots_.size()), spacing * slots_.size()};
  memory_.reset(static_cast<std::byte*>(all.iov_base));
  if (!memory_) return Error{.code = Errc::io, .sys_errno = ENOMEM, .what = "buffers"};
  fill_with_noise(memory_.get(), all.iov_len, walk_.random().next());
  if (shared_.options.registered) {
    auto status = on_queue([&](auto& queue) { return queue.register_buffers({&all, 1}); });
    if (!status) return status;
  }
  auto* memory = memory_.get();
  for (auto& slot : slots_) {
    slot.memory = {memory, block};
    slot.buffers = {&slot.memory, 1};
    slot.registered = shared_.options.registered ? 0 : -1;
    memory += spacing;
  }
  return openvhd::Ok{};
}

void BenchWorker::run() noexcept {
  begin_ = Clock::now();
  const auto seconds = shared_.options.seconds;
  const auto deadline = begin_ + std::chrono::seconds{seconds};
  for (auto& slot : slots_) submit_next(slot);
  // The clock is looked at once for each batch, not for each request.
  while (on_queue([](auto& queue) { return queue.wait(); }) != 0) {
    if (must_stop() || (seconds != 0 && Clock::now() >= deadline)) left_ = 0;
  }
  end_ = Clock::now();
  statistics_ = on_queue([](auto& queue) { return queue.statistics(); });
}

void BenchWorker::close() noexcept {
  limited_.reset();
  queue_.reset();
}

bool BenchWorker::must_stop() const noexcept {
  return shared_.stop.load(std::memory_order_relaxed) || interrupted();
}

void BenchWorker::completed(Slot& slot) noexcept {
  if (slot.flushing) {
    slot.flushing = false;
    submit_next(slot);
    return;
  }
  ++completed_;
  if (until_flush_ != 0 && --until_flush_ == 0) {
    submit_flush(slot);
  } else {
    submit_next(slot);
  }
}

void BenchWorker::on_done(openvhd::IoRequest& request, Status status) noexcept {
  auto& slot = static_cast<Slot&>(request);
  if (!status) {
    slot.worker->fail(status.error());
  } else {
    slot.worker->completed(slot);
  }
}

void BenchWorker::submit_flush(Slot& slot) noexcept {
  until_flush_ = shared_.options.flush_every;
  slot.flushing = true;
  const auto status = on_queue([&](auto& queue) { return queue.flush(slot); });
  if (!status) fail(status.error());
}

void BenchWorker::submit(Slot& slot) noexcept {
  const auto status = on_queue([&](auto& queue) {
    if (mode_ == BenchMode::read) return queue.read(slot);
    return mode_ == BenchMode::trim ? queue.trim(slot) : queue.write(slot);
  });
  if (!status) fail(status.error());
}

// Apart: what limits take would make the way of those without them longer.
void BenchWorker::read_limited(Slot& slot) noexcept {
  slot.at = openvhd::VirtualOffset{walk_.anywhere()};
  if (!limited_->read(slot)) [[unlikely]]
    submit(slot);
}

void BenchWorker::submit_next(Slot& slot) noexcept {
  if (left_ == 0) return;
  --left_;
  // What is compared with the yardstick has a way as short as there (bench/tools/raw_ring.cpp).
  if (reads_anywhere_) [[likely]] {
    slot.at = openvhd::VirtualOffset{walk_.anywhere()};
    if (!door_->read(slot)) [[unlikely]]
      submit(slot);
    return;
  }
  if (limited_reads_anywhere_) return read_limited(slot);
  auto at = walk_.next();
  if (at == BenchWalk::kEnd) {
    left_ = 0;
    exhausted_ = true;
    return;
  }
  if (places_ > 1) at += walk_.random().below(places_) * shared_.options.block;
  slot.at = openvhd::VirtualOffset{at};
  submit(slot);
}

void BenchWorker::fail(const Error& error) noexcept {
  if (!error_) error_ = error;
  left_ = 0;
  shared_.stop.store(true, std::memory_order_relaxed);
}

}  // namespace vhdtool
