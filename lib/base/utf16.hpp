/// UTF-16 as images store names, and UTF-8 as everything else here does.
#pragma once

#include <bit>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace openvhd {

/// Converts strictly. Empty when the length is odd or a surrogate has no partner. NUL is a
/// character like any other: whoever reads a name decides what it means there.
std::optional<std::string> utf16_to_utf8(std::span<const std::byte> text, std::endian order);

/// For display: what cannot be converted becomes U+FFFD.
std::string utf16_to_utf8_lossy(std::span<const std::byte> text, std::endian order);

/// Converts strictly. Empty on truncated, overlong or stray bytes, on encoded surrogates and on
/// values past U+10FFFF. Writes neither a byte order mark nor a terminator.
std::optional<std::vector<std::byte>> utf8_to_utf16(std::string_view text, std::endian order);

/// True when utf8_to_utf16 would take it.
bool is_utf8(std::string_view text) noexcept;

}  // namespace openvhd
