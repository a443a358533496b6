#include "chipset/bus.hpp"

#include <algorithm>

namespace openvhd::vmm {

void PortBus::attach(std::uint16_t first, std::uint16_t count, PortDevice& device) {
  ranges_.push_back({first, count, &device});
}

void PortBus::detach(const PortDevice& device) noexcept {
  std::erase_if(ranges_, [&](const Range& range) { return range.device == &device; });
}

const PortBus::Range* PortBus::find(std::uint16_t port, std::uint32_t width) const noexcept {
  const auto found = std::find_if(ranges_.begin(), ranges_.end(), [&](const Range& range) {
    return port >= range.first && port - range.first + width <= range.count;
  });
  return found == ranges_.end() ? nullptr : &*found;
}

std::uint32_t PortBus::read(std::uint16_t port, std::uint32_t width) noexcept {
  std::uint32_t value = 0;
  const auto* range = find(port, width);
  if (range != nullptr && range->device->read(static_cast<std::uint16_t>(port - range->first),
                                              width, value) == Answer::ok)
    return value & all_ones(width);
  ++unanswered_;
  return all_ones(width);
}

void PortBus::write(std::uint16_t port, std::uint32_t width, std::uint32_t value) noexcept {
  const auto* range = find(port, width);
  if (range == nullptr || range->device->write(static_cast<std::uint16_t>(port - range->first),
                                               width, value & all_ones(width)) != Answer::ok)
    ++unanswered_;
}

}  // namespace openvhd::vmm
