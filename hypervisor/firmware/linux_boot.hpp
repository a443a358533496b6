/// Starting a Linux kernel without firmware: the 32-bit boot protocol of a bzImage
/// (Documentation/arch/x86/boot.rst).
#pragma once

#include <cstddef>
#include <cstdint>
#include <openvhd/error.hpp>
#include <span>
#include <string>
#include <vector>

#include "memory/guest_memory.hpp"

namespace openvhd::vmm {

struct LinuxBoot {
  std::span<const std::byte> kernel;
  std::span<const std::byte> initrd;  ///< May be empty.
  std::string command_line;
  GuestAddress rsdp{};
};

/// Where a loaded kernel starts, in flat 32-bit code, and what it finds in registers.
struct LinuxEntry {
  GuestAddress entry{};
  std::uint32_t esi = 0;  ///< bzImage: the zero page.
  std::uint32_t ebx = 0;  ///< ELF: the start info.
};

/// Where place() may put ACPI tables for a kernel: reserved in the map that it is given.
inline constexpr GuestAddress kDirectTables{0xE'0000};

/// A range of the map of memory that a kernel is given.
struct BootRange {
  std::uint64_t at = 0, bytes = 0;
  std::uint32_t type = 1;  ///< 1 RAM, 2 reserved; both protocols have e820's numbers.
};
std::vector<BootRange> boot_ranges(const GuestMemory& memory);

/// Loads all of it. Errors: unsupported (not a bzImage, or one that is too old), out_of_range (it
/// does not fit into memory; the command line is too long).
Result<LinuxEntry> load_linux(GuestMemory& memory, const LinuxBoot& boot);

}  // namespace openvhd::vmm
