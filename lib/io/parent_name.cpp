// What an image may call its parent (RELIABILITY f.4, rule 2).
#include <algorithm>
#include <array>
#include <cstdio>

#include "base/utf16.hpp"
#include "io/parent_open.hpp"

namespace openvhd {
namespace {

constexpr std::size_t kLongestName = 255;
constexpr std::size_t kLongestShown = 120;
// What a decoder leaves where UTF-16 made no sense.
constexpr std::string_view kReplacement = "\xef\xbf\xbd";

Error refused(const char* rule) noexcept { return {.code = Errc::denied, .what = rule}; }

/// C0, DEL, and C1 (U+0080 to U+009F) in their UTF-8 form.
bool has_control(std::string_view name) noexcept {
  for (std::size_t i = 0; i < name.size(); ++i) {
    const auto byte = static_cast<unsigned char>(name[i]);
    if (byte < 0x20 || byte == 0x7f) return true;
    if (byte == 0xc2 && i + 1 < name.size() && static_cast<unsigned char>(name[i + 1]) < 0xa0)
      return true;
  }
  return false;
}

void append_escaped(std::string& out, char c) {
  std::array<char, 5> hex{};
  std::snprintf(hex.data(), hex.size(), "\\x%02x", unsigned{static_cast<unsigned char>(c)});
  out += hex.data();
}

}  // namespace

Result<std::string> plain_parent_name(std::string_view proposed) {
  std::string_view name = proposed;
  if (name.starts_with(".\\")) name.remove_prefix(2);
  if (name.empty()) return refused("parent path: no file name (f.4)");
  if (name.size() > kLongestName) return refused("parent path: longer than 255 bytes (f.4)");
  if (name.find_first_of("/\\") != std::string_view::npos)
    return refused("parent path: leads to another directory (f.4)");
  if (name == "." || name == "..") return refused("parent path: names a directory (f.4)");
  if (name.find(':') != std::string_view::npos)
    return refused("parent path: holds a colon, as drives, streams and URLs do (f.4)");
  if (!is_utf8(name) || name.find(kReplacement) != std::string_view::npos)
    return refused("parent path: not valid Unicode (f.4)");
  if (has_control(name)) return refused("parent path: holds a control character (f.4)");
  if (name.back() == '.' || name.back() == ' ')
    return refused("parent path: ends in a dot or a space (f.4)");
  return std::string{name};
}

std::string quote_for_display(std::string_view text) {
  const std::string_view shown = text.substr(0, kLongestShown);
  std::string out = "\"";
  for (std::size_t i = 0; i < shown.size();) {
    // The longest well-formed character here, at most 4 bytes.
    std::size_t length = 1;
    while (length <= 4 && i + length <= shown.size() && !is_utf8(shown.substr(i, length))) ++length;
    const bool whole = length <= 4 && i + length <= shown.size();
    const std::string_view piece = shown.substr(i, whole ? length : 1);
    if (!whole || has_control(piece) || piece == "\"" || piece == "\\") {
      for (const char c : piece) append_escaped(out, c);
    } else {
      out += piece;
    }
    i += piece.size();
  }
  out += '"';
  if (shown.size() < text.size()) out += "...";
  return out;
}

}  // namespace openvhd
