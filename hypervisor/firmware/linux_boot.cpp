#include "firmware/linux_boot.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/checked.hpp"
#include "base/stored.hpp"
#include "base/try.hpp"

namespace openvhd::vmm {
namespace {

constexpr GuestAddress kZeroPage{0x7000};
constexpr GuestAddress kCommandLine{0x2'0000};
constexpr std::uint64_t kKernelAt = 0x10'0000;
constexpr std::uint64_t kConventionalEnd = 0x9'fc00;
constexpr std::size_t kMostCommandLine = 0x1'0000;
constexpr std::size_t kHeaderAt = 0x1f1;

// The fields of the set-up header that are used; the offsets are those of the image.
constexpr std::size_t kSetupSectors = 0x1f1, kBootFlag = 0x1fe, kJump = 0x201, kSignature = 0x202,
                      kVersion = 0x206, kLoader = 0x210, kFlags = 0x211, kInitrdAt = 0x218,
                      kInitrdSize = 0x21c, kCommandAt = 0x228, kInitrdMax = 0x22c,
                      kCommandMax = 0x238, kPreferred = 0x258, kInitSize = 0x260;
constexpr std::size_t kRsdpAt = 0x70, kMapCount = 0x1e8, kMapAt = 0x2d0;

struct MapEntry {
  Le64 at;
  Le64 bytes;
  Le32 type;  // 1 RAM, 2 reserved
};
static_assert(OnDisk<MapEntry, 20>);

Error refused(const char* what) noexcept { return {.code = Errc::unsupported, .what = what}; }
Error no_room(const char* what) noexcept { return {.code = Errc::out_of_range, .what = what}; }

std::uint32_t field32(std::span<const std::byte> image, std::size_t at) {
  return load<Le32>(image.subspan(at));
}
std::uint16_t field16(std::span<const std::byte> image, std::size_t at) {
  return load<Le16>(image.subspan(at));
}

void write_map(std::span<std::byte> page, const GuestMemory& memory) {
  std::vector<MapEntry> map;
  for (const auto& range : boot_ranges(memory))
    map.push_back({Le64{range.at}, Le64{range.bytes}, Le32{range.type}});
  page[kMapCount] = static_cast<std::byte>(map.size());
  for (std::size_t i = 0; i < map.size(); ++i)
    store(page.subspan(kMapAt + i * sizeof(MapEntry)), map[i]);
}

Status judge(std::span<const std::byte> kernel) {
  if (kernel.size() < 0x268 || field16(kernel, kBootFlag) != 0xaa55 ||
      field32(kernel, kSignature) != 0x5372'6448)
    return refused("not a Linux bzImage");
  if (field16(kernel, kVersion) < 0x020a)
    return refused("a bzImage of a boot protocol before 2.10 (Linux 2.6.31)");
  if ((std::to_integer<unsigned>(kernel[kFlags]) & 1) == 0)
    return refused("a zImage, which is loaded low");
  return Ok{};
}

}  // namespace

std::vector<BootRange> boot_ranges(const GuestMemory& memory) {
  std::vector<BootRange> map;
  const auto add = [&](std::uint64_t at, std::uint64_t end, std::uint32_t type) {
    if (end > at) map.push_back({at, end - at, type});
  };
  add(0, kConventionalEnd, 1);
  add(kDirectTables.value, kShadowEnd, 2);
  add(kShadowEnd, memory.low_bytes(), 1);
  add(kHighMemory, kHighMemory + memory.high_bytes(), 1);
  return map;
}

Result<LinuxEntry> load_linux(GuestMemory& memory, const LinuxBoot& boot) {
  const auto kernel = boot.kernel;
  if (const auto good = judge(kernel); !good) return good.error();
  const auto sectors = std::to_integer<std::uint64_t>(kernel[kSetupSectors]);
  const std::uint64_t setup = ((sectors == 0 ? 4 : sectors) + 1) * 512;
  if (setup >= kernel.size()) return refused("a bzImage that ends in its set-up code");
  const auto payload = kernel.subspan(setup);
  if (boot.command_line.size() >= kMostCommandLine ||
      boot.command_line.size() > field32(kernel, kCommandMax))
    return no_room("the command line is longer than the kernel takes");
  if (!memory.write({kKernelAt}, payload)) return no_room("the kernel does not fit into memory");

  // The kernel unpacks itself at its preferred address; nothing else may lie there.
  const std::uint64_t preferred = load<Le64>(kernel.subspan(kPreferred));
  const auto unpacked = checked_add(preferred, field32(kernel, kInitSize));
  const std::uint64_t kernel_end = std::max(kKernelAt + payload.size(), unpacked.value_or(~0ULL));
  const std::uint64_t top =
      std::min<std::uint64_t>(memory.low_bytes(), std::uint64_t{field32(kernel, kInitrdMax)} + 1);
  if (kernel_end > top || boot.initrd.size() > top - kernel_end)
    return no_room("kernel and initrd do not fit into memory");
  const std::uint64_t initrd_at = align_down(top - boot.initrd.size(), 4096);
  if (initrd_at < kernel_end) return no_room("kernel and initrd do not fit into memory");
  if (!memory.write({initrd_at}, boot.initrd))
    return no_room("the initrd does not fit into memory");

  std::array<std::byte, 4096> page{};
  const auto header_end =
      std::min<std::size_t>(kSignature + std::to_integer<std::size_t>(kernel[kJump]),
                            std::min<std::size_t>(0x290, kernel.size()));
  std::ranges::copy(kernel.subspan(kHeaderAt, header_end - kHeaderAt), page.begin() + kHeaderAt);
  const auto whole = std::span<std::byte>{page};
  page[kLoader] = std::byte{0xff};  // no number of its own
  store(whole.subspan(kCommandAt), Le32{static_cast<std::uint32_t>(kCommandLine.value)});
  if (!boot.initrd.empty()) {
    store(whole.subspan(kInitrdAt), Le32{static_cast<std::uint32_t>(initrd_at)});
    store(whole.subspan(kInitrdSize), Le32{static_cast<std::uint32_t>(boot.initrd.size())});
  }
  store(whole.subspan(kRsdpAt), Le64{boot.rsdp.value});
  write_map(whole, memory);
  OVHD_CHECK(memory.write(kZeroPage, page));
  std::vector<std::byte> text(boot.command_line.size() + 1);
  std::memcpy(text.data(), boot.command_line.data(), boot.command_line.size());
  OVHD_CHECK(memory.write(kCommandLine, text));
  return LinuxEntry{.entry = {kKernelAt}, .esi = static_cast<std::uint32_t>(kZeroPage.value)};
}

}  // namespace openvhd::vmm
