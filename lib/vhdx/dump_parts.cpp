#include "vhdx/dump_parts.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "base/try.hpp"
#include "vhdx/dump_nodes.hpp"
#include "vhdx/locator.hpp"
#include "vhdx/log_ring.hpp"
#include "vhdx/log_scan.hpp"
#include "vhdx/metadata.hpp"

namespace openvhd::vhdx {
namespace {

DumpNode dump_descriptor(const LogDescriptor& descriptor, FileOffset at) {
  DumpStruct out{descriptor.is_data ? "data_descriptor" : "zero_descriptor", at};
  out.hex_field("file_offset", 16, descriptor.at.value);
  if (!descriptor.is_data) out.hex_field("zero_length", 8, descriptor.length);
  return out.take();
}

Result<DumpNode> dump_log_entry(File& file, Area log, const LogEntry& entry, bool active,
                                std::uint64_t max_entries) {
  const std::uint64_t count = std::uint64_t{entry.data_descriptors} + entry.zero_descriptors;
  const std::uint64_t shown = std::min(count, max_entries);
  OVHD_TRY(const std::vector<std::byte> bytes,
           read_ring(file, log, entry.at, descriptor_sectors(shown) * kLogSectorBytes));
  const auto header = load<LogEntryHeader>(bytes);
  DumpStruct out{"log_entry", log.at + entry.at};
  out.value(active ? "active" : "not active").problem(entry.forbidden);
  out.hex_field("checksum", 4, header.checksum).hex_field("entry_length", 8, entry.length);
  out.hex_field("tail", 12, entry.tail).count_field("sequence_number", 16, entry.sequence);
  out.count_field("descriptor_count", 24, count).guid_field("log_guid", 32, header.log_guid);
  out.hex_field("flushed_file_offset", 48, entry.flushed_file_bytes);
  out.hex_field("last_file_offset", 56, entry.last_file_bytes);
  for (std::uint64_t i = 0; i < shown; ++i) {
    const std::uint64_t place = sizeof(LogEntryHeader) + i * kDescriptorBytes;
    const FileOffset at = log.at + (entry.at + place) % log.length;
    const auto descriptor =
        parse_descriptor(std::span<const std::byte>{bytes}.subspan(place), entry.sequence, at);
    if (descriptor) out.child(dump_descriptor(*descriptor, at));
  }
  return out.take();
}

std::string flags_text(std::uint32_t flags) {
  std::string out;
  const auto add = [&](std::uint32_t bit, const char* name) {
    if ((flags & bit) == 0) return;
    if (!out.empty()) out += ' ';
    out += name;
  };
  add(kMetadataIsUser, "IsUser");
  add(kMetadataIsVirtualDisk, "IsVirtualDisk");
  add(kMetadataIsRequired, "IsRequired");
  return out.empty() ? "none" : out;
}

void add_locator(DumpStruct& out, std::span<const std::byte> bytes, FileOffset at) {
  Judge judge;
  const auto locator = decode_locator(bytes, at, judge);
  if (!locator) {
    out.problem(locator.error().what);
    return;
  }
  out.guid_field("locator_type", 0, locator->type);
  for (const LocatorPair& pair : locator->pairs) {
    out.child({.name = pair.key, .value = pair.value, .at = at});
  }
  const auto link = parent_link_of(*locator, at, judge);
  if (!link) out.problem(link.error().what);
}

// What a known item says, under the item's own name.
void add_value(DumpStruct& out, const Guid& id, std::span<const std::byte> bytes, FileOffset at) {
  const auto number = [&](const char* name, std::uint64_t value) {
    out.child({.name = name, .value = std::to_string(value), .number = value, .at = at});
  };
  if (id == kFileParametersItem && bytes.size() == sizeof(FileParameters)) {
    const auto parameters = load<FileParameters>(bytes);
    number("block_size", parameters.block_size);
    number("leave_blocks_allocated", parameters.flags & kLeaveBlocksAllocated ? 1 : 0);
    number("has_parent", parameters.flags & kHasParent ? 1 : 0);
  } else if (id == kVirtualDiskSizeItem && bytes.size() == sizeof(Le64)) {
    number("virtual_disk_size", load<Le64>(bytes));
  } else if (id == kVirtualDiskIdItem && bytes.size() == sizeof(StoredGuid)) {
    out.child(
        {.name = "virtual_disk_id", .value = to_string(load<StoredGuid>(bytes).value()), .at = at});
  } else if (id == kLogicalSectorSizeItem && bytes.size() == sizeof(Le32)) {
    number("logical_sector_size", load<Le32>(bytes));
  } else if (id == kPhysicalSectorSizeItem && bytes.size() == sizeof(Le32)) {
    number("physical_sector_size", load<Le32>(bytes));
  } else if (id == kParentLocatorItem) {
    add_locator(out, bytes, at);
  }
}

const char* item_name(const Guid& id) {
  if (id == kFileParametersItem) return "file parameters";
  if (id == kVirtualDiskSizeItem) return "virtual disk size";
  if (id == kVirtualDiskIdItem) return "virtual disk id";
  if (id == kLogicalSectorSizeItem) return "logical sector size";
  if (id == kPhysicalSectorSizeItem) return "physical sector size";
  if (id == kParentLocatorItem) return "parent locator";
  return "unknown item";
}

Result<DumpNode> dump_item(File& file, const Area& region, const MetadataTableEntry& entry,
                           FileOffset at) {
  DumpStruct out{"metadata_table_entry", at};
  const bool user = (entry.flags & kMetadataIsUser) != 0;
  out.value(user ? "user item" : item_name(entry.item_id)).guid_field("item_id", 0, entry.item_id);
  out.hex_field("offset", 16, entry.offset).count_field("length", 20, entry.length);
  out.number_field("flags", 24, entry.flags, flags_text(entry.flags));
  if (entry.length == 0) return out.take();
  if (!range_fits(entry.offset, entry.length, region.length)) {
    return out.problem("past the end of the region (2.6.1.2, X08)").take();
  }
  if (user) return out.take();
  std::vector<std::byte> bytes(std::min<std::size_t>(entry.length, kMaxLocatorBytes + 1));
  const FileOffset item = region.at + entry.offset;
  OVHD_CHECK(file.read_exact(item, bytes, "metadata item: the file ends inside it (X08)"));
  add_value(out, entry.item_id, bytes, item);
  return out.take();
}

}  // namespace

Result<DumpNode> dump_log(File& file, const ParsedHead& head, std::uint64_t max_entries) {
  DumpStruct out{"log", head.log.at};
  out.hex_field("length", 0, head.log.length);
  if (!head.dirty()) return out.value("empty").take();
  const auto scan = scan_log(file, head.log, head.header().log_guid);
  if (!scan) {
    if (scan.error().code == Errc::io) return scan.error();
    return out.problem(scan.error().what).take();
  }
  out.value(std::to_string(scan->active.size()) + " entries to be replayed");
  out.count_field("foreign_entries", 0, scan->foreign);
  if (auto fits = judge_sequence(*scan, head.log, head.file_bytes); !fits) {
    out.problem(fits.error().what);
  }
  std::uint64_t listed = 0;
  for (const LogEntry& entry : scan->entries) {
    if (listed++ == max_entries) break;
    const bool active = std::ranges::find(scan->active, entry) != scan->active.end();
    OVHD_TRY(DumpNode node, dump_log_entry(file, head.log, entry, active, max_entries));
    out.child(std::move(node));
  }
  for (const BadLogEntry& bad : scan->bad) {
    DumpStruct node{"log_entry", head.log.at + bad.at};
    out.child(node.value("not valid").problem(bad.error.what).take());
  }
  return out.take();
}

Result<DumpNode> dump_metadata(File& file, const Area& region, std::uint64_t max_entries) {
  OVHD_TRY(const MetadataTable table, read_metadata_table(file, region.at));
  DumpStruct out{"metadata", region.at};
  out.hex_field("region_length", 0, region.length);
  out.hex_field("signature", 0, table.header.signature);
  out.count_field("entry_count", 10, table.header.entry_count);
  if (!table.valid) return out.problem("metadata table: signature (2.6.1.1, X08)").take();
  for (std::size_t i = 0; i < std::min<std::uint64_t>(table.entries.size(), max_entries); ++i) {
    const FileOffset at =
        region.at + (sizeof(MetadataTableHeader) + i * sizeof(MetadataTableEntry));
    OVHD_TRY(DumpNode node, dump_item(file, region, table.entries[i], at));
    out.child(std::move(node));
  }
  return out.take();
}

}  // namespace openvhd::vhdx
