/// PCI configuration space by mechanism 1 (PCI Local Bus 3.0, 3.2.2.3.2): one bus, no bridges to
/// others. Missing: interrupt pins (functions here send messages), memory-mapped configuration.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "chipset/bus.hpp"
#include "chipset/lines.hpp"

namespace openvhd::vmm {

/// Some bytes of a function's configuration space. `writable`: the bits a guest can change.
struct PciRegister {
  std::uint8_t offset, width;
  std::uint32_t reset, writable;
};

class PciFunction {
 public:
  explicit PciFunction(std::span<const PciRegister> registers) noexcept;
  virtual ~PciFunction() = default;

  /// A read or write of 1, 2 or 4 bytes that does not pass the end of the space.
  std::uint32_t read(std::uint8_t offset, std::uint32_t width) const noexcept;
  void write(std::uint8_t offset, std::uint32_t width, std::uint32_t value) noexcept;
  /// The same read, by the guest.
  std::uint32_t guest_read(std::uint8_t offset, std::uint32_t width) noexcept {
    reading(offset, width);
    return read(offset, width);
  }

 protected:
  /// Before a guest's read of [offset, offset + width): registers that have no memory.
  virtual void reading(std::uint8_t, std::uint32_t) noexcept {}
  /// Changes bytes whether or not a guest can.
  void poke(std::uint8_t offset, std::uint32_t width, std::uint32_t value) noexcept;
  /// After a guest's write that touched [offset, offset + width).
  virtual void written(std::uint8_t offset, std::uint32_t width) noexcept = 0;

 private:
  std::array<std::uint8_t, 256> bytes_{};
  std::array<std::uint8_t, 256> writable_{};
};

/// A function whose registers only remember.
class PlainPciFunction : public PciFunction {
 public:
  using PciFunction::PciFunction;

 protected:
  void written(std::uint8_t, std::uint32_t) noexcept override {}
};

/// Attached at port CF8h; the byte at CF9h is the reset register.
class PciBus : public PortDevice {
 public:
  static constexpr std::uint16_t kPorts = 8;
  explicit PciBus(MachineEvents& events) noexcept : events_{&events} {}

  /// `function` outlives the bus. Device 0 to 31, function 0 to 7.
  void attach(unsigned device, unsigned function, PciFunction& what) noexcept;

  Answer read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept override;
  Answer write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept override;

 private:
  PciFunction* target() const noexcept;
  MachineEvents* events_;
  std::array<PciFunction*, 256> functions_{};
  std::uint32_t address_ = 0;
};

}  // namespace openvhd::vmm
