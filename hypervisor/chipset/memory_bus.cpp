#include "chipset/memory_bus.hpp"

#include <algorithm>
#include <cstring>

namespace openvhd::vmm {

void MemoryBus::attach(GuestAddress first, std::uint64_t bytes, MemoryDevice& device) {
  ranges_.push_back({first.value, bytes, &device});
}

void MemoryBus::detach(const MemoryDevice& device) noexcept {
  std::erase_if(ranges_, [&](const Range& range) { return range.device == &device; });
}

const MemoryBus::Range* MemoryBus::find(std::uint64_t at, std::size_t width) const noexcept {
  if (width == 0 || width > sizeof(std::uint64_t)) return nullptr;
  const auto found = std::ranges::find_if(ranges_, [&](const Range& range) {
    return at >= range.first && at - range.first < range.bytes &&
           width <= range.bytes - (at - range.first);
  });
  return found == ranges_.end() ? nullptr : &*found;
}

void MemoryBus::read(GuestAddress at, std::span<std::byte> into) noexcept {
  std::uint64_t value = ~std::uint64_t{0};
  const auto* range = find(at.value, into.size());
  if (range != nullptr &&
      range->device->read(at.value - range->first, static_cast<std::uint32_t>(into.size()),
                          value) != Answer::ok)
    value = ~std::uint64_t{0};
  std::ranges::fill(into, std::byte{0xff});
  if (range != nullptr) std::memcpy(into.data(), &value, into.size());
}

void MemoryBus::write(GuestAddress at, std::span<const std::byte> from) noexcept {
  const auto* range = find(at.value, from.size());
  if (range == nullptr) return;
  std::uint64_t value = 0;
  std::memcpy(&value, from.data(), from.size());
  static_cast<void>(range->device->write(at.value - range->first,
                                         static_cast<std::uint32_t>(from.size()), value));
}

}  // namespace openvhd::vmm
