/// Ports of a PC that are a register or two each.
#pragma once

#include <array>
#include <cstdint>

#include "chipset/bus.hpp"
#include "chipset/lines.hpp"

namespace openvhd::vmm {

/// Port 92h: bit 0 resets, bit 1 is A20, which is always on.
class Port92 : public PortDevice {
 public:
  explicit Port92(MachineEvents& events) noexcept : events_{&events} {}
  Answer read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept override;
  Answer write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept override;

 private:
  MachineEvents* events_;
};

/// Bytes that only remember: APM's command and status (B2h, B3h), the GPE block.
class ScratchPorts : public PortDevice {
 public:
  static constexpr std::uint16_t kPorts = 4;
  /// `writable`: the bits that remember.
  explicit ScratchPorts(std::uint8_t writable) noexcept : writable_{writable} {}
  Answer read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept override;
  Answer write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept override;

 private:
  std::uint8_t writable_;
  std::array<std::uint8_t, kPorts> bytes_{};
};

/// Port 402h: SeaBIOS and OVMF print here when they read E9h.
class DebugPort : public PortDevice {
 public:
  explicit DebugPort(ByteSink& sink) noexcept : sink_{&sink} {}
  Answer read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept override;
  Answer write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept override;

 private:
  ByteSink* sink_;
};

/// Port 505h: a guest's panic, after QEMU's docs/specs/pvpanic.txt.
class PanicPort : public PortDevice {
 public:
  explicit PanicPort(MachineEvents& events) noexcept : events_{&events} {}
  Answer read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept override;
  Answer write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept override;

 private:
  MachineEvents* events_;
};

}  // namespace openvhd::vmm
