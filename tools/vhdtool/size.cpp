#include "size.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstddef>
#include <limits>

namespace vhdtool {
namespace {

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
constexpr const char* kTooLarge = "is too large";
constexpr const char* kNotASize = "is not a size (try 512, 64K, 1.5G, 2TiB, 0x1000)";
constexpr const char* kAmbiguous = "has an ambiguous unit: write KiB, MiB, GiB or TiB";
constexpr const char* kNotWhole = "is not a whole number of bytes";

constexpr char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

std::size_t digits_at(std::string_view text, std::size_t from) noexcept {
  std::size_t end = from;
  while (end < text.size() && is_digit(text[end])) ++end;
  return end - from;
}

struct Unit {
  unsigned shift = 0;
  const char* problem = "";
};

Unit parse_unit(std::string_view text) noexcept {
  if (text.empty()) return {};
  if (text.size() == 1 && lower(text[0]) == 'b') return {};
  constexpr std::string_view kLetters = "kmgtp";
  const auto power = kLetters.find(lower(text[0]));
  if (power == std::string_view::npos) return {.problem = kNotASize};
  const Unit unit{.shift = static_cast<unsigned>(power + 1) * 10};
  if (text.size() == 1) return unit;
  if (text.size() == 2 && lower(text[1]) == 'b') return {.problem = kAmbiguous};
  if (text.size() == 3 && lower(text[1]) == 'i' && lower(text[2]) == 'b') return unit;
  return {.problem = kNotASize};
}

// The bytes of 0.DIGITS units, exactly: repeated multiplication by ten keeps only what is left.
ParsedSize fraction_bytes(std::string_view digits, unsigned shift) noexcept {
  if (digits.size() > 18) return {.problem = kNotWhole};
  std::uint64_t numerator = 0;
  std::uint64_t denominator = 1;
  for (const char c : digits) {
    numerator = numerator * 10 + static_cast<std::uint64_t>(c - '0');
    denominator *= 10;
  }
  // numerator * 2^shift / denominator, one doubling at a time; numerator < denominator < 2^60.
  std::uint64_t whole = 0;
  for (unsigned i = 0; i < shift; ++i) {
    numerator *= 2;
    whole = whole * 2 + numerator / denominator;
    numerator %= denominator;
  }
  if (numerator != 0) return {.problem = kNotWhole};
  return {.bytes = whole};
}

}  // namespace

std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t limit) noexcept {
  int base = 10;
  if (text.size() > 2 && text[0] == '0' && lower(text[1]) == 'x') {
    base = 16;
    text.remove_prefix(2);
  }
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value, base);
  if (parsed.ec != std::errc{} || parsed.ptr != end || value > limit) return std::nullopt;
  return value;
}

ParsedSize parse_size(std::string_view text) noexcept {
  if (text.size() > 2 && text[0] == '0' && lower(text[1]) == 'x') {
    const auto value = parse_number(text, kMax);
    return value ? ParsedSize{.bytes = value} : ParsedSize{.problem = kNotASize};
  }
  const auto whole_digits = digits_at(text, 0);
  if (whole_digits == 0) return {.problem = kNotASize};
  const bool has_point = whole_digits < text.size() && text[whole_digits] == '.';
  const auto fraction_at = whole_digits + (has_point ? 1 : 0);
  const auto fraction_digits = has_point ? digits_at(text, fraction_at) : 0;
  if (has_point && fraction_digits == 0) return {.problem = kNotASize};
  const auto unit = parse_unit(text.substr(fraction_at + fraction_digits));
  if (unit.problem[0] != '\0') return {.problem = unit.problem};
  const auto whole = parse_number(text.substr(0, whole_digits), kMax);
  if (!whole || *whole > (kMax >> unit.shift)) return {.problem = kTooLarge};
  const auto fraction = fraction_bytes(text.substr(fraction_at, fraction_digits), unit.shift);
  if (!fraction.bytes) return fraction;
  const auto scaled = *whole << unit.shift;
  if (scaled > kMax - *fraction.bytes) return {.problem = kTooLarge};
  return {.bytes = scaled + *fraction.bytes};
}

std::string human_size(std::uint64_t bytes) {
  if (bytes < 1024) return counted(bytes, "byte");
  constexpr std::array kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::size_t unit = 0;
  while (unit + 1 < kUnits.size() && (bytes >> ((unit + 2) * 10)) != 0) ++unit;
  const unsigned shift = static_cast<unsigned>(unit + 1) * 10;
  const std::uint64_t whole = bytes >> shift;
  const std::uint64_t rest = bytes & ((std::uint64_t{1} << shift) - 1);
  if (rest == 0) return fmt::format("{} {}", whole, kUnits[unit]);
  // Cut, never rounded up: 1023.99 must not become 1024.
  const unsigned decimals = whole >= 100 ? 0 : whole >= 10 ? 1 : 2;
  std::uint64_t scale = 1;
  for (unsigned i = 0; i < decimals; ++i) scale *= 10;
  const auto coarse = rest >> (shift - 10);  // of 1024
  const auto part = coarse * scale / 1024;
  const bool exact = rest == coarse << (shift - 10) && coarse * scale % 1024 == 0;
  auto number =
      decimals == 0 ? fmt::format("{}", whole) : fmt::format("{}.{:0{}}", whole, part, decimals);
  if (decimals != 0) {
    while (number.back() == '0') number.pop_back();
    if (number.back() == '.') number.pop_back();
  }
  return fmt::format("{}{} {}", exact ? "" : "~", number, kUnits[unit]);
}

std::string grouped(std::uint64_t number) {
  auto text = fmt::format("{}", number);
  for (auto at = text.size(); at > 3; at -= 3) text.insert(at - 3, 1, ',');
  return text;
}

std::string exact_size(std::uint64_t bytes) {
  if (bytes < 1024) return human_size(bytes);
  return fmt::format("{} ({} bytes)", human_size(bytes), grouped(bytes));
}

std::string counted(std::uint64_t number, std::string_view noun) {
  return fmt::format("{} {}{}", grouped(number), noun, number == 1 ? "" : "s");
}

}  // namespace vhdtool
