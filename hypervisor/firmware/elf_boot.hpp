/// Starting an ELF kernel without firmware by the PVH protocol, which Linux has since 4.21 (Xen's
/// docs/misc/pvh.pandoc): a note names a 32-bit entry, EBX has the start info.
#pragma once

#include "firmware/linux_boot.hpp"

namespace openvhd::vmm {

bool is_elf(std::span<const std::byte> kernel) noexcept;

/// Loads kernel, initrd and start info. Errors: unsupported (not an ELF file of 64 bits for x86,
/// damaged, or without the note), out_of_range (it does not fit into memory).
Result<LinuxEntry> load_elf(GuestMemory& memory, const LinuxBoot& boot);

}  // namespace openvhd::vmm
