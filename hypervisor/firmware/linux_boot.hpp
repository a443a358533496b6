/// Starting a Linux kernel without firmware: the 32-bit boot protocol of a bzImage
/// (Documentation/arch/x86/boot.rst).
#pragma once

#include <cstddef>
#include <cstdint>
#include <openvhd/error.hpp>
#include <span>
#include <string>

#include "memory/guest_memory.hpp"

namespace openvhd::vmm {

struct LinuxBoot {
  std::span<const std::byte> kernel;
  std::span<const std::byte> initrd;  ///< May be empty.
  std::string command_line;
  GuestAddress rsdp{};
};

/// Where a loaded kernel starts: flat 32-bit code, ESI at the zero page.
struct LinuxEntry {
  GuestAddress entry{};
  GuestAddress zero_page{};
};

/// Where place() may put ACPI tables for a kernel: reserved in the map that it is given.
inline constexpr GuestAddress kDirectTables{0xE'0000};

/// Loads all of it. Errors: unsupported (not a bzImage, or one that is too old), out_of_range (it
/// does not fit into memory; the command line is too long).
Result<LinuxEntry> load_linux(GuestMemory& memory, const LinuxBoot& boot);

}  // namespace openvhd::vmm
