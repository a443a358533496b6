#include "machine/board.hpp"

#include <chrono>

#include "base/stored.hpp"
#include "firmware/linux_boot.hpp"
#include "firmware/smbios.hpp"

namespace openvhd::vmm {
namespace {

constexpr std::uint16_t kOvmfPmBase = 0xb000;  // where OVMF puts it

// SeaBIOS and OVMF place PCI memory there: from 2 GiB on, or behind RAM that reaches further.
std::uint32_t pci_window(const GuestMemory& memory) {
  return memory.low_bytes() <= 0x8000'0000 ? 0x8000'0000
                                           : static_cast<std::uint32_t>(kLowMemoryEnd);
}

std::uint16_t pm_base(const BoardShape& shape) {
  return shape.generation == Generation::one ? kPmBase : kOvmfPmBase;
}

AcpiMachine acpi_of(const BoardParts& parts, const BoardShape& shape) {
  return {.processors = shape.processors,
          .pm_base = pm_base(shape),
          .gpe_base = kGpeBase,
          .sci_line = kSciLine,
          .pci_memory = pci_window(parts.memory),
          .legacy = shape.generation == Generation::one};
}

struct E820Entry {
  Le64 at;
  Le64 bytes;
  Le32 type;
};
static_assert(OnDisk<E820Entry, 20>);

std::vector<std::byte> e820(const GuestMemory& memory) {
  std::vector<std::byte> out(2 * sizeof(E820Entry));
  store(std::span{out}, E820Entry{Le64{0}, Le64{memory.low_bytes()}, Le32{1}});
  if (memory.high_bytes() == 0)
    out.resize(sizeof(E820Entry));
  else
    store(std::span{out}.subspan(sizeof(E820Entry)),
          E820Entry{Le64{kHighMemory}, Le64{memory.high_bytes()}, Le32{1}});
  return out;
}

}  // namespace

void VmLine::set(bool level) noexcept {
  if (level == level_) return;
  level_ = level;
  // It fails only for a line that there is not, which would be our own mistake.
  static_cast<void>(vm_->set_line(line_, level));
}

std::uint64_t HostClock::monotonic_ns() noexcept {
  return static_cast<std::uint64_t>(
      std::chrono::nanoseconds{std::chrono::steady_clock::now().time_since_epoch()}.count());
}

std::int64_t HostClock::unix_seconds() noexcept {
  return std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
}

Board::Board(const BoardParts& parts, const BoardShape& shape)
    : line1_{parts.vm, 1},
      line4_{parts.vm, 4},
      line9_{parts.vm, kSciLine},
      line14_{parts.vm, 14},
      line15_{parts.vm, 15},
      acpi_{acpi_of(parts, shape)},
      config_{parts.memory},
      bridge_{parts.map},
      pm_{{.bus = ports_, .sci = line9_, .clock = clock_, .events = parts.events}},
      pci_{parts.events},
      uart_{line4_, parts.serial},
      rtc_{clock_},
      port92_{parts.events},
      debug_{parts.firmware_log},
      panic_{parts.events},
      pm_base_{pm_base(shape)} {
  attach_ports();
  if (shape.generation == Generation::one) {
    ide_.emplace(PiixIde::Parts{
        .bus = ports_, .memory = parts.memory, .primary = line14_, .secondary = line15_});
    keyboard_.emplace(line1_, parts.events);
    apm_.emplace(std::uint8_t{0xff});
    attach_legacy();
  }
  describe(parts, shape);
}

void Board::attach_legacy() {
  pci_.attach(1, 1, *ide_);
  ports_.attach(0x60, I8042::kPorts, *keyboard_);
  ports_.attach(0xb2, 2, *apm_);
}

void Board::attach_ports() {
  pci_.attach(0, 0, bridge_);
  pci_.attach(1, 0, isa_);
  pci_.attach(1, 3, pm_);
  ports_.attach(0x70, Rtc::kPorts, rtc_);
  ports_.attach(0x92, 1, port92_);
  ports_.attach(0x3f8, Uart::kPorts, uart_);
  ports_.attach(0x402, 1, debug_);
  ports_.attach(0x505, 1, panic_);
  ports_.attach(0x510, FwCfg::kPorts, config_);
  ports_.attach(0xcf8, PciBus::kPorts, pci_);
  ports_.attach(kGpeBase, ScratchPorts::kPorts, gpe_);
}

void Board::describe(const BoardParts& parts, const BoardShape& shape) {
  const auto& memory = parts.memory;
  rtc_.describe_machine(memory.low_bytes(), memory.high_bytes(), shape.processors);
  config_.add_item(0x03, little_endian(memory.bytes(), 8));
  config_.add_item(0x04, little_endian(1, 2));  // no graphics
  config_.add_item(0x05, little_endian(shape.processors, 2));
  config_.add_item(0x0e, little_endian(0, 2));  // no boot menu
  config_.add_item(0x0f, little_endian(shape.processors, 2));
  config_.add_item(0x8002, little_endian(1, 1));  // line 0 is on pin 2
  config_.add_file("etc/e820", e820(memory));
  config_.add_file("etc/acpi/tables", acpi_.tables());
  config_.add_file("etc/acpi/rsdp", acpi_.rsdp());
  config_.add_file("etc/table-loader", acpi_.loader_script());
  auto smbios = make_smbios(
      {.memory_bytes = memory.bytes(), .processors = shape.processors, .name = shape.name});
  config_.add_file("etc/smbios/smbios-tables", std::move(smbios.tables));
  config_.add_file("etc/smbios/smbios-anchor", std::move(smbios.anchor));
  config_.add_file("etc/sercon-port", little_endian(0x3f8, 2));
  config_.add_file("etc/show-boot-menu", little_endian(0, 2));
  std::vector<std::byte> order;
  for (const auto& path : shape.boot_order)
    for (const char c : path + '\n') order.push_back(static_cast<std::byte>(c));
  order.push_back({});
  config_.add_file("bootorder", std::move(order));
}

Status Board::prepare_direct_boot(GuestMemory& memory) {
  pm_.write(0x40, 4, pm_base_ | 1U);
  pm_.write(0x80, 1, 1);
  bridge_.write(0x59, 1, 0x30);
  bridge_.write(0x5a, 4, 0x3333'3333);
  bridge_.write(0x5e, 2, 0x3333);
  return acpi_.place(memory, kDirectTables);
}

}  // namespace openvhd::vmm
