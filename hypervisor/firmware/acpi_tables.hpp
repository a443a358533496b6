/// ACPI tables of a machine (ACPI 6.5, chapter 5), in a form that both a loader and firmware place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <openvhd/error.hpp>
#include <string>
#include <vector>

#include "memory/guest_memory.hpp"

namespace openvhd::vmm {

/// What the tables tell of the machine.
struct AcpiMachine {
  std::uint32_t processors = 1;
  std::uint16_t pm_base = 0;   ///< Ports of PM1 and the timer.
  std::uint16_t gpe_base = 0;  ///< 4 ports.
  std::uint32_t sci_line = 9;
  std::uint32_t pci_memory = 0;  ///< Where the window for PCI memory begins; it ends at FEBFFFFFh.
  bool legacy = true;            ///< A PIC, an interval timer and other parts of a PC are there.
};

/// Two pieces of bytes whose addresses are not known yet.
class AcpiTables {
 public:
  explicit AcpiTables(const AcpiMachine& machine);

  /// For fw_cfg: "etc/acpi/tables", "etc/acpi/rsdp" and "etc/table-loader".
  const std::vector<std::byte>& tables() const noexcept { return tables_; }
  const std::vector<std::byte>& rsdp() const noexcept { return rsdp_; }
  std::vector<std::byte> loader_script() const;

  /// Writes them into RAM at `at` (a multiple of 64, below 4 GiB), RSDP first: its address is `at`.
  /// Errors: out_of_range, where the range is not writable RAM.
  Status place(GuestMemory& memory, GuestAddress at) const;

 private:
  /// An address of a byte of tables_, to be stored at `offset`.
  struct Pointer {
    bool in_rsdp;
    std::size_t offset, width, target;
  };
  struct Sum {
    bool in_rsdp;
    std::size_t result, start, length;
  };
  std::size_t add_table(const char* signature, std::uint8_t revision,
                        const std::vector<std::byte>& body);
  void add_root(const AcpiMachine& machine);

  std::vector<std::byte> tables_, rsdp_;
  std::vector<Pointer> pointers_;
  std::vector<Sum> sums_;
};

}  // namespace openvhd::vmm
