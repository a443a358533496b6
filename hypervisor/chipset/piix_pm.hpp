/// PIIX4 power management (290562): PM1 event, control and timer, and a GPE block without events.
/// Missing: SMI, SMBus, device monitors, sleep states other than off, the timer's interrupt.
#pragma once

#include <array>
#include <cstdint>

#include "chipset/bus.hpp"
#include "chipset/lines.hpp"
#include "chipset/pci.hpp"

namespace openvhd::vmm {

inline constexpr std::uint16_t kPmBase = 0x600;  ///< Where Generation 1 firmware puts it.
inline constexpr std::uint16_t kGpeBase = 0xafe0;
inline constexpr std::uint32_t kSciLine = 9;

struct PmParts {
  PortBus& bus;
  InterruptLine& sci;
  Clock& clock;
  MachineEvents& events;
};

/// The registers at PMBASE.
class PmPorts : public PortDevice {
 public:
  static constexpr std::uint16_t kPorts = 64;
  explicit PmPorts(const PmParts& parts) noexcept;
  Answer read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept override;
  Answer write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept override;
  void press_power_button() noexcept;

 private:
  std::uint32_t timer() const noexcept;
  void update() noexcept;
  PmParts parts_;
  std::uint64_t start_ns_;
  std::uint16_t status_ = 0, enable_ = 0, control_ = 1;  // SCI_EN: always ACPI
};

/// Function 3: puts the registers where firmware says. All parts outlive it.
class PiixPm : public PciFunction {
 public:
  explicit PiixPm(const PmParts& parts) noexcept;
  /// The ACPI power button (a fixed event).
  void press_power_button() noexcept { ports_.press_power_button(); }

 protected:
  void written(std::uint8_t offset, std::uint32_t width) noexcept override;

 private:
  PortBus* bus_;
  PmPorts ports_;
};

}  // namespace openvhd::vmm
