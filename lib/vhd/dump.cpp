#include <algorithm>
#include <cstdio>

#include "base/try.hpp"
#include "base/utf16.hpp"
#include "vhd/bitmap_cache.hpp"
#include "vhd/scan.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::vhd {
namespace {

std::string hex(std::uint64_t value, int digits) {
  std::array<char, 24> text{};
  const int length = std::snprintf(text.data(), text.size(), "0x%0*llx", digits,
                                   static_cast<unsigned long long>(value));
  return {text.data(), static_cast<std::size_t>(length)};
}

std::string quoted(std::span<const char> field) {
  std::string out = "\"";
  for (const char c : field) {
    const auto code = static_cast<unsigned char>(c);
    if (code >= 0x20 && code < 0x7f && c != '"' && c != '\\') {
      out += c;
    } else {
      std::array<char, 8> text{};
      std::snprintf(text.data(), text.size(), "\\x%02x", code);
      out += text.data();
    }
  }
  return out + '"';
}

DumpNode number(std::string name, std::uint64_t value, FileOffset at, int digits) {
  return {.name = std::move(name), .value = hex(value, digits), .number = value, .at = at};
}

DumpNode text(std::string name, std::string value, FileOffset at) {
  return {.name = std::move(name), .value = std::move(value), .at = at};
}

/// A field of a structure at `at`, by its name, with its place worked out from its offset.
#define OVHD_NUMBER(node, at, Struct, field) \
  (node).children.push_back(                 \
      number(#field, value.field, (at) + offsetof(Struct, field), 2 * sizeof(value.field)))

const char* type_name(std::uint32_t type) {
  switch (type) {
    case kTypeFixed:
      return "fixed";
    case kTypeDynamic:
      return "dynamic";
    case kTypeDifferencing:
      return "differencing";
    default:
      return "unknown";
  }
}

void add_checksum(DumpNode& node, std::uint32_t stated, std::uint32_t computed, FileOffset at) {
  DumpNode field = number("checksum", stated, at, 8);
  if (stated != computed) field.problem = "should be " + hex(computed, 8);
  node.children.push_back(std::move(field));
}

DumpNode footer_node(std::string name, const FooterSighting& seen) {
  const Footer& value = seen.footer;
  const FileOffset at = seen.at;
  DumpNode node{.name = std::move(name), .at = at};
  if (seen.length == kShortFooterBytes) node.value = "511 bytes";
  if (!seen.cookie)
    node.problem = "cookie is not \"conectix\" (V01)";
  else if (!seen.checksum)
    node.problem = "checksum (V01)";
  node.children.push_back(text("cookie", quoted(value.cookie), at));
  OVHD_NUMBER(node, at, Footer, features);
  OVHD_NUMBER(node, at, Footer, file_format_version);
  OVHD_NUMBER(node, at, Footer, data_offset);
  OVHD_NUMBER(node, at, Footer, time_stamp);
  node.children.push_back(text("creator_application", quoted(value.creator_application),
                               at + offsetof(Footer, creator_application)));
  OVHD_NUMBER(node, at, Footer, creator_version);
  node.children.push_back(text("creator_host_os", quoted(value.creator_host_os),
                               at + offsetof(Footer, creator_host_os)));
  OVHD_NUMBER(node, at, Footer, original_size);
  OVHD_NUMBER(node, at, Footer, current_size);
  const Chs chs = chs_of(value);
  DumpNode geometry = text("disk_geometry",
                           std::to_string(chs.cylinders) + "/" + std::to_string(chs.heads) + "/" +
                               std::to_string(chs.sectors_per_track),
                           at + offsetof(Footer, cylinders));
  geometry.number = chs.bytes();
  node.children.push_back(std::move(geometry));
  DumpNode type = number("disk_type", value.disk_type, at + offsetof(Footer, disk_type), 8);
  type.value += std::string{" "} + type_name(value.disk_type);
  node.children.push_back(std::move(type));
  add_checksum(node, value.checksum, checksum_of(value), at + offsetof(Footer, checksum));
  node.children.push_back(
      text("unique_id", to_string(Guid{value.unique_id}), at + offsetof(Footer, unique_id)));
  OVHD_NUMBER(node, at, Footer, saved_state);
  OVHD_NUMBER(node, at, Footer, hidden);
  return node;
}

/// The text of a locator, where it has one and lies in the file.
Result<std::string> locator_text(File& file, const ParentLocatorEntry& entry,
                                 std::uint64_t file_size) {
  constexpr std::uint64_t kMost = 64 * kKiB;
  const std::uint64_t length = entry.platform_data_length;
  if (length > kMost || !range_fits(entry.platform_data_offset, length, file_size))
    return std::string{};
  std::vector<std::byte> bytes(length);
  OVHD_CHECK(file.read_exact({entry.platform_data_offset}, bytes, "parent locator: read (V06)"));
  const std::uint32_t code = entry.platform_code;
  if (code == kLocatorW2ku || code == kLocatorW2ru)
    return utf16_to_utf8_lossy(bytes, std::endian::little);
  std::vector<char> raw(bytes.size());
  std::ranges::transform(bytes, raw.begin(), [](std::byte b) { return static_cast<char>(b); });
  return quoted(raw);
}

Status add_locators(File& file, const ParsedImage& image, DumpNode& node) {
  FileOffset at = image.header_at + offsetof(DynamicHeader, locators);
  for (const ParentLocatorEntry& value : image.header.locators) {
    if (value.platform_code != kLocatorNone) {
      DumpNode locator{.name = "parent_locator", .at = at};
      const Be32 code = value.platform_code;
      std::array<char, 4> letters{};
      std::ranges::transform(std::as_bytes(std::span{&code, 1}), letters.begin(),
                             [](std::byte b) { return static_cast<char>(b); });
      locator.children.push_back(text("platform_code", quoted(letters), at));
      OVHD_NUMBER(locator, at, ParentLocatorEntry, platform_data_space);
      OVHD_NUMBER(locator, at, ParentLocatorEntry, platform_data_length);
      OVHD_NUMBER(locator, at, ParentLocatorEntry, platform_data_offset);
      OVHD_TRY(std::string path, locator_text(file, value, image.file_size));
      if (!range_fits(value.platform_data_offset, value.platform_data_length, image.file_size))
        locator.problem = "outside the file (V06)";
      locator.children.push_back(text("platform_data", path, {value.platform_data_offset}));
      node.children.push_back(std::move(locator));
    }
    at = at + sizeof(ParentLocatorEntry);
  }
  return Ok{};
}

Result<DumpNode> header_node(File& file, const ParsedImage& image) {
  const DynamicHeader& value = image.header;
  const FileOffset at = image.header_at;
  DumpNode node{.name = "dynamic_header", .at = at};
  const std::string_view cookie{value.cookie.data(), value.cookie.size()};
  if (cookie != kHeaderCookie)
    node.problem = "cookie is not \"cxsparse\" (V02)";
  else if (checksum_of(value) != value.checksum)
    node.problem = "checksum (V02)";
  node.children.push_back(text("cookie", quoted(value.cookie), at));
  OVHD_NUMBER(node, at, DynamicHeader, data_offset);
  OVHD_NUMBER(node, at, DynamicHeader, table_offset);
  OVHD_NUMBER(node, at, DynamicHeader, header_version);
  OVHD_NUMBER(node, at, DynamicHeader, max_table_entries);
  OVHD_NUMBER(node, at, DynamicHeader, block_size);
  add_checksum(node, value.checksum, checksum_of(value), at + offsetof(DynamicHeader, checksum));
  node.children.push_back(text("parent_unique_id", to_string(Guid{value.parent_unique_id}),
                               at + offsetof(DynamicHeader, parent_unique_id)));
  OVHD_NUMBER(node, at, DynamicHeader, parent_time_stamp);
  std::string name = utf16_to_utf8_lossy(value.parent_unicode_name, std::endian::big);
  name.resize(std::min(name.find('\0'), name.size()));
  node.children.push_back(text("parent_unicode_name", std::move(name),
                               at + offsetof(DynamicHeader, parent_unicode_name)));
  OVHD_CHECK(add_locators(file, image, node));
  return node;
}

const char* problem_of(EntryVerdict verdict) {
  switch (verdict) {
    case EntryVerdict::good:
      return "";
    case EntryVerdict::out_of_bounds:
      return "the block ends outside the file (V04)";
    case EntryVerdict::overlaps_structure:
      return "the block overlaps another structure (V04)";
    case EntryVerdict::shared:
      return "shares space with another entry (V04)";
  }
  return "";
}

Result<std::uint64_t> bits_set(File& file, const ParsedImage& image, std::uint32_t start) {
  std::vector<std::byte> bytes(image.bitmap_length);
  OVHD_CHECK(
      file.read_exact({std::uint64_t{start} * kSectorBytes}, bytes, "sector bitmap: read (V05)"));
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < image.block_size / kSectorBytes / 8; ++i)
    count += static_cast<unsigned>(std::popcount(std::to_integer<std::uint8_t>(bytes[i])));
  return count;
}

Result<DumpNode> table_node(File& file, const ParsedImage& image, std::uint64_t max_entries) {
  DumpNode node{.name = "block_allocation_table", .at = image.table_at};
  const auto visit = [&](std::uint32_t block, std::uint32_t start, EntryVerdict verdict,
                         std::uint32_t) -> Result<bool> {
    if (node.children.size() >= max_entries) return true;
    DumpNode entry = number("entry " + std::to_string(block), start,
                            image.table_at + std::uint64_t{block} * kEntryBytes, 8);
    entry.problem = problem_of(verdict);
    if (verdict == EntryVerdict::good) {
      OVHD_TRY(const std::uint64_t set, bits_set(file, image, start));
      DumpNode bits =
          text("sectors_present",
               std::to_string(set) + " of " + std::to_string(image.block_size / kSectorBytes),
               {std::uint64_t{start} * kSectorBytes});
      bits.number = set;
      entry.children.push_back(std::move(bits));
    }
    node.children.push_back(std::move(entry));
    return true;
  };
  OVHD_TRY(const ScanResult scan, scan_table(file, image, visit));
  node.number = scan.allocated;
  node.value = std::to_string(scan.allocated) + " of " + std::to_string(image.blocks) + " in use";
  return node;
}

Result<DumpNode> batmap_node(File& file, const ParsedImage& image) {
  const FileOffset at = image.table_at + image.table_bytes;
  std::array<std::byte, sizeof(BatmapHeader)> raw;
  OVHD_CHECK(file.read_exact(at, raw, "batmap header: read (V05)"));
  const auto value = load<BatmapHeader>(raw);
  DumpNode node{.name = "batmap_header", .at = at};
  node.children.push_back(text("cookie", quoted(value.cookie), at));
  OVHD_NUMBER(node, at, BatmapHeader, batmap_offset);
  OVHD_NUMBER(node, at, BatmapHeader, batmap_size);
  OVHD_NUMBER(node, at, BatmapHeader, batmap_version);
  OVHD_NUMBER(node, at, BatmapHeader, checksum);
  OVHD_NUMBER(node, at, BatmapHeader, marker);
  return node;
}

#undef OVHD_NUMBER

bool has_header(const ParsedImage& image) noexcept {
  return image.header_at.value != 0 &&
         range_fits(image.header_at.value, kHeaderBytes, image.file_size);
}

}  // namespace

Result<DumpNode> dump(File& file, std::uint64_t max_entries) {
  OVHD_TRY(const bool is_vhd, probe(file));
  if (!is_vhd) return Error{.code = Errc::unsupported, .what = "no VHD: no footer (V01)"};
  ParsedImage image;
  const Status parsed = parse(file, image);
  if (!parsed && parsed.error().code == Errc::io) return parsed.error();
  DumpNode root{.name = "vhd"};
  if (!parsed) root.problem = parsed.error().what;
  root.children.push_back(footer_node("footer", image.end));
  if (image.copy && (image.copy->cookie || image.type != DiskType::fixed))
    root.children.push_back(footer_node("footer_copy", *image.copy));
  if (image.type != DiskType::fixed && has_header(image)) {
    OVHD_TRY(DumpNode header, header_node(file, image));
    root.children.push_back(std::move(header));
  }
  if (parsed && image.has_batmap) {
    OVHD_TRY(DumpNode batmap, batmap_node(file, image));
    root.children.push_back(std::move(batmap));
  }
  if (parsed && image.type != DiskType::fixed) {
    OVHD_TRY(DumpNode table, table_node(file, image, max_entries));
    root.children.push_back(std::move(table));
  }
  return root;
}

}  // namespace openvhd::vhd
