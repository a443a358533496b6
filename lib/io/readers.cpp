#include "io/readers.hpp"

#include <algorithm>

namespace openvhd {

Readers::Slot* Readers::join() noexcept {
  for (std::size_t i = 0; i < kMost; ++i) {
    if (slots_[i].taken_.exchange(true, std::memory_order_acq_rel)) continue;
    // The owner must look at it before its first look-up.
    std::size_t used = used_.load(std::memory_order_relaxed);
    while (used <= i && !used_.compare_exchange_weak(used, i + 1, std::memory_order_seq_cst)) {
    }
    return &slots_[i];
  }
  return nullptr;
}

bool Readers::passed(std::uint64_t retired) const noexcept {
  // Pairs with the one in begin(): retire() orders nothing after it on every machine.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return std::ranges::all_of(used(), [retired](const Slot& slot) {
    return slot.looking_.load(std::memory_order_acquire) > retired;
  });
}

bool Readers::any_transfer() const noexcept {
  return std::ranges::any_of(used(), [](const Slot& slot) {
    return slot.in_flight_[0].load(std::memory_order_relaxed) != 0 ||
           slot.in_flight_[1].load(std::memory_order_relaxed) != 0;
  });
}

bool Readers::advance() noexcept {
  // A reader that has not shown itself yet sees, after its fence, all that was taken out of sight
  // before this one.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const std::uint64_t next = transfers_.load(std::memory_order_relaxed) + 1;
  const bool empty = std::ranges::all_of(used(), [next](const Slot& slot) {
    return slot.in_flight_[next & 1].load(std::memory_order_acquire) == 0;
  });
  if (empty) transfers_.store(next, std::memory_order_seq_cst);
  return empty;
}

}  // namespace openvhd
