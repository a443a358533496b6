/// Numbers and names that every part of the library shares.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace openvhd {

/// A byte position in one space. Spaces do not convert; the difference of two is a byte count.
template <class Space>
struct Position {
  std::uint64_t value = 0;  ///< Bytes from the start of the space.

  friend constexpr auto operator<=>(Position, Position) = default;
  friend constexpr Position operator+(Position p, std::uint64_t bytes) { return {p.value + bytes}; }
  friend constexpr std::uint64_t operator-(Position a, Position b) { return a.value - b.value; }
};

using FileOffset = Position<struct InFile>;     ///< In an image file, on the host.
using VirtualOffset = Position<struct InDisk>;  ///< In the disk that a guest sees.

/// A GUID, held in the order in which it is printed: 00112233-4455-6677-8899-aabbccddeeff is
/// bytes 00 11 22 ... ff. On disk VHDX stores the first three groups little-endian, VHD all
/// groups in this order; the conversion is the format's.
struct Guid {
  std::array<std::uint8_t, 16> bytes{};  ///< In the order in which they are printed.

  friend constexpr auto operator<=>(const Guid&, const Guid&) = default;
  /// All zero.
  constexpr bool is_nil() const noexcept { return *this == Guid{}; }
};

/// Lower-case text without braces: 36 characters.
std::string to_string(const Guid& guid);

/// Reads 36 characters, or 38 with braces, in either case of letters; empty on anything else.
std::optional<Guid> parse_guid(std::string_view text) noexcept;

/// What an image file is.
enum class Format : std::uint8_t { raw, vhd, vhdx };
/// What of the disk the file holds.
enum class DiskType : std::uint8_t { fixed, dynamic, differencing };

/// "raw", "vhd", "vhdx".
const char* to_string(Format format) noexcept;
/// "fixed", "dynamic", "differencing".
const char* to_string(DiskType type) noexcept;

}  // namespace openvhd
