#include "devices/queue_block.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <future>

namespace openvhd::vmm {

QueueBlock::QueueBlock(Key, std::mutex& machine, Fd event)
    : machine_{&machine}, event_{std::move(event)} {
  for (auto& slot : slots_) {
    slot.owner = this;
    slot.next = free_;
    free_ = &slot;
  }
  // So that submit() never allocates: a controller has few requests at a time.
  inbox_.reserve(kDepth);
  waiting_.reserve(kDepth);
}

Result<std::unique_ptr<QueueBlock>> QueueBlock::open(Disk& disk, std::mutex& machine,
                                                     const std::string& serial) {
  const auto& geometry = disk.geometry();
  if (geometry.logical_sector_size != 512)
    return Error{.code = Errc::unsupported,
                 .what = "an IDE disk has sectors of 512 bytes; this image has larger ones"};
  Fd event{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  if (!event) return Error{.code = Errc::io, .sys_errno = errno, .what = "eventfd"};
  auto block = std::make_unique<QueueBlock>(Key{}, machine, std::move(event));
  block->shape_ = {.bytes = geometry.virtual_size,
                   .physical_sector = geometry.physical_sector_size,
                   .writable = disk.writable(),
                   .serial = serial};
  std::promise<Status> opened;
  auto answer = opened.get_future();
  block->thread_ = std::thread{[self = block.get(), &disk, promise = std::move(opened)]() mutable {
    auto queue = Queue::open(disk, {.depth = kDepth});
    if (!queue) {
      promise.set_value(queue.error());
      return;
    }
    promise.set_value(Ok{});
    self->serve(*queue);
  }};
  if (const auto status = answer.get(); !status) return status.error();
  return block;
}

QueueBlock::~QueueBlock() {
  {
    const std::lock_guard lock{inbox_lock_};
    stop_ = true;
  }
  wake();
  if (thread_.joinable()) thread_.join();
}

void QueueBlock::wake() noexcept {
  const std::uint64_t one = 1;
  // Full means awake already.
  static_cast<void>(!::write(event_.get(), &one, sizeof one));
}

void QueueBlock::submit(BlockRequest& request) noexcept {
  {
    const std::lock_guard lock{inbox_lock_};
    inbox_.push_back(&request);
  }
  wake();
}

void QueueBlock::ended(IoRequest& request, Status status) noexcept {
  auto& slot = static_cast<Slot&>(request);
  slot.status = status;
  slot.next = slot.owner->ended_;
  slot.owner->ended_ = &slot;
}

void QueueBlock::start(Queue& queue, BlockRequest& request) noexcept {
  Slot& slot = *free_;
  free_ = slot.next;
  slot.request = &request;
  slot.at = request.at;
  slot.buffers = request.buffers;
  slot.durable = request.durable;
  slot.done = ended;
  Status status = Ok{};
  switch (request.kind) {
    case BlockRequest::Kind::read:
      status = queue.read(slot);
      break;
    case BlockRequest::Kind::write:
      status = queue.write(slot);
      break;
    case BlockRequest::Kind::flush:
      status = queue.flush(slot);
      break;
  }
  if (!status) ended(slot, status);  // refused: it did not start
}

// Tells the controllers; true when there was something to tell.
bool QueueBlock::deliver() noexcept {
  Slot* list = std::exchange(ended_, nullptr);
  if (list == nullptr) return false;
  const std::lock_guard lock{*machine_};
  while (list != nullptr) {
    Slot& slot = *list;
    list = slot.next;
    slot.next = free_;
    free_ = &slot;
    slot.request->done(*slot.request, slot.status);
  }
  return true;
}

void QueueBlock::serve(Queue& queue) noexcept {
  for (;;) {
    bool stop = false;
    {
      const std::lock_guard lock{inbox_lock_};
      waiting_.insert(waiting_.end(), inbox_.begin(), inbox_.end());
      inbox_.clear();
      stop = stop_;
    }
    std::size_t started = 0;
    for (; started < waiting_.size() && free_ != nullptr; ++started)
      start(queue, *waiting_[started]);
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(started));
    queue.poll();
    if (deliver()) continue;
    if (stop && queue.under_way() == 0 && waiting_.empty()) return;
    std::array<pollfd, 2> polls{pollfd{.fd = event_.get(), .events = POLLIN, .revents = 0},
                                pollfd{.fd = queue.descriptor(), .events = POLLIN, .revents = 0}};
    // Without a descriptor of the queue's, waiting in it is all that is left while it works.
    if (polls[1].fd < 0 && queue.under_way() > 0) {
      queue.wait();
      continue;
    }
    static_cast<void>(::poll(polls.data(), polls[1].fd < 0 ? 1 : 2, -1));
    std::uint64_t count = 0;
    static_cast<void>(!::read(event_.get(), &count, sizeof count));
  }
}

}  // namespace openvhd::vmm
