#include "base/utf16.hpp"

#include <cstdint>

namespace openvhd {
namespace {

constexpr char32_t kReplacement = 0xfffd;
constexpr char32_t kLastCodePoint = 0x10ffff;
constexpr char32_t kFirstPlane = 0x10000;

constexpr bool is_high_surrogate(char32_t c) { return c >= 0xd800 && c <= 0xdbff; }
constexpr bool is_low_surrogate(char32_t c) { return c >= 0xdc00 && c <= 0xdfff; }
constexpr bool is_surrogate(char32_t c) { return c >= 0xd800 && c <= 0xdfff; }

char32_t unit_at(std::span<const std::byte> text, std::size_t at, std::endian order) {
  const auto a = std::to_integer<char32_t>(text[at]);
  const auto b = std::to_integer<char32_t>(text[at + 1]);
  return order == std::endian::big ? (a << 8) | b : (b << 8) | a;
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | (c >> 6));
    put(0x80 | (c & 0x3f));
  } else if (c < kFirstPlane) {
    put(0xe0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3f));
    put(0x80 | (c & 0x3f));
  } else {
    put(0xf0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3f));
    put(0x80 | ((c >> 6) & 0x3f));
    put(0x80 | (c & 0x3f));
  }
}

/// Appends the conversion; false when something had to be replaced.
bool convert(std::string& out, std::span<const std::byte> text, std::endian order) {
  bool whole = text.size() % 2 == 0;
  const std::size_t end = text.size() - text.size() % 2;
  for (std::size_t at = 0; at < end; at += 2) {
    char32_t c = unit_at(text, at, order);
    if (is_high_surrogate(c) && at + 2 < end && is_low_surrogate(unit_at(text, at + 2, order))) {
      at += 2;
      c = kFirstPlane + ((c - 0xd800) << 10) + (unit_at(text, at, order) - 0xdc00);
    } else if (is_surrogate(c)) {
      whole = false;
      c = kReplacement;
    }
    append_utf8(out, c);
  }
  if (text.size() != end) append_utf8(out, kReplacement);
  return whole;
}

/// Takes the first character off `text`; empty when it is not well formed.
std::optional<char32_t> take_code_point(std::string_view& text) noexcept {
  const auto lead = static_cast<std::uint8_t>(text.front());
  std::size_t extra = 0;
  char32_t c = lead;
  char32_t least = 0;  // below it the encoding is overlong
  if (lead >= 0xf0 && lead <= 0xf4) {
    extra = 3;
    c = lead & 0x07;
    least = kFirstPlane;
  } else if (lead >= 0xe0 && lead < 0xf0) {
    extra = 2;
    c = lead & 0x0f;
    least = 0x800;
  } else if (lead >= 0xc2 && lead < 0xe0) {
    extra = 1;
    c = lead & 0x1f;
    least = 0x80;
  } else if (lead >= 0x80) {
    return std::nullopt;
  }
  if (text.size() <= extra) return std::nullopt;
  for (std::size_t i = 1; i <= extra; ++i) {
    const auto next = static_cast<std::uint8_t>(text[i]);
    if ((next & 0xc0) != 0x80) return std::nullopt;
    c = (c << 6) | (next & 0x3f);
  }
  if (c < least || c > kLastCodePoint || is_surrogate(c)) return std::nullopt;
  text.remove_prefix(extra + 1);
  return c;
}

void append_unit(std::vector<std::byte>& out, char32_t unit, std::endian order) {
  const auto high = static_cast<std::byte>(unit >> 8);
  const auto low = static_cast<std::byte>(unit & 0xff);
  out.push_back(order == std::endian::big ? high : low);
  out.push_back(order == std::endian::big ? low : high);
}

}  // namespace

std::optional<std::string> utf16_to_utf8(std::span<const std::byte> text, std::endian order) {
  std::string out;
  if (!convert(out, text, order)) return std::nullopt;
  return out;
}

std::string utf16_to_utf8_lossy(std::span<const std::byte> text, std::endian order) {
  std::string out;
  convert(out, text, order);
  return out;
}

std::optional<std::vector<std::byte>> utf8_to_utf16(std::string_view text, std::endian order) {
  std::vector<std::byte> out;
  out.reserve(text.size() * 2);
  while (!text.empty()) {
    const auto c = take_code_point(text);
    if (!c) return std::nullopt;
    if (*c < kFirstPlane) {
      append_unit(out, *c, order);
    } else {
      append_unit(out, 0xd800 + ((*c - kFirstPlane) >> 10), order);
      append_unit(out, 0xdc00 + ((*c - kFirstPlane) & 0x3ff), order);
    }
  }
  return out;
}

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    if (!take_code_point(text)) return false;
  }
  return true;
}

}  // namespace openvhd
