#include "firmware/acpi_tables.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "base/stored.hpp"
#include "firmware/aml.hpp"

namespace openvhd::vmm {
namespace {

constexpr std::size_t kHeader = 36, kChecksum = 9;
constexpr std::uint32_t kPciMemoryLast = 0xfebf'ffff;

void put(std::vector<std::byte>& to, std::size_t at, std::uint64_t value, std::size_t width) {
  for (std::size_t i = 0; i < width; ++i) to.at(at + i) = static_cast<std::byte>(value >> (8 * i));
}

void append(std::vector<std::byte>& to, std::initializer_list<unsigned> bytes) {
  for (const unsigned byte : bytes) to.push_back(static_cast<std::byte>(byte));
}

std::byte sum_of(std::span<const std::byte> bytes) {
  unsigned sum = 0;
  for (const auto byte : bytes) sum += std::to_integer<unsigned>(byte);
  return static_cast<std::byte>(0x100 - (sum & 0xff));
}

std::vector<std::byte> dsdt(const AcpiMachine& machine) {
  using namespace aml;
  // Sleep type 0 is off: PiixPm.
  return join(
      {name("_S5_", package({integer(0), integer(0), integer(0), integer(0)})),
       scope("\\_SB_",
             {device(
                  "PCI0",
                  {name("_HID", eisa_id("PNP0A03")), name("_UID", integer(0)),
                   name("_CRS", resources({bus_numbers({0, 0xff}), io_ports(0xcf8, 8),
                                           io_window({0, 0xcf7}), io_window({0xd00, 0xffff}),
                                           memory_window({machine.pci_memory, kPciMemoryLast})}))}),
              device("COM1", {name("_HID", eisa_id("PNP0501")), name("_UID", integer(1)),
                              name("_CRS", resources({io_ports(0x3f8, 8), irq(4)}))}),
              device("RTC_", {name("_HID", eisa_id("PNP0B00")),
                              name("_CRS", resources({io_ports(0x70, 2), irq(8)}))}),
              // The guest reports its panic there.
              device("PEVT", {name("_HID", text("QEMU0001")), name("_STA", integer(0x0f)),
                              name("_CRS", resources({io_ports(0x505, 1)}))})})});
}

std::vector<std::byte> fadt(const AcpiMachine& machine) {
  std::vector<std::byte> body(244 - kHeader);
  const auto set = [&](std::size_t at, std::uint64_t value, std::size_t width) {
    put(body, at - kHeader, value, width);
  };
  set(46, machine.sci_line, 2);
  set(56, machine.pm_base, 4);       // PM1a event
  set(64, machine.pm_base + 4U, 4);  // PM1a control
  set(76, machine.pm_base + 8U, 4);  // timer
  set(80, machine.gpe_base, 4);
  set(88, 4, 1);
  set(89, 2, 1);
  set(91, 4, 1);
  set(92, 4, 1);
  set(96, 0x0fff, 2);  // no C2
  set(98, 0x0fff, 2);  // no C3
  set(108, 0x32, 1);   // the century's cell in CMOS
  // Legacy devices; no VGA; no 8042 worth probing.
  set(109, machine.legacy ? 0x0005 : 0x0004, 2);
  set(112, 0x0425, 4);  // WBINVD, C1, no sleep button, reset register
  set(116, 0x0100'0801, 4);
  set(120, 0xcf9, 8);
  set(128, 6, 1);
  return body;
}

std::vector<std::byte> madt(const AcpiMachine& machine) {
  std::vector<std::byte> body;
  append(body, {0x00, 0x00, 0xe0, 0xfe, machine.legacy ? 1U : 0U, 0, 0, 0});  // APICs, and a PIC
  for (unsigned id = 0; id < machine.processors; ++id) append(body, {0, 8, id, id, 1, 0, 0, 0});
  append(body, {1, 12, 0, 0, 0x00, 0x00, 0xc0, 0xfe, 0, 0, 0, 0});    // I/O APIC
  if (machine.legacy) append(body, {2, 10, 0, 0, 2, 0, 0, 0, 0, 0});  // line 0 is on pin 2
  append(body, {2, 10, 0, machine.sci_line, machine.sci_line, 0, 0, 0, 0x0d, 0});  // level, high
  append(body, {4, 6, 0xff, 0, 0, 1});                                             // NMI
  return body;
}

// What QEMU's docs call the linker/loader: entries of 128 bytes.
struct LoaderEntry {
  Le32 command;
  std::array<std::uint8_t, 124> rest;
};
static_assert(OnDisk<LoaderEntry, 128>);
constexpr const char* kTablesFile = "etc/acpi/tables";
constexpr const char* kRsdpFile = "etc/acpi/rsdp";

void put_name(std::vector<std::byte>& entry, std::size_t at, const char* name) {
  std::memcpy(entry.data() + at, name, std::strlen(name));
}

}  // namespace

std::size_t AcpiTables::add_table(const char* signature, std::uint8_t revision,
                                  const std::vector<std::byte>& body) {
  tables_.resize((tables_.size() + 63) / 64 * 64);
  const auto at = tables_.size();
  tables_.resize(at + kHeader + body.size());
  std::memcpy(&tables_[at], signature, 4);
  put(tables_, at + 4, kHeader + body.size(), 4);
  put(tables_, at + 8, revision, 1);
  std::memcpy(&tables_[at + 10], "OPNVHDVHDVMM  ", 14);
  put(tables_, at + 24, 1, 4);
  std::memcpy(&tables_[at + 28], "OVHD", 4);
  put(tables_, at + 32, 1, 4);
  std::ranges::copy(body, tables_.begin() + static_cast<std::ptrdiff_t>(at + kHeader));
  sums_.push_back({false, at + kChecksum, at, kHeader + body.size()});
  return at;
}

AcpiTables::AcpiTables(const AcpiMachine& machine) {
  // FACS: has no checksum, and must lie on a multiple of 64.
  tables_.resize(64);
  std::memcpy(tables_.data(), "FACS", 4);
  put(tables_, 4, 64, 4);
  put(tables_, 32, 1, 1);
  add_root(machine);
}

void AcpiTables::add_root(const AcpiMachine& machine) {
  const auto dsdt_at = add_table("DSDT", 2, dsdt(machine));
  const auto fadt_at = add_table("FACP", 3, fadt(machine));
  pointers_.push_back({false, fadt_at + 36, 4, 0});
  pointers_.push_back({false, fadt_at + 40, 4, dsdt_at});
  const auto madt_at = add_table("APIC", 3, madt(machine));
  // WAET: the clock needs no double reads, the timer neither.
  const auto waet_at = add_table("WAET", 1, {std::byte{3}, {}, {}, {}});
  const std::array list{fadt_at, madt_at, waet_at};
  const auto rsdt = add_table("RSDT", 1, std::vector<std::byte>(4 * list.size()));
  const auto xsdt = add_table("XSDT", 1, std::vector<std::byte>(8 * list.size()));
  for (std::size_t i = 0; i < list.size(); ++i) {
    pointers_.push_back({false, rsdt + kHeader + 4 * i, 4, list.at(i)});
    pointers_.push_back({false, xsdt + kHeader + 8 * i, 8, list.at(i)});
  }
  rsdp_.resize(36);
  std::memcpy(rsdp_.data(), "RSD PTR ", 8);
  std::memcpy(&rsdp_[9], "OPNVHD", 6);
  put(rsdp_, 15, 2, 1);
  put(rsdp_, 20, 36, 4);
  pointers_.push_back({true, 16, 4, rsdt});
  pointers_.push_back({true, 24, 8, xsdt});
  sums_.push_back({true, 8, 0, 20});
  sums_.push_back({true, 32, 0, 36});
  // A pointer holds an offset until somebody adds where the tables are.
  for (const auto& pointer : pointers_)
    put(pointer.in_rsdp ? rsdp_ : tables_, pointer.offset, pointer.target, pointer.width);
}

std::vector<std::byte> AcpiTables::loader_script() const {
  std::vector<std::byte> script;
  const auto entry = [&](std::uint32_t command) {
    std::vector<std::byte> bytes(sizeof(LoaderEntry));
    put(bytes, 0, command, 4);
    return bytes;
  };
  const auto done = [&](const std::vector<std::byte>& bytes) {
    script.insert(script.end(), bytes.begin(), bytes.end());
  };
  for (const bool root : {false, true}) {
    auto allocate = entry(1);
    put_name(allocate, 4, root ? kRsdpFile : kTablesFile);
    put(allocate, 60, root ? 16 : 64, 4);
    put(allocate, 64, root ? 2 : 1, 1);  // the RSDP in the F segment
    done(allocate);
  }
  for (const auto& pointer : pointers_) {
    auto add = entry(2);
    put_name(add, 4, pointer.in_rsdp ? kRsdpFile : kTablesFile);
    put_name(add, 60, kTablesFile);
    put(add, 116, pointer.offset, 4);
    put(add, 120, pointer.width, 1);
    done(add);
  }
  for (const auto& sum : sums_) {
    auto check = entry(3);
    put_name(check, 4, sum.in_rsdp ? kRsdpFile : kTablesFile);
    put(check, 60, sum.result, 4);
    put(check, 64, sum.start, 4);
    put(check, 68, sum.length, 4);
    done(check);
  }
  return script;
}

Status AcpiTables::place(GuestMemory& memory, GuestAddress at) const {
  auto tables = tables_;
  auto rsdp = rsdp_;
  const auto base = at.value + 64;  // behind the RSDP
  for (const auto& pointer : pointers_)
    put(pointer.in_rsdp ? rsdp : tables, pointer.offset, base + pointer.target, pointer.width);
  for (const auto& sum : sums_) {
    auto& in = sum.in_rsdp ? rsdp : tables;
    in.at(sum.result) = std::byte{0};
    in.at(sum.result) = sum_of(std::span{in}.subspan(sum.start, sum.length));
  }
  if (const auto done = memory.write(at, rsdp); !done) return done;
  return memory.write({base}, tables);
}

}  // namespace openvhd::vmm
