#include <memory>
#include <openvhd/queue.hpp>
#include <optional>
#include <vector>

#include "c/disk.hpp"
#include "c/failure.hpp"

namespace {

/// A request, and whom to tell.
struct Slot : openvhd::IoRequest {
  ovhd_queue* home = nullptr;
  Slot* next = nullptr;  // of home->free
  ovhd_done call = nullptr;
  void* context = nullptr;
  iovec one{};
};

}  // namespace

/// Requests live here, as many as the queue is deep: starting one allocates nothing.
struct ovhd_queue {  // NOLINT(readability-identifier-naming)
  explicit ovhd_queue(std::string name, std::uint32_t depth);
  ovhd_queue(const ovhd_queue&) = delete;
  ovhd_queue& operator=(const ovhd_queue&) = delete;
  ~ovhd_queue() {
    queue.reset();  // runs what is under way, which gives slots back
  }

  std::string file;
  std::vector<Slot> slots;
  Slot* free = nullptr;
  std::optional<openvhd::Queue> queue;
};

namespace {

void give_back(Slot& slot) noexcept {
  slot.next = slot.home->free;
  slot.home->free = &slot;
}

int say(const ovhd_queue& queue, const openvhd::Error& error) noexcept {
  return openvhd::c::guarded([&] { return openvhd::c::fail(error, queue.file); });
}

void finished(openvhd::IoRequest& request, openvhd::Status status) noexcept {
  auto& slot = static_cast<Slot&>(request);
  const ovhd_done call = slot.call;
  void* const context = slot.context;
  const ovhd_queue& home = *slot.home;
  // First, so that the callee may start another one in its place.
  give_back(slot);
  call(context, status ? 0 : say(home, status.error()));
}

/// Takes a free slot, has `begin` start it, and gives it back where that failed.
template <class Begin>
int start(ovhd_queue* queue, uint64_t offset, uint32_t flags, ovhd_done done, void* context,
          Begin begin) noexcept {
  if (done == nullptr) return openvhd::c::fail_argument("a request with nobody to tell");
  if ((flags & ~std::uint32_t{OVHD_DURABLE}) != 0)
    return openvhd::c::fail_argument("a request with unknown flags");
  if (queue->free == nullptr)
    return say(*queue,
               {.code = openvhd::Errc::busy, .what = "as many requests as the queue's depth"});
  Slot& slot = *queue->free;
  queue->free = slot.next;
  slot.at = {offset};
  slot.durable = flags != 0;
  slot.call = done;
  slot.context = context;
  const openvhd::Status status = begin(slot);
  if (status) return 0;
  give_back(slot);
  return say(*queue, status.error());
}

void set_buffers(Slot& slot, const iovec* buffers, size_t count) noexcept {
  if (count == 1) {
    slot.one = *buffers;
    slot.buffers = {&slot.one, 1};
  } else {
    slot.buffers = {buffers, count};
  }
}

int open_queue(ovhd_disk* disk, uint32_t depth, ovhd_queue** queue) {
  auto opened = disk->disk.open_queue({.depth = depth});
  if (!opened) return openvhd::c::fail(opened.error(), disk->files.front());
  auto made = std::make_unique<ovhd_queue>(disk->files.front(), depth);
  made->queue.emplace(*std::move(opened));
  *queue = made.release();
  return 0;
}

}  // namespace

ovhd_queue::ovhd_queue(std::string name, std::uint32_t depth)
    : file{std::move(name)}, slots(depth) {
  for (Slot& slot : slots) {
    slot.home = this;
    slot.done = finished;
    give_back(slot);
  }
}

extern "C" {

int ovhd_queue_open(ovhd_disk* disk, uint32_t depth, ovhd_queue** queue) {
  if (queue == nullptr)
    return openvhd::c::fail_argument("ovhd_queue_open: nowhere to put the handle");
  *queue = nullptr;
  return openvhd::c::guarded([&] { return open_queue(disk, depth, queue); });
}

void ovhd_queue_close(ovhd_queue* queue) { std::unique_ptr<ovhd_queue>{queue}.reset(); }

int ovhd_queue_read(ovhd_queue* queue, const struct iovec* buffers, size_t count, uint64_t offset,
                    ovhd_done done, void* context) {
  return start(queue, offset, 0, done, context, [&](Slot& slot) {
    set_buffers(slot, buffers, count);
    return queue->queue->read(slot);
  });
}

int ovhd_queue_write(ovhd_queue* queue, const struct iovec* buffers, size_t count, uint64_t offset,
                     uint32_t flags, ovhd_done done, void* context) {
  return start(queue, offset, flags, done, context, [&](Slot& slot) {
    set_buffers(slot, buffers, count);
    return queue->queue->write(slot);
  });
}

int ovhd_queue_zero(ovhd_queue* queue, uint64_t offset, uint64_t length, uint32_t flags,
                    ovhd_done done, void* context) {
  return start(queue, offset, flags, done, context, [&](Slot& slot) {
    slot.length = length;
    return queue->queue->write_zeroes(slot);
  });
}

int ovhd_queue_trim(ovhd_queue* queue, uint64_t offset, uint64_t length, uint32_t flags,
                    ovhd_done done, void* context) {
  return start(queue, offset, flags, done, context, [&](Slot& slot) {
    slot.length = length;
    return queue->queue->trim(slot);
  });
}

int ovhd_queue_flush(ovhd_queue* queue, ovhd_done done, void* context) {
  return start(queue, 0, 0, done, context, [&](Slot& slot) { return queue->queue->flush(slot); });
}

uint32_t ovhd_queue_poll(ovhd_queue* queue) { return queue->queue->poll(); }

uint32_t ovhd_queue_wait(ovhd_queue* queue) { return queue->queue->wait(); }

int ovhd_queue_descriptor(ovhd_queue* queue) { return queue->queue->descriptor(); }

}  // extern "C"
