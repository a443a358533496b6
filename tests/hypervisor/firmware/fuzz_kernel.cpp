// Any file as a kernel: it is loaded into memory or refused with a reason; an input is changes to
// a small bzImage or ELF file, or a file of its own.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "firmware/elf_boot.hpp"
#include "hypervisor/firmware/elf_file.hpp"

namespace {

using namespace openvhd::vmm;

std::vector<std::byte> bz_image() {
  std::vector<std::byte> file(2048);
  const std::span<std::byte> all{file};
  file[0x1f1] = std::byte{1};
  store(all.subspan(0x1fe), openvhd::Le16{std::uint16_t{0xaa55}});
  file[0x201] = std::byte{0x66};
  std::memcpy(file.data() + 0x202, "HdrS", 4);
  store(all.subspan(0x206), openvhd::Le16{std::uint16_t{0x20f}});
  file[0x211] = std::byte{1};
  store(all.subspan(0x22c), openvhd::Le32{0x7fff'ffffU});
  store(all.subspan(0x238), openvhd::Le32{2047U});
  store(all.subspan(0x258), openvhd::Le64{0x10'0000U});
  store(all.subspan(0x260), openvhd::Le32{0x10'0000U});
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static auto memory = *GuestMemory::create({.bytes = 20 << 20});
  if (size < 1) return 0;
  const auto kind = data[0] % 3;
  auto file = kind == 0 ? bz_image() : kind == 1 ? test::elf_kernel() : std::vector<std::byte>{};
  ++data;
  --size;
  if (kind == 2)
    for (std::size_t i = 0; i < size; ++i) file.push_back(static_cast<std::byte>(data[i]));
  else
    for (; size >= 3; data += 3, size -= 3)
      file[(data[0] | static_cast<std::size_t>(data[1]) << 8) % file.size()] =
          static_cast<std::byte>(data[2]);
  const std::vector<std::byte> initrd(size % 7 * 1000);
  const LinuxBoot boot{
      .kernel = file, .initrd = initrd, .command_line = "quiet", .rsdp = kDirectTables};
  const auto entry = is_elf(file) ? load_elf(memory, boot) : load_linux(memory, boot);
  if (!entry && std::strlen(entry.error().what) == 0) std::abort();
  return 0;
}
