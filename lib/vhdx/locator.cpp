#include "vhdx/locator.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>

#include "base/try.hpp"
#include "base/utf16.hpp"

namespace openvhd::vhdx {
namespace {

constexpr const char* kLinkage = "parent_linkage";
constexpr const char* kLinkage2 = "parent_linkage2";

struct PathKey {
  const char* key;
  ParentPath::Kind kind;
};
// The order in which they are tried (2.6.2.6.3).
constexpr std::array kPathKeys{PathKey{"relative_path", ParentPath::Kind::relative},
                               PathKey{"volume_path", ParentPath::Kind::volume},
                               PathKey{"absolute_win32_path", ParentPath::Kind::absolute}};

bool is_known(std::string_view key) {
  return key == kLinkage || key == kLinkage2 ||
         std::ranges::any_of(kPathKeys, [&](const PathKey& path) { return key == path.key; });
}

Error broken(Judge& judge, FileOffset at, const char* what, Errc code = Errc::corrupt) {
  return judge.error({.id = "X17", .what = what, .at = at, .code = code});
}

Result<LocatorPair> decode_pair(std::span<const std::byte> item, const ParentLocatorEntry& entry,
                                std::size_t texts_at, FileOffset at, Judge& judge) {
  if (entry.key_length == 0 || entry.key_length % 2 != 0 || entry.value_length % 2 != 0) {
    return broken(judge, at, "parent locator: length of a key or value (2.6.2.6.2, X17)");
  }
  if (entry.key_offset < texts_at || (entry.value_length != 0 && entry.value_offset < texts_at)) {
    return broken(judge, at, "parent locator: key or value inside its table (2.6.2.6.2, X17)");
  }
  if (!range_fits(entry.key_offset, entry.key_length, item.size()) ||
      !range_fits(entry.value_offset, entry.value_length, item.size())) {
    return broken(judge, at, "parent locator: key or value outside the item (2.6.2.6.2, X17)");
  }
  const auto key =
      utf16_to_utf8(item.subspan(entry.key_offset, entry.key_length), std::endian::little);
  if (!key || key->find('\0') != std::string::npos) {
    return broken(judge, at, "parent locator: key is not UTF-16 text (2.6.2.6.2, X17)");
  }
  const auto value_bytes = item.subspan(entry.value_offset, entry.value_length);
  if (!is_known(*key)) {
    return LocatorPair{*key, utf16_to_utf8_lossy(value_bytes, std::endian::little)};
  }
  const auto value = utf16_to_utf8(value_bytes, std::endian::little);
  if (!value || value->find('\0') != std::string::npos) {
    return broken(judge, at, "parent locator: value is not UTF-16 text (2.6.2.6.2, X17)");
  }
  return LocatorPair{*key, *value};
}

const std::string* find(const Locator& locator, std::string_view key) {
  const auto found = std::ranges::find(locator.pairs, key, &LocatorPair::key);
  return found == locator.pairs.end() ? nullptr : &found->value;
}

// Appends `text` to `item` and says where: offset and length in bytes.
struct Placed {
  std::uint32_t offset = 0;
  std::uint16_t length = 0;
};
Result<Placed> append(std::vector<std::byte>& item, std::string_view text) {
  const auto utf16 = utf8_to_utf16(text, std::endian::little);
  if (!utf16) return Error{.code = Errc::invalid, .what = "parent locator: text is not UTF-8"};
  if (item.size() + utf16->size() > kMaxLocatorBytes ||
      utf16->size() > std::numeric_limits<std::uint16_t>::max()) {
    return Error{.code = Errc::invalid, .what = "parent locator: text is too long"};
  }
  const Placed out{narrow<std::uint32_t>(item.size()), narrow<std::uint16_t>(utf16->size())};
  item.insert(item.end(), utf16->begin(), utf16->end());
  return out;
}

}  // namespace

Result<Locator> decode_locator(std::span<const std::byte> item, FileOffset at, Judge& judge) {
  if (item.size() < sizeof(ParentLocatorHeader)) {
    return broken(judge, at, "parent locator: shorter than its header (2.6.2.6.1, X17)");
  }
  if (item.size() > kMaxLocatorBytes) {
    return broken(judge, at, "parent locator: longer than 64 KiB (2.6.2.6, X17)");
  }
  const auto header = load<ParentLocatorHeader>(item);
  Locator out{.type = header.locator_type, .pairs = {}};
  if (out.type != kVhdxParentLocatorType) {
    return broken(judge, at, "parent locator: unknown type (2.6.2.6.1, X17)", Errc::unsupported);
  }
  const std::size_t count = header.key_value_count;
  const std::size_t table = sizeof(ParentLocatorHeader) + count * sizeof(ParentLocatorEntry);
  if (count > kMaxLocatorPairs || table > item.size()) {
    return broken(judge, at, "parent locator: more pairs than fit (2.6.2.6.1, X17)");
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t place = sizeof(ParentLocatorHeader) + i * sizeof(ParentLocatorEntry);
    const auto entry = load<ParentLocatorEntry>(item.subspan(place));
    OVHD_TRY(LocatorPair pair, decode_pair(item, entry, table, at + place, judge));
    if (find(out, pair.key) != nullptr) {
      return broken(judge, at + place, "parent locator: a key twice (2.6.2.6.2, X17)");
    }
    out.pairs.push_back(std::move(pair));
  }
  return out;
}

Result<ParentLink> parent_link_of(const Locator& locator, FileOffset at, Judge& judge) {
  ParentLink out;
  const std::string* linkage = find(locator, kLinkage);
  const auto guid = linkage != nullptr ? parse_guid(*linkage) : std::nullopt;
  if (!guid) {
    return broken(judge, at,
                  linkage == nullptr
                      ? "parent locator: parent_linkage is missing (2.6.2.6.3, X17)"
                      : "parent locator: parent_linkage is not a GUID (2.6.2.6.3, X17)");
  }
  if (!linkage->starts_with('{')) {
    judge.fault({.id = "X17",
                 .what = "parent locator: parent_linkage without braces (2.6.2.6.3, X17)",
                 .at = at});
  }
  out.linkage = *guid;
  if (const std::string* second = find(locator, kLinkage2)) {
    // Hyper-V writes it; nil means that no merge is under way.
    const auto parsed = parse_guid(*second);
    if (parsed && !parsed->is_nil()) out.linkage2 = parsed;
    if (!parsed) {
      judge.fault({.id = "X17",
                   .what = "parent locator: parent_linkage2 is not a GUID (2.6.2.6.3, X17)",
                   .at = at});
    }
  }
  for (const PathKey& path : kPathKeys) {
    const std::string* text = find(locator, path.key);
    if (text == nullptr || text->empty()) continue;
    out.paths.push_back({.kind = path.kind, .key = path.key, .text = *text});
  }
  if (out.paths.empty()) {
    return broken(judge, at, "parent locator: no path to the parent (2.6.2.6.3, X17)");
  }
  return out;
}

Result<std::vector<std::byte>> encode_locator(std::span<const LocatorPair> pairs) {
  if (pairs.size() > kMaxLocatorPairs) {
    return Error{.code = Errc::invalid, .what = "parent locator: too many pairs"};
  }
  ParentLocatorHeader header;
  header.locator_type = kVhdxParentLocatorType;
  header.key_value_count = narrow<std::uint16_t>(pairs.size());
  std::vector<std::byte> item(sizeof(header) + pairs.size() * sizeof(ParentLocatorEntry));
  store(std::span<std::byte>{item}, header);
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    OVHD_TRY(const Placed key, append(item, pairs[i].key));
    OVHD_TRY(const Placed value, append(item, pairs[i].value));
    ParentLocatorEntry entry;
    entry.key_offset = key.offset;
    entry.key_length = key.length;
    entry.value_offset = value.offset;
    entry.value_length = value.length;
    store(std::span<std::byte>{item}.subspan(sizeof(header) + i * sizeof(entry)), entry);
  }
  return item;
}

}  // namespace openvhd::vhdx
