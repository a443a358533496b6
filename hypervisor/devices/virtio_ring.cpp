#include "devices/virtio_ring.hpp"

#include <array>
#include <atomic>
#include <bit>

#include "base/checked.hpp"
#include "base/stored.hpp"

namespace openvhd::vmm {
namespace {

struct Descriptor {
  Le64 at;
  Le32 bytes;
  Le16 flags;
  Le16 next;
};
static_assert(OnDisk<Descriptor, 16>);
constexpr std::uint16_t kNext = 1, kWrite = 2, kIndirect = 4;

struct UsedElement {
  Le32 head;
  Le32 written;
};
static_assert(OnDisk<UsedElement, 8>);

// Driver area: flags, index, heads, used_event. Device area: flags, index, elements, avail_event.
constexpr std::uint64_t kIndexAt = 2, kEntriesAt = 4;
constexpr std::uint16_t kNoInterrupt = 1;

}  // namespace

struct VirtioRing::Walk {
  std::uint64_t table = 0;
  std::uint32_t entries = 0;
  std::uint16_t at = 0;
  bool indirect = false;
};

bool VirtioRing::start(GuestMemory& memory, const VirtioRingPlace& place,
                       bool event_index) noexcept {
  if (!std::has_single_bit(place.size) || place.size > kMostSize ||
      !is_multiple(place.descriptors.value, 16) || !is_multiple(place.driver.value, 2) ||
      !is_multiple(place.device.value, 4))
    return false;
  const auto fits = [&](GuestAddress at, std::uint64_t bytes) {
    return memory.slice(at, bytes, GuestMemory::Use::write).has_value();
  };
  if (!fits(place.descriptors, 16ULL * place.size) || !fits(place.driver, 6 + 2ULL * place.size) ||
      !fits(place.device, 6 + 8ULL * place.size))
    return false;
  memory_ = &memory;
  place_ = place;
  event_index_ = event_index;
  next_available_ = used_ = told_ = 0;
  return true;
}

// Fields that both sides use at once are loaded and stored whole; where they lie is even.
bool VirtioRing::load16(std::uint64_t at, std::uint16_t& value) noexcept {
  const auto slice = memory_->slice({at}, 2, GuestMemory::Use::read);
  if (!slice) return false;
  auto* word = reinterpret_cast<std::uint16_t*>(slice->data());
  value = std::atomic_ref{*word}.load(std::memory_order_acquire);
  return true;
}

bool VirtioRing::store16(std::uint64_t at, std::uint16_t value) noexcept {
  const auto slice = memory_->slice({at}, 2, GuestMemory::Use::write);
  if (!slice) return false;
  auto* word = reinterpret_cast<std::uint16_t*>(slice->data());
  std::atomic_ref{*word}.store(value, std::memory_order_release);
  return true;
}

bool VirtioRing::add_piece(std::uint64_t at, std::uint32_t bytes, bool writable,
                           VirtioChain& into) noexcept {
  // 2.7.4.2: what the device reads comes first.
  if (!writable && !into.writable.empty()) return false;
  if (into.readable.size() + into.writable.size() >= kMostPieces) return false;
  if (bytes == 0) return true;
  const auto slice =
      memory_->slice({at}, bytes, writable ? GuestMemory::Use::write : GuestMemory::Use::read);
  if (!slice) return false;
  (writable ? into.writable : into.readable)
      .push_back({.iov_base = slice->data(), .iov_len = slice->size()});
  return true;
}

// As many steps as the table has entries: a chain that comes back to itself ends there.
bool VirtioRing::follow(Walk& walk, VirtioChain& into) noexcept {
  for (std::uint32_t steps = 0; steps < walk.entries; ++steps) {
    if (walk.at >= walk.entries) return false;
    std::array<std::byte, sizeof(Descriptor)> raw{};
    if (!memory_->read({walk.table + 16ULL * walk.at}, raw)) return false;
    const auto one = load<Descriptor>(raw);
    if ((one.flags & kIndirect) != 0) {
      // 2.7.5.3.1: never within a table, never with another descriptor behind it.
      if (walk.indirect || (one.flags & kNext) != 0 || one.bytes == 0 ||
          !is_multiple(one.bytes, sizeof(Descriptor)) ||
          one.bytes / sizeof(Descriptor) > kMostPieces)
        return false;
      walk = {.table = one.at,
              .entries = static_cast<std::uint32_t>(one.bytes / sizeof(Descriptor)),
              .indirect = true};
      steps = ~std::uint32_t{0};
      continue;
    }
    if (!add_piece(one.at, one.bytes, (one.flags & kWrite) != 0, into)) return false;
    if ((one.flags & kNext) == 0) return true;
    walk.at = one.next;
  }
  return false;
}

VirtioRing::Taken VirtioRing::take(VirtioChain& into) noexcept {
  std::uint16_t available = 0;
  if (!load16(place_.driver.value + kIndexAt, available)) return Taken::broken;
  const auto waiting = static_cast<std::uint16_t>(available - next_available_);
  if (waiting == 0) return Taken::none;
  if (waiting > place_.size) return Taken::broken;
  const std::uint64_t entry = next_available_ % place_.size;
  if (!load16(place_.driver.value + kEntriesAt + 2 * entry, into.head)) return Taken::broken;
  ++next_available_;
  into.readable.clear();
  into.writable.clear();
  Walk walk{.table = place_.descriptors.value, .entries = place_.size, .at = into.head};
  return follow(walk, into) ? Taken::chain : Taken::broken;
}

bool VirtioRing::ask_notification() noexcept {
  if (event_index_ &&
      !store16(place_.device.value + kEntriesAt + 8ULL * place_.size, next_available_))
    return false;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  std::uint16_t available = 0;
  return load16(place_.driver.value + kIndexAt, available) && available != next_available_;
}

bool VirtioRing::give(std::uint16_t head, std::uint32_t written) noexcept {
  std::array<std::byte, sizeof(UsedElement)> raw{};
  store(std::span<std::byte>{raw}, UsedElement{Le32{head}, Le32{written}});
  const std::uint64_t entry = used_ % place_.size;
  if (!memory_->write({place_.device.value + kEntriesAt + 8 * entry}, raw)) return false;
  ++used_;
  return store16(place_.device.value + kIndexAt, used_);
}

bool VirtioRing::wants_interrupt() noexcept {
  if (used_ == told_) return false;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const auto given = static_cast<std::uint16_t>(used_ - told_);
  told_ = used_;
  std::uint16_t word = 0;
  if (!event_index_) return load16(place_.driver.value, word) && (word & kNoInterrupt) == 0;
  if (!load16(place_.driver.value + kEntriesAt + 2ULL * place_.size, word)) return false;
  // 2.7.10: the index that the driver waits for is among those that were just given.
  return static_cast<std::uint16_t>(used_ - word - 1) < given;
}

}  // namespace openvhd::vmm
