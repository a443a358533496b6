#include <algorithm>
#include <string>

#include "base/try.hpp"
#include "base/utf16.hpp"
#include "vhd/parse.hpp"

namespace openvhd::vhd {
namespace {

/// RELIABILITY b.1: no longer path is worth reading.
constexpr std::uint64_t kMaxPathBytes = 64 * kKiB;

/// Some writers count the space in sectors, as the specification says, some in bytes.
constexpr std::uint64_t space_of(const ParentLocatorEntry& entry) noexcept {
  const std::uint64_t space = entry.platform_data_space;
  return space < kSectorBytes ? space * kSectorBytes : space;
}

const char* key_of(std::uint32_t code) noexcept {
  switch (code) {
    case kLocatorW2ru:
      return "W2ru";
    case kLocatorW2ku:
      return "W2ku";
    case kLocatorWi2r:
      return "Wi2r";
    case kLocatorWi2k:
      return "Wi2k";
    case kLocatorMac:
      return "Mac ";
    case kLocatorMacX:
      return "MacX";
    default:
      return "unknown";
  }
}

ParentPath::Kind kind_of(std::uint32_t code) noexcept {
  if (code == kLocatorW2ru) return ParentPath::Kind::relative;
  if (code == kLocatorW2ku) return ParentPath::Kind::absolute;
  return ParentPath::Kind::other;
}

std::span<const std::byte> without_terminator(std::span<const std::byte> text) noexcept {
  while (text.size() >= 2 && text[text.size() - 1] == std::byte{0} &&
         text[text.size() - 2] == std::byte{0}) {
    text = text.first(text.size() - 2);
  }
  return text;
}

std::string eight_bit_text(std::span<const std::byte> text) {
  std::string out;
  for (const std::byte b : text) out += static_cast<char>(b);
  while (!out.empty() && out.back() == '\0') out.pop_back();
  return is_utf8(out) ? out : std::string{};
}

ParentPath path_of(ParsedImage& out, const ParentLocatorEntry& entry,
                   std::span<const std::byte> text) {
  const std::uint32_t code = entry.platform_code;
  ParentPath path{.kind = kind_of(code), .key = key_of(code), .text = {}};
  const FileOffset at{entry.platform_data_offset};
  if (code == kLocatorMacX || code == kLocatorWi2r || code == kLocatorWi2k) {
    path.text = eight_bit_text(text);
  } else if (code == kLocatorW2ru || code == kLocatorW2ku) {
    text = without_terminator(text);
    if (auto strict = utf16_to_utf8(text, std::endian::little)) {
      path.text = std::move(*strict);
    } else {
      // Shown, never followed: no host name is meant by it.
      path.kind = ParentPath::Kind::other;
      path.text = utf16_to_utf8_lossy(text, std::endian::little);
      add_finding(out, "V06", Severity::warning, at, "parent locator: text is not UTF-16");
    }
  }
  return path;
}

/// Where there is no locator at all, the name in the header is all that leads to the parent: it is
/// then tried as a relative path, under the same rules.
void add_parent_name(ParsedImage& out, bool only_name) {
  std::span<const std::byte> name{out.header.parent_unicode_name};
  std::size_t length = 0;
  while (length + 2 <= name.size() &&
         (name[length] != std::byte{0} || name[length + 1] != std::byte{0})) {
    length += 2;
  }
  if (length == 0) return;
  name = name.first(length);
  const bool strict = utf16_to_utf8(name, std::endian::big).has_value();
  const auto kind = only_name && strict ? ParentPath::Kind::relative : ParentPath::Kind::other;
  std::string text = utf16_to_utf8_lossy(name, std::endian::big);
  out.parent.paths.push_back({kind, "parent_name", std::move(text)});
}

/// Keeps new blocks off what a locator calls its own, as far as the file goes.
void set_aside(ParsedImage& out, const ParentLocatorEntry& entry) {
  const std::uint64_t at = entry.platform_data_offset;
  if (at >= out.data_limit()) return;
  const std::uint64_t length = std::max<std::uint64_t>(entry.platform_data_length, space_of(entry));
  out.set_aside.push_back({{at}, std::min(length, out.data_limit() - at)});
}

/// True where the locator's data can be used.
Result<bool> parse_locator(File& file, ParsedImage& out, const ParentLocatorEntry& entry) {
  const std::uint64_t at = entry.platform_data_offset;
  const std::uint64_t length = entry.platform_data_length;
  const auto reject = [&](const char* why) {
    add_finding(out, "V06", Severity::error, {at}, why);
    set_aside(out, entry);
    return false;
  };
  if (length > kMaxPathBytes) return reject("parent locator: longer than 64 KiB");
  if (!range_fits(at, length, out.data_limit())) return reject("parent locator: outside the file");
  for (const Structure& other : out.structures) {
    if (length != 0 && ranges_overlap(at, length, other.at.value, other.length))
      return reject("parent locator: overlaps another structure");
  }
  const std::uint64_t space = space_of(entry);
  if (length > space)
    add_finding(out, "V06", Severity::warning, {at}, "parent locator: longer than its space");
  std::vector<std::byte> text(length);
  OVHD_CHECK(file.read_exact({at}, text, "parent locator: read (V06)"));
  out.structures.push_back(
      {"parent locator", {at}, length, std::min(space, out.data_limit() - at)});
  // The order in which they are to be tried: relative, absolute, then what is only shown.
  auto& paths = out.parent.paths;
  ParentPath path = path_of(out, entry, text);
  const auto place = std::ranges::upper_bound(paths, path.kind, {}, &ParentPath::kind);
  paths.insert(place, std::move(path));
  return true;
}

}  // namespace

Status parse_parent(File& file, ParsedImage& out) {
  const DynamicHeader& header = out.header;
  out.parent.linkage.bytes = header.parent_unique_id;
  out.parent.timestamp = header.parent_time_stamp;
  unsigned seen = 0;
  unsigned usable = 0;
  for (const ParentLocatorEntry& entry : header.locators) {
    if (entry.platform_code == kLocatorNone) continue;
    ++seen;
    OVHD_TRY(const bool good, parse_locator(file, out, entry));
    if (good) ++usable;
  }
  if (seen != 0 && usable == 0) {
    return Error{.code = Errc::corrupt,
                 .where = out.header_at,
                 .what = "dynamic header: no parent locator lies in the file (V06)"};
  }
  add_parent_name(out, seen == 0);
  return Ok{};
}

}  // namespace openvhd::vhd
