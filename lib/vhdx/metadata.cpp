#include "vhdx/metadata.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "base/try.hpp"
#include "vhdx/locator.hpp"

namespace openvhd::vhdx {
namespace {

struct KnownItem {
  Guid id;
  std::uint32_t length;  // bytes; 0: any
  std::uint32_t flags;
};
constexpr std::array kKnownItems{
    KnownItem{kFileParametersItem, 8, kMetadataIsRequired},
    KnownItem{kVirtualDiskSizeItem, 8, kMetadataIsRequired | kMetadataIsVirtualDisk},
    KnownItem{kVirtualDiskIdItem, 16, kMetadataIsRequired | kMetadataIsVirtualDisk},
    KnownItem{kLogicalSectorSizeItem, 4, kMetadataIsRequired | kMetadataIsVirtualDisk},
    KnownItem{kPhysicalSectorSizeItem, 4, kMetadataIsRequired | kMetadataIsVirtualDisk},
    KnownItem{kParentLocatorItem, 0, kMetadataIsRequired},
};

const KnownItem* known(const MetadataItem& item) {
  if ((item.flags & kMetadataIsUser) != 0) return nullptr;
  const auto found = std::ranges::find(kKnownItems, item.id, &KnownItem::id);
  return found == kKnownItems.end() ? nullptr : &*found;
}

const MetadataItem* find(const ParsedImage& image, const Guid& id) {
  const auto found = std::ranges::find_if(image.items, [&](const MetadataItem& item) {
    return item.id == id && (item.flags & kMetadataIsUser) == 0;
  });
  return found == image.items.end() ? nullptr : &*found;
}

bool judge_bounds(const MetadataTableEntry& entry, FileOffset at, std::uint64_t region_bytes,
                  Judge& judge) {
  const char* what = nullptr;
  if (entry.length == 0) {
    if (entry.offset != 0) what = "metadata item: empty with an offset (2.6.1.2, X08)";
  } else if (entry.offset < kMetadataTableBytes) {
    what = "metadata item: inside the table (2.6.1.2, X08)";
  } else if (entry.length > kMaxMetadataItemBytes) {
    what = "metadata item: longer than 1 MiB (2.6.1.2, X08)";
  } else if (!range_fits(entry.offset, entry.length, region_bytes)) {
    what = "metadata item: past the end of the region (2.6.1.2, X08)";
  }
  if (what == nullptr) return true;
  judge.error({.id = "X08", .what = what, .at = at}, to_string(entry.item_id.value()));
  return false;
}

void judge_known(const MetadataItem& item, FileOffset at, Judge& judge) {
  const KnownItem* rule = known(item);
  if (rule == nullptr) {
    if ((item.flags & kMetadataIsRequired) != 0) {
      judge.error({.id = "X09",
                   .what = "metadata item: required and unknown (2.6.1.2, X09)",
                   .at = at,
                   .code = Errc::unsupported},
                  to_string(item.id));
    }
    return;
  }
  if (rule->length != 0 && item.length != rule->length) {
    judge.error({.id = "X09", .what = "metadata item: wrong length (2.6.2, X09)", .at = at},
                to_string(item.id));
  }
  if ((item.flags & (kMetadataIsVirtualDisk | kMetadataIsRequired)) != rule->flags) {
    // Early files lack the flag on the physical sector size.
    judge.warning({.id = "X09",
                   .what = "metadata item: flags are not those of the item (2.6.2, X09)",
                   .at = at},
                  to_string(item.id));
  }
}

// X08 among items: each once, and no two over the same bytes.
void judge_items(const std::vector<MetadataItem>& items, FileOffset at, Judge& judge) {
  std::vector<MetadataItem> sorted = items;
  const auto identity = [](const MetadataItem& item) {
    return std::pair{item.id, item.flags & kMetadataIsUser};
  };
  std::ranges::sort(sorted, {}, identity);
  const auto twice = std::ranges::adjacent_find(sorted, {}, identity);
  if (twice != sorted.end()) {
    judge.error({.id = "X08", .what = "metadata table: an item twice (2.6.1.2, X08)", .at = at},
                to_string(twice->id));
  }
  std::erase_if(sorted, [](const MetadataItem& item) { return item.length == 0; });
  std::ranges::sort(sorted, {}, [](const MetadataItem& item) { return item.at; });
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i].at.value < sorted[i - 1].at.value + sorted[i - 1].length) {
      judge.error({.id = "X08", .what = "metadata items: two overlap (2.6.1.2, X08)", .at = at},
                  to_string(sorted[i - 1].id) + " and " + to_string(sorted[i].id));
    }
  }
}

// Fills out.items with those whose bounds are right.
Status parse_table(File& file, ParsedImage& out, Judge& judge) {
  const FileOffset at = out.metadata.at;
  OVHD_TRY(const MetadataTable table, read_metadata_table(file, at));
  if (!table.valid) {
    return judge.error({.id = "X08", .what = "metadata table: signature (2.6.1.1, X08)", .at = at});
  }
  if (table.header.entry_count > kMaxMetadataItems) {
    return judge.error(
        {.id = "X08", .what = "metadata table: more than 2047 entries (2.6.1.1, X08)", .at = at});
  }
  std::size_t users = 0;
  for (std::size_t i = 0; i < table.entries.size(); ++i) {
    const auto& entry = table.entries[i];
    const FileOffset entry_at = at + (sizeof(MetadataTableHeader) + i * sizeof(MetadataTableEntry));
    if (!judge_bounds(entry, entry_at, out.metadata.length, judge)) continue;
    const MetadataItem item{
        .id = entry.item_id, .at = at + entry.offset, .length = entry.length, .flags = entry.flags};
    if ((item.flags & kMetadataIsUser) != 0) ++users;
    if (item.flags > 7 || entry.reserved2 != 0) {
      judge.warning({.id = "X08",
                     .what = "metadata item: reserved bits are not zero (2.6.1.2, X08)",
                     .at = entry_at},
                    to_string(item.id));
    }
    judge_known(item, entry_at, judge);
    out.items.push_back(item);
  }
  if (users > kMaxUserMetadataItems) {
    judge.error({.id = "X08",
                 .what = "metadata table: more than 1024 user entries (2.6.1.1, X08)",
                 .at = at});
  }
  judge_items(out.items, at, judge);
  return Ok{};
}

// Reads an item that has a fixed length.
template <class T>
Result<T> read_item(File& file, const ParsedImage& image, const Guid& id, const char* missing,
                    Judge& judge) {
  const MetadataItem* item = find(image, id);
  if (item == nullptr || item->length != sizeof(T)) {
    return judge.error({.id = "X09", .what = missing, .at = image.metadata.at});
  }
  std::array<std::byte, sizeof(T)> bytes;
  OVHD_CHECK(file.read_exact(item->at, bytes, "metadata item: the file ends inside it (X08)"));
  return load<T>(bytes);
}

bool is_sector_size(std::uint32_t bytes) { return bytes == 512 || bytes == 4096; }

Status parse_parameters(File& file, ParsedImage& out, Judge& judge) {
  OVHD_TRY(const auto parameters,
           read_item<FileParameters>(file, out, kFileParametersItem,
                                     "metadata: no file parameters (2.6.2.1, X09)", judge));
  const FileOffset at = find(out, kFileParametersItem)->at;
  const std::uint32_t block = parameters.block_size;
  if (!std::has_single_bit(block) || block < kMinBlockBytes || block > kMaxBlockBytes) {
    return judge.error({.id = "X10",
                        .what = "file parameters: block size is not a power of two from 1 to "
                                "256 MiB (2.6.2.1, X10)",
                        .at = at});
  }
  if ((parameters.flags & ~(kLeaveBlocksAllocated | kHasParent)) != 0) {
    judge.warning({.id = "X09",
                   .what = "file parameters: reserved bits are not zero (2.6.2.1, X09)",
                   .at = at});
  }
  out.geometry.block_size = block;
  out.leave_blocks_allocated = (parameters.flags & kLeaveBlocksAllocated) != 0;
  out.has_parent = (parameters.flags & kHasParent) != 0;
  return Ok{};
}

Status parse_sizes(File& file, ParsedImage& out, Judge& judge) {
  OVHD_TRY(const Le32 logical,
           read_item<Le32>(file, out, kLogicalSectorSizeItem,
                           "metadata: no logical sector size (2.6.2.4, X09)", judge));
  OVHD_TRY(const Le32 physical,
           read_item<Le32>(file, out, kPhysicalSectorSizeItem,
                           "metadata: no physical sector size (2.6.2.5, X09)", judge));
  OVHD_TRY(const Le64 size,
           read_item<Le64>(file, out, kVirtualDiskSizeItem,
                           "metadata: no virtual disk size (2.6.2.2, X09)", judge));
  OVHD_TRY(const StoredGuid id,
           read_item<StoredGuid>(file, out, kVirtualDiskIdItem,
                                 "metadata: no virtual disk id (2.6.2.3, X09)", judge));
  const char* what = nullptr;
  const Guid* item = &kLogicalSectorSizeItem;
  if (!is_sector_size(logical)) {
    what = "logical sector size: not 512 or 4096 (2.6.2.4, X10)";
  } else if (!is_sector_size(physical)) {
    what = "physical sector size: not 512 or 4096 (2.6.2.5, X10)";
    item = &kPhysicalSectorSizeItem;
  } else if (size == 0 || size > kMaxVirtualBytes || !is_multiple(size, logical)) {
    what = "virtual disk size: 0, over 64 TiB or no multiple of the sector size (2.6.2.2, X10)";
    item = &kVirtualDiskSizeItem;
  }
  if (what != nullptr) {
    return judge.error({.id = "X10", .what = what, .at = find(out, *item)->at});
  }
  out.geometry.logical_sector_size = logical;
  out.geometry.physical_sector_size = physical;
  out.geometry.virtual_size = size;
  out.page83_id = id;
  return Ok{};
}

// X17. An error is in `judge`; what the disk looks like does not depend on it.
Status parse_parent(File& file, ParsedImage& out, Judge& judge) {
  const MetadataItem* item = find(out, kParentLocatorItem);
  if (!out.has_parent && item == nullptr) return Ok{};
  if (!out.has_parent) {
    // A lost flag would turn the parent's data into zeros.
    return judge.error({.id = "X17",
                        .what = "metadata: parent locator without HasParent (2.6.2.6, X17)",
                        .at = item->at});
  }
  if (item == nullptr) {
    return judge.error({.id = "X17",
                        .what = "metadata: HasParent without a parent locator (2.6.2.6, X17)",
                        .at = out.metadata.at});
  }
  std::vector<std::byte> bytes(std::min<std::size_t>(item->length, kMaxLocatorBytes + 1));
  OVHD_CHECK(file.read_exact(item->at, bytes, "parent locator: the file ends inside it (X08)"));
  OVHD_TRY(const Locator locator, decode_locator(bytes, item->at, judge));
  OVHD_TRY(out.parent, parent_link_of(locator, item->at, judge));
  return Ok{};
}

}  // namespace

Result<MetadataTable> read_metadata_table(File& file, FileOffset region) {
  std::vector<std::byte> bytes(kMetadataTableBytes);
  OVHD_CHECK(
      file.read_exact(region, bytes, "metadata table: the file ends inside it (2.6.1, X08)"));
  MetadataTable out;
  out.header = load<MetadataTableHeader>(bytes);
  out.valid = out.header.signature == kMetadataSignature;
  if (!out.valid) return out;
  const std::uint32_t count = std::min<std::uint32_t>(out.header.entry_count, kMaxMetadataItems);
  const std::span<const std::byte> entries =
      std::span<const std::byte>{bytes}.subspan(sizeof(MetadataTableHeader));
  out.entries.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    out.entries.push_back(
        load<MetadataTableEntry>(entries.subspan(i * sizeof(MetadataTableEntry))));
  }
  return out;
}

Status parse_metadata(File& file, ParsedImage& out, Judge& judge) {
  OVHD_CHECK(parse_table(file, out, judge));
  OVHD_CHECK(parse_parameters(file, out, judge));
  OVHD_CHECK(parse_sizes(file, out, judge));
  if (auto parent = parse_parent(file, out, judge); !parent && parent.error().code == Errc::io) {
    return parent;
  }
  out.counts = bat_counts(out.geometry.virtual_size, out.geometry.logical_sector_size,
                          out.geometry.block_size, out.has_parent);
  if (out.counts.entries * kBatEntryBytes > out.bat.length) {
    return judge.error(
        {.id = "X11", .what = "BAT region: too small for the disk (2.5, X11)", .at = out.bat.at});
  }
  return Ok{};
}

}  // namespace openvhd::vhdx
