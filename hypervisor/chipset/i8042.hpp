/// i8042 keyboard controller with a keyboard on which nobody types. Missing: mouse, scan codes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "chipset/bus.hpp"
#include "chipset/lines.hpp"

namespace openvhd::vmm {

/// Attached at port 60h with 5 ports: data at offset 0, status and command at 4.
class I8042 : public PortDevice {
 public:
  static constexpr std::uint16_t kPorts = 5;
  I8042(InterruptLine& line, MachineEvents& events) noexcept : line_{&line}, events_{&events} {}
  Answer read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept override;
  Answer write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept override;

 private:
  void answer(std::initializer_list<std::uint8_t> bytes) noexcept;
  void command(std::uint8_t byte) noexcept;
  void data(std::uint8_t byte) noexcept;
  void keyboard(std::uint8_t byte) noexcept;
  void update() noexcept;

  InterruptLine* line_;
  MachineEvents* events_;
  std::array<std::uint8_t, 16> out_{};
  std::size_t first_ = 0;
  std::size_t count_ = 0;
  std::uint8_t control_ = 0x04;  // "controller command byte"; bit 0: interrupt on data
  std::uint8_t expects_ = 0;     // the command whose parameter comes next
  std::uint8_t keyboard_expects_ = 0;
  bool last_was_command_ = false;
};

}  // namespace openvhd::vmm
