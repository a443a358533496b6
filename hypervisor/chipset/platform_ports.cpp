#include "chipset/platform_ports.hpp"

namespace openvhd::vmm {

Answer Port92::read(std::uint16_t, std::uint32_t width, std::uint32_t& value) noexcept {
  if (width != 1) return Answer::bad_width;
  value = 0x02;
  return Answer::ok;
}

Answer Port92::write(std::uint16_t, std::uint32_t width, std::uint32_t value) noexcept {
  if (width != 1) return Answer::bad_width;
  if ((value & 1) != 0) events_->request(MachineEvent::reset);
  return Answer::ok;
}

Answer ScratchPorts::read(std::uint16_t offset, std::uint32_t width,
                          std::uint32_t& value) noexcept {
  if (offset + width > kPorts) return Answer::no_register;
  value = 0;
  for (std::uint32_t i = 0; i < width; ++i) value |= std::uint32_t{bytes_[offset + i]} << (8 * i);
  return Answer::ok;
}

Answer ScratchPorts::write(std::uint16_t offset, std::uint32_t width,
                           std::uint32_t value) noexcept {
  if (offset + width > kPorts) return Answer::no_register;
  for (std::uint32_t i = 0; i < width; ++i)
    bytes_[offset + i] = static_cast<std::uint8_t>((value >> (8 * i)) & writable_);
  return Answer::ok;
}

Answer DebugPort::read(std::uint16_t, std::uint32_t width, std::uint32_t& value) noexcept {
  if (width != 1) return Answer::bad_width;
  value = 0xe9;
  return Answer::ok;
}

Answer DebugPort::write(std::uint16_t, std::uint32_t width, std::uint32_t value) noexcept {
  if (width != 1) return Answer::bad_width;
  const auto byte = static_cast<std::byte>(value);
  sink_->put({&byte, 1});
  return Answer::ok;
}

Answer PanicPort::read(std::uint16_t, std::uint32_t width, std::uint32_t& value) noexcept {
  if (width != 1) return Answer::bad_width;
  value = 1;  // only this: "the guest has panicked"
  return Answer::ok;
}

Answer PanicPort::write(std::uint16_t, std::uint32_t width, std::uint32_t value) noexcept {
  if (width != 1) return Answer::bad_width;
  if ((value & 1) != 0) events_->request(MachineEvent::panic);
  return Answer::ok;
}

}  // namespace openvhd::vmm
