#include "firmware/elf_boot.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "base/checked.hpp"
#include "base/stored.hpp"
#include "base/try.hpp"

namespace openvhd::vmm {
namespace {

struct ElfHeader {
  Le32 magic;
  std::uint8_t bits, order, version, abi;
  std::array<std::uint8_t, 8> padding;
  Le16 type, machine;
  Le32 version_again;
  Le64 entry, segments_at, sections_at;
  Le32 flags;
  Le16 header_bytes, segment_bytes, segments, section_bytes, sections, names;
};
static_assert(OnDisk<ElfHeader, 64>);

struct Segment {
  Le32 type, flags;
  Le64 offset, virtual_at, physical_at, file_bytes, memory_bytes, alignment;
};
static_assert(OnDisk<Segment, 56>);

struct Note {
  Le32 name_bytes, value_bytes, type;
};
static_assert(OnDisk<Note, 12>);

// xen/include/public/arch-x86/hvm/start_info.h
struct StartInfo {
  Le32 magic, version, flags, modules;
  Le64 modules_at, command_line_at, rsdp_at, map_at;
  Le32 map_entries, reserved;
};
static_assert(OnDisk<StartInfo, 56>);
struct Module {
  Le64 at, bytes, command_line_at, reserved;
};
static_assert(OnDisk<Module, 32>);
struct MapEntry {
  Le64 at, bytes;
  Le32 type, reserved;
};
static_assert(OnDisk<MapEntry, 24>);

constexpr std::uint32_t kElf = 0x464c'457f, kLoad = 1, kNotes = 4, kEntryNote = 18;
constexpr std::uint16_t kMachine = 62, kMostSegments = 64;
constexpr GuestAddress kStartInfo{0x7000}, kCommandLine{0x2'0000};
constexpr std::size_t kMostCommandLine = 0x1'0000;
constexpr std::uint64_t kConventional = 0x10'0000;  // below it is what this loader puts there

Error refused(const char* what) noexcept { return {.code = Errc::unsupported, .what = what}; }
Error no_room(const char* what) noexcept { return {.code = Errc::out_of_range, .what = what}; }

// The entry that a segment of notes names; each step goes on by at least a note's head.
std::optional<std::uint32_t> entry_in(std::span<const std::byte> notes) noexcept {
  while (notes.size() >= sizeof(Note)) {
    const auto note = load<Note>(notes);
    const std::uint64_t name = align_up(note.name_bytes, 4);
    const std::uint64_t value = align_up(note.value_bytes, 4);
    notes = notes.subspan(sizeof note);
    if (name > notes.size() || value > notes.size() - name) return {};
    const bool is_xen = note.name_bytes == 4 && std::memcmp(notes.data(), "Xen", 4) == 0;
    if (is_xen && note.type == kEntryNote && note.value_bytes >= 4)
      return load<Le32>(notes.subspan(name));
    notes = notes.subspan(name + value);
  }
  return {};
}

struct Loaded {
  std::uint64_t end = 0;  // of the highest segment
  std::optional<std::uint32_t> entry;
};

Status load_segment(GuestMemory& memory, std::span<const std::byte> kernel, const Segment& segment,
                    Loaded& loaded) {
  if (segment.type != kLoad && segment.type != kNotes) return Ok{};
  if (!range_fits(segment.offset, segment.file_bytes, kernel.size()) ||
      segment.memory_bytes < segment.file_bytes)
    return refused("an ELF kernel whose segments lie outside of the file");
  const auto bytes = kernel.subspan(segment.offset, segment.file_bytes);
  if (segment.type == kNotes) {
    if (!loaded.entry) loaded.entry = entry_in(bytes);
    return Ok{};
  }
  const auto end = checked_add(segment.physical_at.value(), segment.memory_bytes);
  if (!end || segment.physical_at < kConventional)
    return no_room("an ELF kernel with a segment below 1 MiB or beyond all memory");
  // Memory is fresh: what the file does not fill is zero.
  if (!memory.slice({segment.physical_at}, segment.memory_bytes, GuestMemory::Use::write) ||
      !memory.write({segment.physical_at}, bytes))
    return no_room("the kernel does not fit into memory");
  loaded.end = std::max(loaded.end, *end);
  return Ok{};
}

Result<Loaded> load_segments(GuestMemory& memory, std::span<const std::byte> kernel) {
  const auto header = load<ElfHeader>(kernel);
  const std::uint64_t table = std::uint64_t{header.segments} * sizeof(Segment);
  if (header.bits != 2 || header.order != 1 || header.machine != kMachine)
    return refused("not an ELF kernel of 64 bits for x86");
  if (header.segment_bytes != sizeof(Segment) || header.segments == 0 ||
      header.segments > kMostSegments || !range_fits(header.segments_at, table, kernel.size()))
    return refused("an ELF kernel without a table of segments");
  Loaded loaded;
  for (std::uint64_t at = 0; at < table; at += sizeof(Segment))
    OVHD_CHECK(load_segment(memory, kernel, load<Segment>(kernel.subspan(header.segments_at + at)),
                            loaded));
  if (!loaded.entry) return refused("an ELF kernel without a PVH entry (CONFIG_PVH)");
  if (loaded.end == 0) return refused("an ELF kernel without a segment to load");
  return loaded;
}

// Start info, the list of modules and the map in one page.
Status write_start_info(GuestMemory& memory, const LinuxBoot& boot, std::uint64_t initrd_at) {
  std::array<std::byte, 4096> page{};
  const auto whole = std::span<std::byte>{page};
  const auto ranges = boot_ranges(memory);
  constexpr std::size_t kModuleAt = sizeof(StartInfo), kMapAt = kModuleAt + sizeof(Module);
  StartInfo info{};
  info.magic = 0x336e'c578U;
  info.version = 1U;
  info.modules = boot.initrd.empty() ? 0U : 1U;
  info.modules_at = kStartInfo.value + kModuleAt;
  info.command_line_at = kCommandLine.value;
  info.rsdp_at = boot.rsdp.value;
  info.map_at = kStartInfo.value + kMapAt;
  info.map_entries = static_cast<std::uint32_t>(ranges.size());
  store(whole, info);
  Module module{};
  module.at = initrd_at;
  module.bytes = boot.initrd.size();
  store(whole.subspan(kModuleAt), module);
  for (std::size_t i = 0; i < ranges.size(); ++i)
    store(whole.subspan(kMapAt + i * sizeof(MapEntry)),
          MapEntry{Le64{ranges[i].at}, Le64{ranges[i].bytes}, Le32{ranges[i].type}, Le32{0U}});
  return memory.write(kStartInfo, page);
}

}  // namespace

bool is_elf(std::span<const std::byte> kernel) noexcept {
  return kernel.size() >= sizeof(ElfHeader) && load<Le32>(kernel) == kElf;
}

Result<LinuxEntry> load_elf(GuestMemory& memory, const LinuxBoot& boot) {
  if (!is_elf(boot.kernel)) return refused("not an ELF kernel");
  OVHD_TRY(const auto loaded, load_segments(memory, boot.kernel));
  if (boot.command_line.size() >= kMostCommandLine)
    return no_room("the command line is longer than a kernel takes");
  const auto top = memory.low_bytes();
  if (loaded.end > top || boot.initrd.size() > top - loaded.end)
    return no_room("kernel and initrd do not fit into memory");
  const std::uint64_t initrd_at = align_down(top - boot.initrd.size(), 4096);
  if (initrd_at < loaded.end) return no_room("kernel and initrd do not fit into memory");
  OVHD_CHECK(memory.write({initrd_at}, boot.initrd));
  std::vector<std::byte> text(boot.command_line.size() + 1);
  std::memcpy(text.data(), boot.command_line.data(), boot.command_line.size());
  OVHD_CHECK(memory.write(kCommandLine, text));
  OVHD_CHECK(write_start_info(memory, boot, initrd_at));
  return LinuxEntry{.entry = {*loaded.entry}, .ebx = static_cast<std::uint32_t>(kStartInfo.value)};
}

}  // namespace openvhd::vmm
