/// CRC-32C (Castagnoli), as VHDX uses it everywhere ([MS-VHDX] 2.2: polynomial 0x1EDC6F41).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace openvhd {

/// The checksum of `bytes`; `seed` is the result for what came before, so that
/// crc32c(b, crc32c(a)) is the checksum of a followed by b.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed = 0) noexcept;

/// The checksum of `bytes` with the four bytes at `field` taken as zero, as the headers, region
/// tables and log entries store it. `field + 4` must not exceed the size of `bytes`.
std::uint32_t crc32c_without(std::span<const std::byte> bytes, std::size_t field) noexcept;

}  // namespace openvhd
