#include "vhdx/regions.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/crc32c.hpp"
#include "base/try.hpp"

namespace openvhd::vhdx {
namespace {

// What an error or a note of a table says of it.
std::string name_of(const Guid& id) {
  if (id == kBatRegion) return "BAT";
  if (id == kMetadataRegion) return "metadata";
  return to_string(id);
}

const char* owner_of(const Guid& id) {
  if (id == kBatRegion) return "BAT region";
  if (id == kMetadataRegion) return "metadata region";
  return "unknown region";
}

Status judge_place(const Region& region, FileOffset at, std::uint64_t file_bytes, Judge& judge) {
  const std::uint64_t start = region.area.at.value;
  const std::uint64_t length = region.area.length;
  const char* what = nullptr;
  if (!is_multiple(start, kAlignment) || !is_multiple(length, kAlignment)) {
    what = "region: not aligned to 1 MiB (2.2.3.2, X06)";
  } else if (start < kHeaderSectionBytes) {
    what = "region: inside the header section (2.2.3.2, X06)";
  } else if (length == 0) {
    what = "region: length 0 (2.2.3.2, X06)";
  } else if (!range_fits(start, length, file_bytes)) {
    what = "region: past the end of the file (2.2.3.2, X06)";
  }
  if (what == nullptr) return Ok{};
  return judge.error({.id = "X06", .what = what, .at = at}, name_of(region.id));
}

void judge_unique(const RegionTableCopy& table, FileOffset at, Judge& judge) {
  std::vector<Guid> ids;
  ids.reserve(table.entries.size());
  for (const auto& entry : table.entries) ids.push_back(entry.guid);
  std::ranges::sort(ids);
  const auto twice = std::ranges::adjacent_find(ids);
  if (twice != ids.end()) {
    judge.error({.id = "X05", .what = "region table: a region twice (2.2.3.2, X05)", .at = at},
                name_of(*twice));
  }
}

// Places one region in `out`. An error means that the region cannot be used.
Status place_region(const RegionTableEntry& entry, FileOffset at, ParsedImage& out, Judge& judge) {
  const Region region{.id = entry.guid,
                      .area = {.at = {entry.file_offset}, .length = entry.length},
                      .required = (entry.required & kRegionRequired) != 0};
  const bool known = region.id == kBatRegion || region.id == kMetadataRegion;
  if ((entry.required & ~kRegionRequired) != 0) {
    judge.warning(
        {.id = "X05", .what = "region table: reserved bits are not zero (2.2.3.2, X05)", .at = at},
        name_of(region.id));
  }
  if (!known && region.required) {
    return judge.error({.id = "X06",
                        .what = "region: required and unknown (2.2.3.2, X06)",
                        .at = at,
                        .code = Errc::unsupported},
                       name_of(region.id));
  }
  if (known && !region.required) {
    // QEMU leaves the flag clear.
    judge.note({.id = "X06", .what = "region: the Required flag is clear (2.2.3.2, X06)", .at = at},
               name_of(region.id));
  }
  OVHD_CHECK(judge_place(region, at, out.file_bytes, judge));
  out.fixed.push_back(
      {.owner = owner_of(region.id), .at = region.area.at, .length = region.area.length});
  if (region.id == kBatRegion) {
    out.bat = region.area;
  } else if (region.id == kMetadataRegion) {
    out.metadata = region.area;
  } else {
    out.unknown_regions.push_back(region);
  }
  return Ok{};
}

// Sorts out.fixed; X07 among what lies at fixed places.
void judge_overlap(ParsedImage& out, FileOffset at, Judge& judge) {
  std::ranges::sort(out.fixed, {}, [](const OwnedRange& range) { return range.at.value; });
  // The furthest reach so far, not the neighbour: a long range can swallow several.
  const OwnedRange* reach = &out.fixed.front();
  for (std::size_t i = 1; i < out.fixed.size(); ++i) {
    const OwnedRange& next = out.fixed[i];
    if (next.at.value < reach->at.value + reach->length) {
      judge.error({.id = "X07", .what = "layout: two structures overlap (2.1, X07)", .at = at},
                  std::string{reach->owner} + " and " + next.owner);
    }
    if (next.at.value + next.length > reach->at.value + reach->length) reach = &next;
  }
}

Result<RegionTableCopy> choose_table(File& file, ParsedImage& out, Judge& judge) {
  OVHD_TRY(RegionTableCopy first, read_region_table(file, 0));
  OVHD_TRY(RegionTableCopy second, read_region_table(file, 1));
  if (first.problem != nullptr && second.problem != nullptr) {
    return judge.error({.id = "X05",
                        .what = "region tables: neither copy is valid (2.2.3, X05)",
                        .at = kRegionTableAt[0]},
                       std::string{first.problem} + "; " + second.problem);
  }
  out.current_region_table = first.problem == nullptr ? 0 : 1;
  out.other_region_table_valid = first.problem == nullptr && second.problem == nullptr;
  if (!out.other_region_table_valid) {
    const bool first_bad = first.problem != nullptr;
    judge.warning({.id = "X05",
                   .what = "region table: one copy is not valid (2.2.3, X05)",
                   .at = kRegionTableAt[first_bad ? 0 : 1],
                   .repairable = true},
                  first_bad ? first.problem : second.problem);
  } else if (first.header.checksum != second.header.checksum) {
    // Equal checksums over valid copies: equal tables, as far as anyone needs to know.
    judge.fault({.id = "X05",
                 .what = "region tables: the two copies differ (2.2.3, X05)",
                 .at = kRegionTableAt[1],
                 .repairable = true});
  }
  return out.current_region_table == 0 ? std::move(first) : std::move(second);
}

}  // namespace

Result<RegionTableCopy> read_region_table(File& file, unsigned copy) {
  std::vector<std::byte> table(kRegionTableBytes);
  OVHD_CHECK(file.read_exact(kRegionTableAt[copy], table,
                             "region table: the file ends inside it (2.2.3, X01)"));
  RegionTableCopy out;
  out.header = load<RegionTableHeader>(table);
  if (out.header.signature != kRegionSignature) {
    out.problem = "signature";
  } else if (out.header.checksum != crc32c_without(table, kRegionChecksumField)) {
    out.problem = "checksum";
  }
  const std::uint32_t count = std::min<std::uint32_t>(out.header.entry_count, kMaxRegions);
  if (out.problem != nullptr) return out;
  const std::span<const std::byte> entries =
      std::span<const std::byte>{table}.subspan(sizeof(RegionTableHeader));
  out.entries.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    out.entries.push_back(load<RegionTableEntry>(entries.subspan(i * sizeof(RegionTableEntry))));
  }
  return out;
}

Status parse_regions(File& file, ParsedImage& out, Judge& judge) {
  OVHD_TRY(const RegionTableCopy table, choose_table(file, out, judge));
  const FileOffset at = kRegionTableAt[out.current_region_table];
  if (table.header.entry_count > kMaxRegions) {
    return judge.error(
        {.id = "X05", .what = "region table: more than 2047 entries (2.2.3.1, X05)", .at = at});
  }
  if (table.header.reserved != 0) {
    judge.warning(
        {.id = "X05", .what = "region table: reserved field is not zero (2.2.3.1, X05)", .at = at});
  }
  judge_unique(table, at, judge);
  out.fixed.push_back({.owner = "header section", .at = {0}, .length = kHeaderSectionBytes});
  if (out.log.length != 0) {
    out.fixed.push_back({.owner = "log", .at = out.log.at, .length = out.log.length});
  }
  for (std::size_t i = 0; i < table.entries.size(); ++i) {
    const FileOffset entry_at = at + (sizeof(RegionTableHeader) + i * sizeof(RegionTableEntry));
    // What is wrong with one region is in `judge`; the others are still worth a look.
    static_cast<void>(place_region(table.entries[i], entry_at, out, judge));
  }
  judge_overlap(out, at, judge);
  if (out.bat.length == 0) {
    return judge.error(
        {.id = "X06", .what = "region table: no usable BAT region (2.2.3.2, X06)", .at = at});
  }
  if (out.metadata.length == 0) {
    return judge.error(
        {.id = "X06", .what = "region table: no usable metadata region (2.2.3.2, X06)", .at = at});
  }
  return Ok{};
}

}  // namespace openvhd::vhdx
