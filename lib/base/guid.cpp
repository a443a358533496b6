#include <openvhd/types.hpp>

namespace openvhd {
namespace {

constexpr std::size_t kTextLength = 36;
constexpr bool is_dash(std::size_t i) { return i == 8 || i == 13 || i == 18 || i == 23; }

int nibble(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string to_string(const Guid& guid) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(kTextLength);
  for (const std::uint8_t b : guid.bytes) {
    if (is_dash(text.size())) text += '-';
    text += kDigits[b >> 4];
    text += kDigits[b & 0xf];
  }
  return text;
}

std::optional<Guid> parse_guid(std::string_view text) noexcept {
  if (text.size() == kTextLength + 2 && text.front() == '{' && text.back() == '}') {
    text = text.substr(1, kTextLength);
  }
  if (text.size() != kTextLength) return std::nullopt;
  Guid out;
  std::size_t digit = 0;
  for (std::size_t i = 0; i < kTextLength; ++i) {
    if (is_dash(i)) {
      if (text[i] != '-') return std::nullopt;
      continue;
    }
    const int value = nibble(text[i]);
    if (value < 0) return std::nullopt;
    auto& byte = out.bytes[digit / 2];
    byte = static_cast<std::uint8_t>((byte << 4) | value);
    ++digit;
  }
  return out;
}

const char* to_string(Format format) noexcept {
  switch (format) {
    case Format::raw:
      return "raw";
    case Format::vhd:
      return "vhd";
    case Format::vhdx:
      return "vhdx";
  }
  return "?";
}

const char* to_string(DiskType type) noexcept {
  switch (type) {
    case DiskType::fixed:
      return "fixed";
    case DiskType::dynamic:
      return "dynamic";
    case DiskType::differencing:
      return "differencing";
  }
  return "?";
}

}  // namespace openvhd
