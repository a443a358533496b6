/// Where things are in the block allocation table ([MS-VHDX] 2.5), as pure functions. A sector
/// bitmap entry follows every chunk_ratio payload entries, in dynamic files too; who forgets it
/// finds out behind the first chunk (4 GiB with 512-byte sectors).
#pragma once

#include <cstdint>
#include <openvhd/error.hpp>
#include <optional>
#include <span>

#include "vhdx/layout.hpp"

namespace openvhd::vhdx {

/// Payload blocks per sector bitmap block. Both sizes are valid: the ratio is 16 at least.
constexpr std::uint64_t chunk_ratio(std::uint32_t logical_sector_size,
                                    std::uint64_t block_bytes) noexcept {
  return kBitmapBlockSectors * logical_sector_size / block_bytes;
}

/// Table index of payload block `block`.
constexpr std::uint64_t payload_index(std::uint64_t block, std::uint64_t ratio) noexcept {
  return block + block / ratio;
}

/// Table index of the sector bitmap of chunk `chunk`.
constexpr std::uint64_t bitmap_index(std::uint64_t chunk, std::uint64_t ratio) noexcept {
  return (chunk + 1) * ratio + chunk;
}

constexpr bool is_bitmap_index(std::uint64_t index, std::uint64_t ratio) noexcept {
  return index % (ratio + 1) == ratio;
}

/// The payload block of a table index that is not a bitmap's.
constexpr std::uint64_t block_of_index(std::uint64_t index, std::uint64_t ratio) noexcept {
  return index - index / (ratio + 1);
}

/// The chunk that a table index, of either kind, belongs to.
constexpr std::uint64_t chunk_of_index(std::uint64_t index, std::uint64_t ratio) noexcept {
  return index / (ratio + 1);
}

constexpr std::uint64_t chunk_of_block(std::uint64_t block, std::uint64_t ratio) noexcept {
  return block / ratio;
}

/// How many of what a disk has. Numbers are exact for every valid geometry: 64 TiB in 1 MiB
/// blocks is 2^26 payload entries, far from any overflow of 64 bits.
struct BatCounts {
  std::uint64_t chunk_ratio = 0;
  std::uint64_t payload_blocks = 0;
  std::uint64_t bitmap_blocks = 0;  ///< Chunks; their blocks exist in differencing files only.
  std::uint64_t entries = 0;        ///< Table entries that count; the region may hold more.

  friend constexpr bool operator==(const BatCounts&, const BatCounts&) = default;
};

/// For a valid, non-zero virtual size, sector size and block size.
constexpr BatCounts bat_counts(std::uint64_t virtual_bytes, std::uint32_t logical_sector_size,
                               std::uint64_t block_bytes, bool has_parent) noexcept {
  BatCounts out;
  out.chunk_ratio = chunk_ratio(logical_sector_size, block_bytes);
  out.payload_blocks = div_ceil(virtual_bytes, block_bytes);
  out.bitmap_blocks = div_ceil(out.payload_blocks, out.chunk_ratio);
  out.entries = has_parent ? out.bitmap_blocks * (out.chunk_ratio + 1)
                           : out.payload_blocks + (out.payload_blocks - 1) / out.chunk_ratio;
  return out;
}

/// Bit of a sector in its chunk's bitmap; low bit of a byte first.
struct BitmapPlace {
  std::uint64_t chunk = 0;
  std::uint64_t bit = 0;  ///< Byte bit / 8, bit bit % 8.
};

constexpr BitmapPlace bitmap_place(std::uint64_t sector) noexcept {
  return {.chunk = sector / kBitmapBlockSectors, .bit = sector % kBitmapBlockSectors};
}

/// A run of the file that something at a fixed place owns.
struct OwnedRange {
  const char* owner = "";  ///< A literal: "header section", "log", "BAT region", ...
  FileOffset at{};
  std::uint64_t length = 0;  ///< Bytes.
};

/// The ranges that share bytes with [at, at + length), which does not pass 2^64. `fixed` is sorted
/// and pairwise disjoint. Takes the logarithm of their number: a table has millions of entries.
std::span<const OwnedRange> fixed_under(std::span<const OwnedRange> fixed, FileOffset at,
                                        std::uint64_t length) noexcept;

/// What an entry is judged against. `fixed` is borrowed, sorted, and pairwise disjoint.
struct EntryRules {
  bool has_parent = false;
  std::uint64_t block_bytes = 0;
  std::uint64_t virtual_bytes = 0;
  std::uint64_t file_bytes = 0;  ///< Size of the file now, as the engine knows it.
  std::span<const OwnedRange> fixed;
};

/// True when the state says that the block's data, or bitmap, is at the entry's offset.
constexpr bool payload_has_data(BatEntry entry) noexcept { return entry.state_bits() >= 6; }
constexpr bool bitmap_has_data(BatEntry entry) noexcept { return entry.state_bits() == 6; }

/// The place that an UNDEFINED or UNMAPPED block may take back, or empty: an anchor that is not
/// inside the file, or lies over a fixed structure, is worth nothing (X13: reads ignore it).
std::optional<FileOffset> soft_anchor(BatEntry entry, const EntryRules& rules) noexcept;

/// Judges one payload entry by itself (X12, X13, and X07 against what lies at fixed places):
/// state, reserved bits, PARTIALLY_PRESENT only with a parent, data inside the file and not over
/// a fixed structure. The block that ends the disk may be cut off in the file where the disk ends
/// (old QEMU; FORMAT 53). Offsets of entries without data are not judged: see soft_anchor().
/// Errors: corrupt, with `at` as the place of the table entry. Overlap with other entries (X14)
/// is not seen here.
Status validate_payload_entry(BatEntry entry, std::uint64_t block, const EntryRules& rules,
                              FileOffset at) noexcept;

/// The same for a sector bitmap entry. In a file without a parent it means nothing, and entries
/// marked present exist in the wild: only state and reserved bits are judged there.
Status validate_bitmap_entry(BatEntry entry, const EntryRules& rules, FileOffset at) noexcept;

}  // namespace openvhd::vhdx
