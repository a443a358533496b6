#include "chipset/pci.hpp"

namespace openvhd::vmm {
namespace {

constexpr std::uint16_t kAddress = 0, kReset = 1, kData = 4;
constexpr std::uint32_t kEnable = 0x8000'0000;

}  // namespace

PciFunction::PciFunction(std::span<const PciRegister> registers) noexcept {
  for (const auto& reg : registers) {
    for (std::uint32_t i = 0; i < reg.width; ++i) {
      bytes_.at(reg.offset + i) = static_cast<std::uint8_t>(reg.reset >> (8 * i));
      writable_.at(reg.offset + i) = static_cast<std::uint8_t>(reg.writable >> (8 * i));
    }
  }
}

std::uint32_t PciFunction::read(std::uint8_t offset, std::uint32_t width) const noexcept {
  std::uint32_t value = 0;
  for (std::uint32_t i = 0; i < width; ++i)
    value |= std::uint32_t{bytes_.at(offset + i)} << (8 * i);
  return value;
}

void PciFunction::poke(std::uint8_t offset, std::uint32_t width, std::uint32_t value) noexcept {
  for (std::uint32_t i = 0; i < width; ++i)
    bytes_.at(offset + i) = static_cast<std::uint8_t>(value >> (8 * i));
}

void PciFunction::write(std::uint8_t offset, std::uint32_t width, std::uint32_t value) noexcept {
  for (std::uint32_t i = 0; i < width; ++i) {
    auto& byte = bytes_.at(offset + i);
    const auto mask = writable_.at(offset + i);
    byte = static_cast<std::uint8_t>((byte & ~mask) | ((value >> (8 * i)) & mask));
  }
  written(offset, width);
}

void PciBus::attach(unsigned device, unsigned function, PciFunction& what) noexcept {
  functions_.at(device * 8 + function) = &what;
}

PciFunction* PciBus::target() const noexcept {
  if ((address_ & kEnable) == 0 || ((address_ >> 16) & 0xff) != 0) return nullptr;  // bus 0 only
  return functions_[(address_ >> 8) & 0xff];
}

Answer PciBus::read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept {
  if (offset < kData) {
    if (offset == kReset && width == 1) {
      value = 0;
      return Answer::ok;
    }
    if (offset != kAddress) return Answer::no_register;
    if (width != 4) return Answer::bad_width;
    value = address_;
    return Answer::ok;
  }
  const auto within = static_cast<std::uint8_t>(offset - kData);
  auto* function = target();
  if (function == nullptr || within + width > 4) return Answer::no_register;
  value = function->guest_read(static_cast<std::uint8_t>((address_ & 0xfc) + within), width);
  return Answer::ok;
}

Answer PciBus::write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept {
  if (offset < kData) {
    if (offset == kReset && width == 1) {
      if ((value & 4) != 0) events_->request(MachineEvent::reset);
      return Answer::ok;
    }
    if (offset != kAddress) return Answer::no_register;
    if (width != 4) return Answer::bad_width;
    address_ = value;
    return Answer::ok;
  }
  const auto within = static_cast<std::uint8_t>(offset - kData);
  auto* function = target();
  if (function == nullptr || within + width > 4) return Answer::no_register;
  function->write(static_cast<std::uint8_t>((address_ & 0xfc) + within), width, value);
  return Answer::ok;
}

}  // namespace openvhd::vmm
