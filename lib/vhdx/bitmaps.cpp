#include "vhdx/bitmaps.hpp"

#include <algorithm>

namespace openvhd::vhdx {
namespace {

constexpr std::uint64_t kWordBits = 64;

// Acquire: what a reader on another thread looks at after a bit is as new as the bit.
std::uint64_t load_word(const TableWord& word) noexcept {
  return table_order(word.load(std::memory_order_acquire));
}

}  // namespace

BitRun bit_run(std::span<const TableWord> words, std::uint64_t first,
               std::uint64_t limit) noexcept {
  const std::uint64_t end = first + limit;
  // Each word is looked at once: another thread may set bits meanwhile.
  std::uint64_t here = load_word(words[first / kWordBits]);
  const bool set = (here >> (first % kWordBits) & 1) != 0;
  std::uint64_t at = first;
  for (;;) {
    // Ones where the bit differs from the run's; what lies before `at` is shifted out.
    const std::uint64_t other = (set ? ~here : here) >> (at % kWordBits);
    if (other != 0) {
      at += static_cast<std::uint64_t>(std::countr_zero(other));
      break;
    }
    at += kWordBits - at % kWordBits;
    if (at >= end) break;
    here = load_word(words[at / kWordBits]);
  }
  return {.set = set, .length = std::min(at, end) - first};
}

bool put_bits(std::span<TableWord> words, std::uint64_t first, std::uint64_t count,
              bool value) noexcept {
  bool changed = false;
  const std::uint64_t end = first + count;
  for (std::uint64_t at = first; at < end;) {
    const std::uint64_t shift = at % kWordBits;
    const std::uint64_t here = std::min(kWordBits - shift, end - at);
    const std::uint64_t mask =
        (here == kWordBits ? ~std::uint64_t{0} : (std::uint64_t{1} << here) - 1) << shift;
    TableWord& word = words[at / kWordBits];
    const std::uint64_t before = load_word(word);
    const std::uint64_t after = value ? before | mask : before & ~mask;
    if (after != before) {
      word.store(table_order(after), std::memory_order_release);
      changed = true;
    }
    at += here;
  }
  return changed;
}

}  // namespace openvhd::vhdx
