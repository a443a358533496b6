/// What the fields of a footer mean: checksum, geometry, size by creator, time.
#pragma once

#include <cstdint>
#include <openvhd/types.hpp>
#include <span>
#include <string>

#include "vhd/layout.hpp"

namespace openvhd::vhd {

/// One's complement of the sum of all bytes but the four of `stored`, the checksum as it lies in
/// `bytes`.
std::uint32_t checksum_without(std::span<const std::byte> bytes, std::uint32_t stored) noexcept;
std::uint32_t checksum_of(const Footer& footer) noexcept;
std::uint32_t checksum_of(const DynamicHeader& header) noexcept;

struct Chs {
  std::uint16_t cylinders = 0;
  std::uint8_t heads = 0;
  std::uint8_t sectors_per_track = 0;

  friend bool operator==(const Chs&, const Chs&) = default;
  constexpr std::uint64_t bytes() const noexcept {
    return std::uint64_t{kSectorBytes} * cylinders * heads * sectors_per_track;
  }
};

/// The most that a geometry can say, about 127.5 GiB; larger disks have it too.
inline constexpr Chs kMaxChs{65535, 16, 255};

/// The specification's "CHS Calculation" for a disk of `bytes`, a multiple of a sector.
Chs chs_for(std::uint64_t bytes) noexcept;
Chs chs_of(const Footer& footer) noexcept;

/// Bytes of the disk. Current Size, except for creators that mean the geometry: Virtual PC
/// ("vpc ") and QEMU unless told otherwise ("qemu"). Not validated.
std::uint64_t virtual_size_of(const Footer& footer) noexcept;

/// Xen's tapdisk 0.1 wrote the bits of a byte in the other order.
bool bitmaps_are_lsb_first(const Footer& footer) noexcept;

/// "win 10.0": application and version; characters that do not print are shown as '.'.
std::string creator_text(const Footer& footer);
std::string creator_os_text(const Footer& footer);

std::int64_t unix_time(std::uint32_t time_stamp) noexcept;
/// Saturates at both ends of what a time stamp can hold.
std::uint32_t time_stamp_at(std::int64_t unix_seconds) noexcept;

}  // namespace openvhd::vhd
