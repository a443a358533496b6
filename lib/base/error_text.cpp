#include <array>
#include <cstdio>
#include <cstring>
#include <openvhd/error.hpp>

namespace openvhd {
namespace {

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      out += c;
      continue;
    }
    std::array<char, 5> hex{};
    std::snprintf(hex.data(), hex.size(), "\\x%02x", unsigned{byte});
    out += hex.data();
  }
  return out;
}

// strerror_r has two shapes, and which one is declared is the C library's choice.
[[maybe_unused]] const char* chosen(const char* text, const char*) { return text; }
[[maybe_unused]] const char* chosen(int, const char* buffer) { return buffer; }

}  // namespace

const char* to_string(Errc code) noexcept {
  switch (code) {
    case Errc::io:
      return "io";
    case Errc::corrupt:
      return "corrupt";
    case Errc::unsupported:
      return "unsupported";
    case Errc::out_of_range:
      return "out-of-range";
    case Errc::misaligned:
      return "misaligned";
    case Errc::read_only:
      return "read-only";
    case Errc::busy:
      return "busy";
    case Errc::no_space:
      return "no-space";
    case Errc::not_found:
      return "not-found";
    case Errc::denied:
      return "denied";
    case Errc::mismatch:
      return "mismatch";
    case Errc::poisoned:
      return "poisoned";
    case Errc::fenced:
      return "fenced";
    case Errc::invalid:
      return "invalid";
    case Errc::cancelled:
      return "cancelled";
  }
  return "?";
}

std::string describe(const Error& error, std::string_view file) {
  std::string line = escaped(file) + ": ";
  // Only what was read from the file is surely about a place in it.
  const bool from_file = error.code == Errc::corrupt || error.code == Errc::unsupported;
  if (from_file || error.where.value != 0) {
    std::array<char, 32> offset{};
    std::snprintf(offset.data(), offset.size(),
                  "0x%llx: ", static_cast<unsigned long long>(error.where.value));
    line += offset.data();
  }
  line += error.what[0] != '\0' ? error.what : to_string(error.code);
  if (error.sys_errno != 0) {
    std::array<char, 128> buffer{};
    line += ": ";
    line += chosen(::strerror_r(error.sys_errno, buffer.data(), buffer.size()), buffer.data());
  }
  return line;
}

}  // namespace openvhd
