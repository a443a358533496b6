/// The board of a machine: its devices and how they are wired. Both generations have the chips that
/// firmware and Linux need; Generation 1 also has IDE, a keyboard controller and APM.
#pragma once

#include <optional>

#include "chipset/fw_cfg.hpp"
#include "chipset/i440fx.hpp"
#include "chipset/i8042.hpp"
#include "chipset/memory_bus.hpp"
#include "chipset/piix_pm.hpp"
#include "chipset/platform_ports.hpp"
#include "chipset/rtc.hpp"
#include "chipset/uart.hpp"
#include "devices/piix_ide.hpp"
#include "firmware/acpi_tables.hpp"
#include "kvm/vm.hpp"
#include "machine/memory_map.hpp"

namespace openvhd::vmm {

/// A line of the kernel's chips; a level that does not change costs no call.
class VmLine : public InterruptLine {
 public:
  VmLine(Vm& vm, std::uint32_t line) noexcept : vm_{&vm}, line_{line} {}
  void set(bool level) noexcept override;

 private:
  Vm* vm_;
  std::uint32_t line_;
  bool level_ = false;
};

class HostClock : public Clock {
 public:
  std::uint64_t monotonic_ns() noexcept override;
  std::int64_t unix_seconds() noexcept override;
};

struct BoardParts {
  Vm& vm;
  GuestMemory& memory;
  MemoryMap& map;
  MachineEvents& events;
  ByteSink& serial;
  ByteSink& firmware_log;
};

enum class Generation : std::uint8_t { one, two };

struct BoardShape {
  Generation generation{};
  std::uint32_t processors = 1;
  std::string name;
  std::vector<std::string> boot_order;  ///< Firmware's device paths, first choice first.
};

class Board {
 public:
  /// All parts outlive it.
  Board(const BoardParts& parts, const BoardShape& shape);

  static constexpr unsigned kScsiSlot = 2;  ///< The SCSI controller's device number on the bus.

  PortBus& ports() noexcept { return ports_; }
  MemoryBus& memory() noexcept { return memory_bus_; }
  PciBus& pci() noexcept { return pci_; }
  Uart& uart() noexcept { return uart_; }
  /// Null in Generation 2.
  PiixIde* ide() noexcept { return ide_ ? &*ide_ : nullptr; }
  PiixPm& pm() noexcept { return pm_; }

  /// What firmware would have done before it starts a kernel: PM registers in place, RAM below
  /// 1 MiB, ACPI tables at kDirectTables.
  Status prepare_direct_boot(GuestMemory& memory);

 private:
  void attach_ports();
  void attach_legacy();
  void describe(const BoardParts& parts, const BoardShape& shape);

  HostClock clock_;
  PortBus ports_;
  MemoryBus memory_bus_;
  VmLine line1_, line4_, line9_, line14_, line15_;
  AcpiTables acpi_;
  FwCfg config_;
  I440fx bridge_;
  PlainPciFunction isa_{kPiix3Isa};
  std::optional<PiixIde> ide_;
  PiixPm pm_;
  PciBus pci_;
  Uart uart_;
  std::optional<I8042> keyboard_;
  Rtc rtc_;
  Port92 port92_;
  std::optional<ScratchPorts> apm_;
  ScratchPorts gpe_{0x00};
  DebugPort debug_;
  PanicPort panic_;
  std::uint16_t pm_base_;
};

}  // namespace openvhd::vmm
