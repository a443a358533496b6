// What a differencing file says of its parent, changed in place.
#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/try.hpp"
#include "vhdx/bat_math.hpp"
#include "vhdx/locator.hpp"
#include "vhdx/log_write.hpp"
#include "vhdx/metadata.hpp"
#include "vhdx/parse.hpp"
#include "vhdx/table_reader.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::vhdx {
namespace {

constexpr std::uint64_t kItemAlignment = 4096;

/// A file without a dirty log, as it is parsed.
struct Opened {
  ParsedHead head;
  ParsedImage image;
};

Result<Opened> open_differencing(File& file, Host& host) {
  OVHD_TRY(const ReplayResult replayed, replay(file, false, host));
  static_cast<void>(replayed);
  Opened out;
  Judge judge;
  OVHD_TRY(out.head, parse_head(file, judge));
  OVHD_TRY(out.image, parse_strictly(file, out.head, judge));
  if (!out.image.has_parent) {
    return Error{.code = Errc::invalid, .what = "the image has no parent"};
  }
  return out;
}

std::size_t locator_index(const ParsedImage& image) {
  const auto found = std::ranges::find_if(image.items, [](const MetadataItem& item) {
    return item.id == kParentLocatorItem && (item.flags & kMetadataIsUser) == 0;
  });
  return static_cast<std::size_t>(found - image.items.begin());
}

FileOffset entry_at(const ParsedImage& image, std::size_t index) {
  return image.metadata.at + (sizeof(MetadataTableHeader) + index * sizeof(MetadataTableEntry));
}

void set_pair(std::vector<LocatorPair>& pairs, std::string_view key, std::string value) {
  const auto found = std::ranges::find(pairs, key, &LocatorPair::key);
  if (found != pairs.end()) {
    found->value = std::move(value);
  } else {
    pairs.push_back({std::string{key}, std::move(value)});
  }
}

void remove_pair(std::vector<LocatorPair>& pairs, std::string_view key) {
  std::erase_if(pairs, [&](const LocatorPair& pair) { return pair.key == key; });
}

void change_pairs(std::vector<LocatorPair>& pairs, const ParentChange& change) {
  if (change.linkage) set_pair(pairs, "parent_linkage", "{" + to_string(*change.linkage) + "}");
  if (change.linkage2) {
    remove_pair(pairs, "parent_linkage2");
    if (!change.linkage2->is_nil()) {
      set_pair(pairs, "parent_linkage2", "{" + to_string(*change.linkage2) + "}");
    }
  }
  if (!change.relative) return;
  for (const std::string_view key : {"volume_path", "absolute_win32_path"}) remove_pair(pairs, key);
  set_pair(pairs, "relative_path", *change.relative);
}

/// Where an item of `length` bytes fits in the region, offsets from its start: where the old one
/// is, or in the first gap. 0: nowhere.
std::uint64_t place_for(const ParsedImage& image, std::size_t self, std::uint64_t length) {
  struct Run {
    std::uint64_t at;
    std::uint64_t end;
  };
  std::vector<Run> taken;
  for (std::size_t i = 0; i < image.items.size(); ++i) {
    const MetadataItem& item = image.items[i];
    if (i == self || item.length == 0) continue;
    const std::uint64_t at = item.at - image.metadata.at;
    taken.push_back({at, at + item.length});
  }
  const auto is_free = [&](std::uint64_t at) {
    return range_fits(at, length, image.metadata.length) &&
           std::ranges::none_of(
               taken, [&](const Run& run) { return at < run.end && run.at < at + length; });
  };
  const std::uint64_t old = image.items[self].at - image.metadata.at;
  if (is_free(old)) return old;
  std::vector<std::uint64_t> candidates{kMetadataTableBytes};
  for (const Run& run : taken) candidates.push_back(align_up(run.end, kItemAlignment));
  std::ranges::sort(candidates);
  for (const std::uint64_t at : candidates) {
    if (is_free(at)) return at;
  }
  return 0;
}

template <class T>
Status put_value(SectorChanges& changes, FileOffset at, const T& value) {
  std::array<std::byte, sizeof(T)> bytes;
  store(std::span<std::byte>{bytes}, value);
  return changes.put(at, bytes);
}

Result<MetadataTableEntry> table_entry(File& file, FileOffset at) {
  std::array<std::byte, sizeof(MetadataTableEntry)> bytes;
  OVHD_CHECK(file.read_exact(at, bytes, "metadata table: the file ends inside it (2.6.1, X08)"));
  return load<MetadataTableEntry>(bytes);
}

/// Table sectors that are collected and go through the log as many at a time as it takes.
class TableChanges {
 public:
  TableChanges(File& file, ParsedHead& head, Host& host)
      : file_{file}, head_{head}, host_{host}, changes_{file} {}

  Status put(FileOffset at, BatEntry entry) {
    // An entry of 8 bytes lies in one sector.
    if (changes_.count() >= log_capacity(head_.log.length)) OVHD_CHECK(flush());
    return put_value(changes_, at, Le64{entry.raw});
  }
  Status flush() {
    OVHD_CHECK(write_through_log(file_, head_, changes_.writes(), host_));
    changes_ = SectorChanges{file_};
    return Ok{};
  }

 private:
  File& file_;
  ParsedHead& head_;
  Host& host_;
  SectorChanges changes_;
};

/// The bits of `block` in its sector bitmap, of the sectors that lie inside the disk: how many
/// there are, and how many are set.
struct BitCount {
  std::uint64_t all = 0;
  std::uint64_t set = 0;
};
Result<BitCount> count_bits(File& file, const ParsedImage& image, std::uint64_t block) {
  const std::uint64_t ratio = image.counts.chunk_ratio;
  const std::uint64_t sector = image.geometry.logical_sector_size;
  const FileOffset at =
      image.bat.at + bitmap_index(chunk_of_block(block, ratio), ratio) * kBatEntryBytes;
  std::array<std::byte, kBatEntryBytes> raw;
  OVHD_CHECK(file.read_exact(at, raw, "BAT: the file ends inside it (2.5, X06)"));
  const BatEntry bitmap{load<Le64>(raw)};
  OVHD_CHECK(validate_bitmap_entry(bitmap, image.entry_rules(image.file_bytes), at));
  if (!bitmap_has_data(bitmap)) {
    return Error{.code = Errc::corrupt,
                 .where = at,
                 .what = "BAT: a block in parts without a sector bitmap (2.5.1.1, X15)"};
  }
  const std::uint64_t bytes = image.geometry.block_size / sector / 8;
  std::vector<std::byte> bits(bytes);
  OVHD_CHECK(file.read_exact(bitmap.offset() + (block % ratio) * bytes, bits,
                             "sector bitmap: the file ends inside it (2.4.2)"));
  const std::uint64_t begin = block * image.geometry.block_size;
  BitCount out;
  out.all = std::min(image.geometry.block_size, image.geometry.virtual_size - begin) / sector;
  for (std::uint64_t i = 0; i < out.all; ++i) {
    if ((bits[i / 8] >> (i % 8) & std::byte{1}) != std::byte{0}) ++out.set;
  }
  return out;
}

/// Blocks in parts become whole ones, or none where nothing was written yet.
Status settle_partial_blocks(File& file, Opened& opened, Host& host) {
  const ParsedImage& image = opened.image;
  const std::uint64_t ratio = image.counts.chunk_ratio;
  TableChanges changes{file, opened.head, host};
  const auto visit = [&](const TableEntry& found) -> Status {
    if (is_bitmap_index(found.index, ratio)) return Ok{};
    const std::uint64_t block = block_of_index(found.index, ratio);
    if (block >= image.counts.payload_blocks) return Ok{};
    OVHD_CHECK(
        validate_payload_entry(found.entry, block, image.entry_rules(image.file_bytes), found.at));
    if (found.entry.payload_state() != PayloadState::partially_present) return Ok{};
    OVHD_TRY(const BitCount bits, count_bits(file, image, block));
    if (bits.set == bits.all) {
      return changes.put(found.at,
                         BatEntry::make(PayloadState::fully_present, found.entry.offset()));
    }
    if (bits.set == 0) return changes.put(found.at, BatEntry{});
    return Error{.code = Errc::invalid,
                 .where = found.at,
                 .what = "BAT: a block is present in parts, the parent is still needed (2.5.1.1)"};
  };
  OVHD_CHECK(for_each_entry(file, image.bat, image.counts.entries, visit,
                            [](std::uint64_t) -> Status { return Ok{}; }));
  return changes.flush();
}

/// Nobody looks at them any more: all blocks are whole.
Status drop_bitmaps(File& file, Opened& opened, Host& host) {
  const ParsedImage& image = opened.image;
  TableChanges changes{file, opened.head, host};
  const auto visit = [&](const TableEntry& found) -> Status {
    if (!is_bitmap_index(found.index, image.counts.chunk_ratio)) return Ok{};
    return changes.put(found.at, BatEntry{});
  };
  OVHD_CHECK(for_each_entry(file, image.bat, image.counts.entries, visit,
                            [](std::uint64_t) -> Status { return Ok{}; }));
  return changes.flush();
}

/// HasParent and the locator, in one step: neither may be without the other (X17).
Status drop_locator(File& file, Opened& opened, Host& host) {
  const ParsedImage& image = opened.image;
  const std::size_t index = locator_index(image);
  const std::size_t last = image.items.size() - 1;
  const auto parameters = std::ranges::find(image.items, kFileParametersItem, &MetadataItem::id);
  std::array<std::byte, sizeof(FileParameters)> raw;
  OVHD_CHECK(file.read_exact(parameters->at, raw, "metadata item: the file ends inside it (X08)"));
  auto value = load<FileParameters>(raw);
  // The other flag meant nothing beside a parent, and would now promise whole allocation.
  value.flags = value.flags & ~(kHasParent | kLeaveBlocksAllocated);
  SectorChanges changes{file};
  OVHD_CHECK(put_value(changes, parameters->at, value));
  OVHD_TRY(const MetadataTableEntry moved, table_entry(file, entry_at(image, last)));
  OVHD_CHECK(put_value(changes, entry_at(image, index), moved));
  OVHD_CHECK(put_value(changes, entry_at(image, last), MetadataTableEntry{}));
  MetadataTableHeader header;
  header.signature = kMetadataSignature;
  header.entry_count = narrow<std::uint16_t>(last);
  OVHD_CHECK(put_value(changes, image.metadata.at, header));
  return write_through_log(file, opened.head, changes.writes(), host);
}

}  // namespace

Status set_parent(File& file, const ParentChange& change, Host& host) {
  OVHD_TRY(Opened opened, open_differencing(file, host));
  const ParsedImage& image = opened.image;
  const std::size_t index = locator_index(image);
  const MetadataItem& item = image.items[index];
  std::vector<std::byte> bytes(item.length);
  OVHD_CHECK(file.read_exact(item.at, bytes, "parent locator: the file ends inside it (X08)"));
  Judge judge;
  OVHD_TRY(Locator locator, decode_locator(bytes, item.at, judge));
  change_pairs(locator.pairs, change);
  OVHD_TRY(const std::vector<std::byte> encoded, encode_locator(locator.pairs));
  if (encoded == bytes) return Ok{};
  const std::uint64_t place = place_for(image, index, encoded.size());
  if (place == 0) {
    return Error{.code = Errc::no_space,
                 .where = image.metadata.at,
                 .what = "metadata region: no room for the parent locator (2.6.1)"};
  }
  OVHD_TRY(MetadataTableEntry entry, table_entry(file, entry_at(image, index)));
  entry.offset = narrow<std::uint32_t>(place);
  entry.length = narrow<std::uint32_t>(encoded.size());
  SectorChanges changes{file};
  OVHD_CHECK(changes.put(image.metadata.at + place, encoded));
  OVHD_CHECK(put_value(changes, entry_at(image, index), entry));
  return write_through_log(file, opened.head, changes.writes(), host);
}

Status detach(File& file, Host& host) {
  OVHD_TRY(Opened opened, open_differencing(file, host));
  OVHD_CHECK(settle_partial_blocks(file, opened, host));
  OVHD_CHECK(drop_bitmaps(file, opened, host));
  return drop_locator(file, opened, host);
}

}  // namespace openvhd::vhdx
