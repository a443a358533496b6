#include "vhdx/region_edit.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "base/crc32c.hpp"
#include "base/try.hpp"

namespace openvhd::vhdx {
namespace {

constexpr const char* kEndsInside = "region table: the file ends inside it (2.2.3, X01)";

void seal(std::span<std::byte> table) {
  auto header = load<RegionTableHeader>(table);
  header.checksum = Le32{0};
  store(table, header);
  header.checksum = Le32{crc32c(table)};
  store(table, header);
}

bool put_entry(std::span<std::byte> table, const Area& area) {
  const auto header = load<RegionTableHeader>(table);
  const std::uint32_t count = std::min<std::uint32_t>(header.entry_count, kMaxRegions);
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto place = table.subspan(sizeof header + i * sizeof(RegionTableEntry));
    auto entry = load<RegionTableEntry>(place);
    if (entry.guid.value() != kBatRegion) continue;
    entry.file_offset = Le64{area.at.value};
    entry.length = Le32{narrow<std::uint32_t>(area.length)};
    store(place, entry);
    return true;
  }
  return false;
}

Status put_differing(File& file, FileOffset at, std::span<const std::byte> bytes,
                     SectorEdits& edits) {
  std::vector<std::byte> there(bytes.size());
  OVHD_CHECK(file.read_exact(at, there, kEndsInside));
  for (std::size_t i = 0; i < bytes.size(); i += kLogSectorBytes) {
    const auto part = bytes.subspan(i, kLogSectorBytes);
    if (std::memcmp(part.data(), there.data() + i, part.size()) == 0) continue;
    OVHD_CHECK(edits.put(file, at + i, part));
  }
  return Ok{};
}

}  // namespace

Status put_bat_region(File& file, const ParsedImage& image, const Area& area, SectorEdits& edits) {
  const FileOffset current = kRegionTableAt[image.current_region_table];
  std::vector<std::byte> table(kRegionTableBytes);
  OVHD_CHECK(file.read_exact(current, table, kEndsInside));
  if (!put_entry(table, area)) {
    return Error{.code = Errc::corrupt,
                 .where = current,
                 .what = "region table: no BAT region (2.2.3, X05)"};
  }
  seal(table);
  for (const FileOffset copy : kRegionTableAt) {
    OVHD_CHECK(put_differing(file, copy, table, edits));
  }
  return Ok{};
}

}  // namespace openvhd::vhdx
