/// Bits of sector bitmaps ([MS-VHDX] 2.4.2) in table pages: one per logical sector, low bit of a
/// byte first. Words are as they are on disk, little-endian.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <span>

#include "base/stored.hpp"

namespace openvhd::vhdx {

/// A word of a table page. Atomic, so that a reader on another thread sees old or new, whole.
using TableWord = std::atomic<std::uint64_t>;
static_assert(sizeof(TableWord) == 8 && TableWord::is_always_lock_free);

/// The number that a stored word means, and back: the same operation.
constexpr std::uint64_t table_order(std::uint64_t word) noexcept {
  return std::endian::native == std::endian::little ? word : byteswap(word);
}

/// Bits that are all alike.
struct BitRun {
  bool set = false;
  std::uint64_t length = 0;  ///< Bits.
};

/// The run that begins at `first`, cut off after `limit` bits (at least 1). All bits in question
/// lie in `words`.
BitRun bit_run(std::span<const TableWord> words, std::uint64_t first, std::uint64_t limit) noexcept;

/// Sets or clears `count` bits from `first`. Returns whether any bit changed.
bool put_bits(std::span<TableWord> words, std::uint64_t first, std::uint64_t count,
              bool value) noexcept;

}  // namespace openvhd::vhdx
