#include "vhd/create.hpp"

#include <algorithm>
#include <vector>

#include "base/try.hpp"
#include "base/utf16.hpp"
#include "io/zero_fill.hpp"

namespace openvhd::vhd {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
constexpr std::uint64_t kHeaderAt = kFooterBytes;
constexpr std::uint64_t kTableAt = kHeaderAt + kHeaderBytes;
/// RELIABILITY b.1.
constexpr std::size_t kMaxPathBytes = 64 * 1024;

constexpr Error invalid(const char* what) noexcept { return {.code = Errc::invalid, .what = what}; }

std::uint32_t block_size_of(const CreateSpec& spec) noexcept {
  const std::uint64_t asked = spec.geometry.block_size;
  return asked == 0 ? kDefaultBlockSize : static_cast<std::uint32_t>(asked);
}

Status check_spec(const CreateSpec& spec) noexcept {
  const Geometry& geometry = spec.geometry;
  if (geometry.virtual_size == 0 || !is_multiple(geometry.virtual_size, kSectorBytes))
    return invalid("VHD: the size is no multiple of 512 (V01)");
  if (geometry.virtual_size > kMaxVirtualSize)
    return invalid("VHD: the size is above 2040 GiB (V01)");
  if (geometry.logical_sector_size != kSectorBytes)
    return invalid("VHD: logical sectors are 512 bytes");
  if (geometry.physical_sector_size != kSectorBytes)
    return invalid("VHD: cannot say that physical sectors are not 512 bytes");
  if (spec.type == DiskType::fixed) return Ok{};
  const std::uint64_t block = geometry.block_size == 0 ? kDefaultBlockSize : geometry.block_size;
  if (!std::has_single_bit(block) || block < kMinBlockSize || block > kMaxBlockSize)
    return invalid("VHD: the block size is no power of two from 4 KiB to 256 MiB (V03)");
  if (div_ceil(geometry.virtual_size, block) > kMaxBlocks)
    return invalid("VHD: more than 2^22 blocks: use larger ones (V03)");
  return Ok{};
}

Footer new_footer(const CreateSpec& spec, Host& host) {
  const Chs chs = chs_for(spec.geometry.virtual_size);
  Footer out{};
  std::ranges::copy(kFooterCookie, out.cookie.begin());
  out.features = kFeatureReserved;
  out.file_format_version = kVersion;
  out.data_offset = spec.type == DiskType::fixed ? kNoOffset : kHeaderAt;
  out.time_stamp = time_stamp_at(host.now_unix());
  out.creator_application = kCreator;
  out.creator_version = kCreatorVersion;
  out.creator_host_os = kCreatorOs;
  out.original_size = spec.geometry.virtual_size;
  out.current_size = spec.geometry.virtual_size;
  out.cylinders = chs.cylinders;
  out.heads = chs.heads;
  out.sectors_per_track = chs.sectors_per_track;
  out.disk_type = spec.type == DiskType::fixed     ? kTypeFixed
                  : spec.type == DiskType::dynamic ? kTypeDynamic
                                                   : kTypeDifferencing;
  out.unique_id = spec.identifier.value_or(host.random_guid()).bytes;
  seal(out);
  return out;
}

/// What lies between the table and the first block of a differencing disk.
struct Locators {
  struct Path {
    std::uint64_t at;
    std::vector<std::byte> text;
  };
  std::vector<Path> paths;
  std::uint64_t end;
};

Status add_locator(DynamicHeader& header, Locators& locators, std::uint32_t code,
                   const std::string& text) {
  if (text.empty()) return Ok{};
  auto encoded = utf8_to_utf16(text, std::endian::little);
  if (!encoded || encoded->size() > kMaxPathBytes)
    return invalid("VHD: the parent's path is no text, or too long, for a locator (V06)");
  const std::uint64_t space = align_up(encoded->size(), std::uint64_t{kSectorBytes});
  ParentLocatorEntry& entry = header.locators[locators.paths.size()];
  entry.platform_code = code;
  entry.platform_data_space = narrow<std::uint32_t>(space);
  entry.platform_data_length = narrow<std::uint32_t>(encoded->size());
  entry.platform_data_offset = locators.end;
  locators.paths.push_back({locators.end, *std::move(encoded)});
  locators.end += space;
  return Ok{};
}

Status describe_parent(const CreateSpec& spec, DynamicHeader& header, Locators& locators) {
  header.parent_unique_id = spec.parent_id.bytes;
  header.parent_time_stamp = spec.parent_timestamp;
  const auto name = utf8_to_utf16(spec.parent_name, std::endian::big);
  // The last two bytes stay zero, for readers that need a terminator.
  if (!name || name->size() + 2 > header.parent_unicode_name.size())
    return invalid("VHD: the parent's name is no text, or too long (V06)");
  std::ranges::copy(*name, header.parent_unicode_name.begin());
  OVHD_CHECK(add_locator(header, locators, kLocatorW2ku, spec.parent_absolute));
  OVHD_CHECK(add_locator(header, locators, kLocatorW2ru, spec.parent_relative));
  if (locators.paths.empty())
    return invalid("VHD: a differencing disk without a parent's path (V06)");
  return Ok{};
}

Status write_fill(File& file, std::uint64_t at, std::uint64_t length, std::byte fill) {
  const std::vector<std::byte> chunk(std::min<std::uint64_t>(length, kChunkBytes), fill);
  for (std::uint64_t done = 0; done < length;) {
    const auto piece =
        static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), length - done));
    OVHD_CHECK(file.write_all({at + done}, std::span{chunk}.first(piece)));
    done += piece;
  }
  return Ok{};
}

template <class T>
std::span<const std::byte> bytes_of(const T& structure) noexcept {
  return std::as_bytes(std::span{&structure, 1});
}

Status create_fixed(File& file, const CreateSpec& spec, Host& host) {
  const std::uint64_t size = spec.geometry.virtual_size;
  const Footer footer = new_footer(spec, host);
  OVHD_CHECK(spec.written_extents ? fill_with_zeros(file, {{}, size}, spec.progress)
                                  : file.reserve({}, size + kFooterBytes));
  OVHD_CHECK(file.write_all({size}, bytes_of(footer)));
  return file.sync();
}

Status create_sparse(File& file, const CreateSpec& spec, Host& host) {
  const std::uint64_t blocks = div_ceil(spec.geometry.virtual_size, block_size_of(spec));
  const std::uint64_t table_bytes = align_up(blocks * kEntryBytes, std::uint64_t{kSectorBytes});
  DynamicHeader header{};
  std::ranges::copy(kHeaderCookie, header.cookie.begin());
  header.data_offset = kNoOffset;
  header.table_offset = kTableAt;
  header.header_version = kVersion;
  header.max_table_entries = narrow<std::uint32_t>(blocks);
  header.block_size = block_size_of(spec);
  Locators locators{.paths = {}, .end = kTableAt + table_bytes};
  if (spec.type == DiskType::differencing) OVHD_CHECK(describe_parent(spec, header, locators));
  seal(header);
  const Footer footer = new_footer(spec, host);
  OVHD_CHECK(file.write_all({}, bytes_of(footer)));
  OVHD_CHECK(file.write_all({kHeaderAt}, bytes_of(header)));
  OVHD_CHECK(write_fill(file, kTableAt, table_bytes, std::byte{0xff}));
  for (const auto& path : locators.paths) OVHD_CHECK(file.write_all({path.at}, path.text));
  OVHD_CHECK(file.write_all({locators.end}, bytes_of(footer)));
  return file.sync();
}

}  // namespace

void seal(Footer& footer) noexcept { footer.checksum = checksum_of(footer); }
void seal(DynamicHeader& header) noexcept { header.checksum = checksum_of(header); }

Status create(File& file, const CreateSpec& spec, Host& host) {
  OVHD_CHECK(check_spec(spec));
  return spec.type == DiskType::fixed ? create_fixed(file, spec, host)
                                      : create_sparse(file, spec, host);
}

std::array<std::byte, 512> fixed_footer(const CreateSpec& spec, Host& host) {
  std::array<std::byte, 512> out{};
  store(out, new_footer(spec, host));
  return out;
}

}  // namespace openvhd::vhd
