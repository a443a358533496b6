/// SMBIOS structures (DSP0134, 2.8) of a machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace openvhd::vmm {

struct SmbiosMachine {
  std::uint64_t memory_bytes = 0;
  std::uint32_t processors = 1;
  std::string name;  ///< Of the machine; becomes the serial number. May be empty.
};

/// For fw_cfg: "etc/smbios/smbios-tables" and "etc/smbios/smbios-anchor", whose address and
/// checksums firmware fills in.
struct Smbios {
  std::vector<std::byte> tables;
  std::vector<std::byte> anchor;
};
/// The manufacturer is not Hyper-V's: Linux would then ignore disks on IDE (ata_piix).
Smbios make_smbios(const SmbiosMachine& machine);

}  // namespace openvhd::vmm
