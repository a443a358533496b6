#include <algorithm>
#include <array>
#include <bit>
#include <string_view>

#include "base/crc32c.hpp"
#include "base/try.hpp"
#include "base/utf16.hpp"
#include "io/zero_fill.hpp"
#include "vhdx/bat_math.hpp"
#include "vhdx/header_writer.hpp"
#include "vhdx/image_state.hpp"
#include "vhdx/locator.hpp"
#include "vhdx/log_format.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::vhdx {
namespace {

constexpr std::string_view kCreator = "OpenVHD";
// Items lie behind the metadata table, the locator in the next 4 KiB.
constexpr std::uint32_t kItemsAt = kMetadataTableBytes;
constexpr std::uint32_t kLocatorAt = kItemsAt + 4096;

/// Where everything goes: header section, log, metadata, table, payload.
struct Plan {
  Area log;
  Area metadata;
  Area bat;
  BatCounts counts;
  FileOffset payload{};
  std::uint64_t file_bytes = 0;
};

Error invalid(const char* what) { return {.code = Errc::invalid, .what = what}; }

Status check_geometry(const CreateSpec& spec) {
  const Geometry& g = spec.geometry;
  const auto sector_size = [](std::uint32_t bytes) { return bytes == 512 || bytes == 4096; };
  if (!sector_size(g.logical_sector_size) || !sector_size(g.physical_sector_size)) {
    return invalid("VHDX: sector sizes are 512 or 4096 ([MS-VHDX] 2.6.2.4, 2.6.2.5)");
  }
  if (!std::has_single_bit(g.block_size) || g.block_size < kMinBlockBytes ||
      g.block_size > kMaxBlockBytes) {
    return invalid("VHDX: the block size is a power of two from 1 to 256 MiB (2.6.2.1)");
  }
  if (g.virtual_size == 0 || g.virtual_size > kMaxVirtualBytes) {
    return invalid("VHDX: the size is more than 0 and at most 64 TiB (2.6.2.2)");
  }
  if (!is_multiple(g.virtual_size, g.logical_sector_size)) {
    return invalid("VHDX: the size is a multiple of the logical sector size (2.6.2.2)");
  }
  return Ok{};
}

Status check_spec(const CreateSpec& spec) {
  OVHD_CHECK(check_geometry(spec));
  if (spec.log_bytes == 0 || !is_multiple(spec.log_bytes, kAlignment) ||
      spec.log_bytes > kMaxLogBytes) {
    return invalid("VHDX: the log is 1 to 256 MiB long, in whole MiB (2.2.2)");
  }
  const bool differencing = spec.type == DiskType::differencing;
  if (differencing && spec.parent_linkage.is_nil()) {
    return invalid("VHDX: a differencing file names its parent's DataWriteGuid (2.6.2.6.3)");
  }
  if (differencing && spec.parent_relative.empty() && spec.parent_absolute.empty()) {
    return invalid("VHDX: a differencing file names a path to its parent (2.6.2.6.3)");
  }
  return Ok{};
}

Plan plan_of(const CreateSpec& spec) {
  const Geometry& g = spec.geometry;
  Plan out;
  out.counts = bat_counts(g.virtual_size, g.logical_sector_size, g.block_size,
                          spec.type == DiskType::differencing);
  out.log = {.at = {kHeaderSectionBytes}, .length = spec.log_bytes};
  out.metadata = {.at = out.log.at + out.log.length, .length = kMiB};
  out.bat = {.at = out.metadata.at + out.metadata.length,
             .length = align_up(out.counts.entries * kBatEntryBytes, kAlignment)};
  out.payload = out.bat.at + out.bat.length;
  out.file_bytes = out.payload.value;
  if (spec.type == DiskType::fixed) out.file_bytes += out.counts.payload_blocks * g.block_size;
  return out;
}

Status write_identifier(File& file) {
  FileIdentifier identifier;
  identifier.signature = kFileSignature;
  for (std::size_t i = 0; i < kCreator.size(); ++i) {
    identifier.creator[i] = static_cast<std::uint16_t>(kCreator[i]);
  }
  std::array<std::byte, 4096> block{};
  store(std::span<std::byte>{block}, identifier);
  return file.write_all({0}, block);
}

Status write_headers(File& file, const Plan& plan, Host& host) {
  Header header;
  header.signature = kHeaderSignature;
  header.file_write_guid = host.random_guid();
  header.data_write_guid = host.random_guid();
  header.version = kVersion;
  header.log_version = kLogVersion;
  header.log_length = narrow<std::uint32_t>(plan.log.length);
  header.log_offset = plan.log.at.value;
  for (unsigned copy = 0; copy < 2; ++copy) {
    header.sequence_number = std::uint64_t{copy} + 1;
    OVHD_CHECK(file.write_all(kHeaderAt[copy], encode_header(header)));
  }
  return Ok{};
}

Status write_region_tables(File& file, const Plan& plan) {
  std::vector<std::byte> table(kRegionTableBytes);
  const std::span<std::byte> bytes{table};
  RegionTableHeader header;
  header.signature = kRegionSignature;
  header.entry_count = 2;
  const auto put = [&](std::size_t index, const Guid& id, const Area& area) {
    RegionTableEntry entry;
    entry.guid = id;
    entry.file_offset = area.at.value;
    entry.length = narrow<std::uint32_t>(area.length);
    entry.required = kRegionRequired;
    store(bytes.subspan(sizeof(header) + index * sizeof(entry)), entry);
  };
  put(0, kBatRegion, plan.bat);
  put(1, kMetadataRegion, plan.metadata);
  store(bytes, header);
  header.checksum = crc32c(table);
  store(bytes, header);
  for (const FileOffset at : kRegionTableAt) OVHD_CHECK(file.write_all(at, table));
  return Ok{};
}

/// The metadata region from its start to the end of its last item.
class MetadataWriter {
 public:
  MetadataWriter() : bytes_(kLocatorAt) {}

  void put(const Guid& id, std::uint32_t flags, std::span<const std::byte> value) {
    if (bytes_.size() < next_ + value.size()) bytes_.resize(next_ + value.size());
    std::ranges::copy(value, bytes_.begin() + static_cast<std::ptrdiff_t>(next_));
    MetadataTableEntry entry;
    entry.item_id = id;
    entry.offset = narrow<std::uint32_t>(next_);
    entry.length = narrow<std::uint32_t>(value.size());
    entry.flags = flags;
    store(
        std::span<std::byte>{bytes_}.subspan(sizeof(MetadataTableHeader) + count_ * sizeof(entry)),
        entry);
    next_ += value.size();
    ++count_;
  }
  template <class T>
  void put_value(const Guid& id, std::uint32_t flags, const T& value) {
    std::array<std::byte, sizeof(T)> bytes;
    store(std::span<std::byte>{bytes}, value);
    put(id, flags, bytes);
  }
  void skip_to(std::size_t offset) { next_ = offset; }

  std::span<const std::byte> finish() {
    MetadataTableHeader header;
    header.signature = kMetadataSignature;
    header.entry_count = count_;
    store(std::span<std::byte>{bytes_}, header);
    return bytes_;
  }

 private:
  std::vector<std::byte> bytes_;
  std::size_t next_ = kItemsAt;
  std::uint16_t count_ = 0;
};

Result<std::vector<std::byte>> locator_of(const CreateSpec& spec) {
  std::vector<LocatorPair> pairs{{"parent_linkage", "{" + to_string(spec.parent_linkage) + "}"}};
  if (!spec.parent_relative.empty()) pairs.push_back({"relative_path", spec.parent_relative});
  if (!spec.parent_absolute.empty()) {
    pairs.push_back({"absolute_win32_path", spec.parent_absolute});
  }
  return encode_locator(pairs);
}

Status write_metadata(File& file, const CreateSpec& spec, const Plan& plan, Host& host) {
  constexpr std::uint32_t kOfFile = kMetadataIsRequired;
  constexpr std::uint32_t kOfDisk = kMetadataIsRequired | kMetadataIsVirtualDisk;
  const Geometry& g = spec.geometry;
  FileParameters parameters;
  parameters.block_size = narrow<std::uint32_t>(g.block_size);
  if (spec.type == DiskType::fixed) parameters.flags = kLeaveBlocksAllocated;
  if (spec.type == DiskType::differencing) parameters.flags = kHasParent;

  MetadataWriter region;
  region.put_value(kFileParametersItem, kOfFile, parameters);
  region.put_value(kVirtualDiskSizeItem, kOfDisk, Le64{g.virtual_size});
  region.put_value(kVirtualDiskIdItem, kOfDisk,
                   StoredGuid{spec.identifier ? *spec.identifier : host.random_guid()});
  region.put_value(kLogicalSectorSizeItem, kOfDisk, Le32{g.logical_sector_size});
  region.put_value(kPhysicalSectorSizeItem, kOfDisk, Le32{g.physical_sector_size});
  if (spec.type == DiskType::differencing) {
    OVHD_TRY(const auto locator, locator_of(spec));
    region.skip_to(kLocatorAt);
    region.put(kParentLocatorItem, kOfFile, locator);
  }
  return file.write_all(plan.metadata.at, region.finish());
}

// Fixed: every block has its place, in order. Entries of the table in pieces, since a disk of
// 64 TiB has half a GiB of them.
Status lay_out_blocks(File& file, const CreateSpec& spec, const Plan& plan) {
  const std::uint64_t block_bytes = spec.geometry.block_size;
  const std::uint64_t payload_bytes = plan.counts.payload_blocks * block_bytes;
  OVHD_CHECK(spec.written_extents
                 ? fill_with_zeros(file, {plan.payload, payload_bytes}, spec.progress)
                 : file.reserve(plan.payload, payload_bytes));
  constexpr std::uint64_t kPieceEntries = kMiB / kBatEntryBytes;
  std::vector<std::byte> piece;
  for (std::uint64_t first = 0; first < plan.counts.entries; first += kPieceEntries) {
    const std::uint64_t count = std::min(kPieceEntries, plan.counts.entries - first);
    piece.assign(count * kBatEntryBytes, std::byte{0});
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t index = first + i;
      if (is_bitmap_index(index, plan.counts.chunk_ratio)) continue;
      const FileOffset at =
          plan.payload + block_of_index(index, plan.counts.chunk_ratio) * block_bytes;
      const Le64 entry{BatEntry::make(PayloadState::fully_present, at).raw};
      store(std::span<std::byte>{piece}.subspan(i * kBatEntryBytes), entry);
    }
    OVHD_CHECK(file.write_all(plan.bat.at + first * kBatEntryBytes, piece));
  }
  return Ok{};
}

}  // namespace

Status create(File& file, const CreateSpec& given, Host& host) {
  CreateSpec spec = given;
  if (spec.log_bytes == 0) spec.log_bytes = kMiB;
  OVHD_CHECK(check_spec(spec));
  OVHD_TRY(const std::uint64_t before, file.size());
  if (before != 0) return invalid("VHDX: a new image needs an empty file");

  const Plan plan = plan_of(spec);
  // Empty tables are holes: nothing of them is written.
  OVHD_CHECK(file.set_size(plan.file_bytes));
  if (spec.type == DiskType::fixed) OVHD_CHECK(lay_out_blocks(file, spec, plan));
  // Log writes are to be overwrites of written extents: half the cost of filling holes.
  OVHD_CHECK(fill_with_zeros(file, {plan.log.at, plan.log.length}, nullptr));
  OVHD_CHECK(write_metadata(file, spec, plan, host));
  OVHD_CHECK(write_region_tables(file, plan));
  OVHD_CHECK(write_headers(file, plan, host));
  OVHD_CHECK(write_identifier(file));
  return file.sync();
}

}  // namespace openvhd::vhdx
