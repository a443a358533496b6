#include "vhd/footer.hpp"

#include <algorithm>
#include <limits>

namespace openvhd::vhd {
namespace {

bool creator_is(const Footer& footer, const char (&code)[5]) noexcept {
  return std::equal(footer.creator_application.begin(), footer.creator_application.end(), code);
}

std::string printable(const std::array<char, 4>& field) {
  std::string out{field.begin(), field.end()};
  while (!out.empty() && (out.back() == ' ' || out.back() == '\0')) out.pop_back();
  std::ranges::replace_if(out, [](char c) { return c < 0x20 || c > 0x7e; }, '.');
  return out;
}

template <class T>
std::uint32_t checksum_of_struct(const T& structure) noexcept {
  return checksum_without(std::as_bytes(std::span{&structure, 1}), structure.checksum);
}

}  // namespace

std::uint32_t checksum_without(std::span<const std::byte> bytes, std::uint32_t stored) noexcept {
  std::uint32_t sum = 0;
  for (const std::byte b : bytes) sum += std::to_integer<std::uint32_t>(b);
  for (unsigned shift = 0; shift < 32; shift += 8) sum -= stored >> shift & 0xff;
  return ~sum;
}

std::uint32_t checksum_of(const Footer& footer) noexcept { return checksum_of_struct(footer); }
std::uint32_t checksum_of(const DynamicHeader& header) noexcept {
  return checksum_of_struct(header);
}

Chs chs_for(std::uint64_t bytes) noexcept {
  constexpr std::uint64_t kLargeDisk = 65535u * 16 * 63;
  const std::uint64_t sectors = std::min(bytes, kMaxChs.bytes()) / kSectorBytes;
  std::uint64_t per_track = 17;
  std::uint64_t heads = 16;
  if (sectors >= kLargeDisk) {
    per_track = 255;
  } else {
    heads = std::max<std::uint64_t>(4, div_ceil(sectors / per_track, 1024));
    if (sectors / per_track >= heads * 1024 || heads > 16) {
      per_track = 31;
      heads = 16;
    }
    if (sectors / per_track >= heads * 1024) per_track = 63;
  }
  return {narrow<std::uint16_t>(sectors / per_track / heads), narrow<std::uint8_t>(heads),
          narrow<std::uint8_t>(per_track)};
}

Chs chs_of(const Footer& footer) noexcept {
  return {footer.cylinders, footer.heads, footer.sectors_per_track};
}

std::uint64_t virtual_size_of(const Footer& footer) noexcept {
  const std::uint64_t size = footer.current_size;
  if (!creator_is(footer, "vpc ") && !creator_is(footer, "qemu")) return size;
  const Chs chs = chs_of(footer);
  const bool says_something = chs != kMaxChs && chs.bytes() != 0 && chs.bytes() <= size;
  return says_something ? chs.bytes() : size;
}

bool bitmaps_are_lsb_first(const Footer& footer) noexcept {
  const auto& app = footer.creator_application;
  return app[0] == 't' && app[1] == 'a' && app[2] == 'p' && footer.creator_version == 1u;
}

std::string creator_text(const Footer& footer) {
  const std::uint32_t version = footer.creator_version;
  return printable(footer.creator_application) + ' ' + std::to_string(version >> 16) + '.' +
         std::to_string(version & 0xffff);
}

std::string creator_os_text(const Footer& footer) { return printable(footer.creator_host_os); }

std::int64_t unix_time(std::uint32_t time_stamp) noexcept { return kEpochUnix + time_stamp; }

std::uint32_t time_stamp_at(std::int64_t unix_seconds) noexcept {
  constexpr std::int64_t kMost = std::numeric_limits<std::uint32_t>::max();
  return static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(unix_seconds, kEpochUnix, kEpochUnix + kMost) - kEpochUnix);
}

}  // namespace openvhd::vhd
