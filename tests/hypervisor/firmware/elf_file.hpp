/// A small ELF kernel with a PVH entry, made field by field.
#pragma once

#include <cstring>
#include <vector>

#include "base/stored.hpp"

namespace openvhd::vmm::test {

/// Two segments: 16 bytes of code at 16 MiB with as many zeros behind them, and the note.
inline std::vector<std::byte> elf_kernel() {
  std::vector<std::byte> file(0x200);
  const std::span<std::byte> all{file};
  store(all, Be32{0x7f45'4c46U});
  file[4] = std::byte{2};
  file[5] = std::byte{1};
  store(all.subspan(18), Le16{std::uint16_t{62}});
  store(all.subspan(32), Le64{64U});
  store(all.subspan(54), Le16{std::uint16_t{56}});
  store(all.subspan(56), Le16{std::uint16_t{2}});
  const auto segment = [&](std::size_t at, std::uint32_t type, std::uint64_t offset,
                           std::uint64_t bytes, std::uint64_t memory) {
    store(all.subspan(at), Le32{type});
    store(all.subspan(at + 8), Le64{offset});
    store(all.subspan(at + 24), Le64{0x100'0000U});
    store(all.subspan(at + 32), Le64{bytes});
    store(all.subspan(at + 40), Le64{memory});
  };
  segment(64, 1, 0x100, 16, 32);
  segment(120, 4, 0x180, 12 + 8 + 4 + 12 + 4 + 4, 44);
  std::memset(file.data() + 0x100, 0x90, 16);
  // A note of somebody else first.
  store(all.subspan(0x180), Le32{5U});
  store(all.subspan(0x184), Le32{2U});
  std::memcpy(file.data() + 0x18c, "Else", 4);
  store(all.subspan(0x198), Le32{4U});
  store(all.subspan(0x19c), Le32{4U});
  store(all.subspan(0x1a0), Le32{18U});
  std::memcpy(file.data() + 0x1a4, "Xen", 4);
  store(all.subspan(0x1a8), Le32{0x100'0004U});
  return file;
}

}  // namespace openvhd::vmm::test
