#include "crash/verify/bytes.hpp"

#include <algorithm>
#include <cstring>

namespace verify {
namespace {

using Table = std::array<std::array<std::uint32_t, 256>, 8>;

// Eight bytes at a time: a table for each place in the word.
Table make_table() {
  Table table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
    table[0][i] = crc;
  }
  for (std::uint32_t i = 0; i < 256; ++i) {
    for (std::size_t place = 1; place < table.size(); ++place)
      table[place][i] = table[place - 1][i] >> 8 ^ table[0][table[place - 1][i] & 0xff];
  }
  return table;
}

const Table kTable = make_table();

#if defined(__x86_64__)
// The processor's own instruction, which is for this polynomial.
__attribute__((target("sse4.2"))) std::uint32_t by_instruction(std::uint32_t crc,
                                                               std::span<const std::byte> bytes) {
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, sizeof word);
    crc = static_cast<std::uint32_t>(__builtin_ia32_crc32di(crc, word));
  }
  for (; i < bytes.size(); ++i)
    crc = __builtin_ia32_crc32qi(crc, std::to_integer<unsigned char>(bytes[i]));
  return crc;
}
#endif

std::uint32_t by_table(std::uint32_t crc, std::span<const std::byte> bytes) {
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    const std::uint64_t word = little<std::uint64_t>(bytes, i) ^ crc;
    crc = 0;
    for (std::size_t place = 0; place < 8; ++place)
      crc ^= kTable[7 - place][word >> (8 * place) & 0xff];
  }
  for (; i < bytes.size(); ++i)
    crc = crc >> 8 ^ kTable[0][(crc ^ std::to_integer<std::uint32_t>(bytes[i])) & 0xff];
  return crc;
}

}  // namespace

bool spells(std::span<const std::byte> from, std::size_t at, const char* text) {
  return std::memcmp(from.data() + at, text, std::strlen(text)) == 0;
}

std::uint32_t crc32c_more(std::uint32_t crc, std::span<const std::byte> bytes) {
#if defined(__x86_64__)
  static const bool has = __builtin_cpu_supports("sse4.2") != 0;
  if (has) return by_instruction(crc, bytes);
#endif
  return by_table(crc, bytes);
}

std::uint32_t crc32c_of(std::span<const std::byte> bytes, std::size_t skip) {
  if (skip >= bytes.size()) return ~crc32c_more(~0u, bytes);
  constexpr std::array<std::byte, 4> kNothing{};
  std::uint32_t crc = crc32c_more(~0u, bytes.first(skip));
  crc = crc32c_more(crc, kNothing);
  return ~crc32c_more(crc, bytes.subspan(skip + 4));
}

std::uint32_t vhd_checksum(std::span<const std::byte> bytes, std::size_t skip) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    if (i < skip || i >= skip + 4) sum += std::to_integer<std::uint32_t>(bytes[i]);
  return ~sum;
}

bool Owners::claim(std::uint64_t at, std::uint64_t length, const std::string& name,
                   std::string& clash) {
  if (length == 0) return true;
  const std::uint64_t end = at + length;
  auto next = ranges_.lower_bound(at);
  if (next != ranges_.end() && next->first < end) {
    clash = next->second.name;
    return false;
  }
  if (next != ranges_.begin() && std::prev(next)->second.end > at) {
    clash = std::prev(next)->second.name;
    return false;
  }
  ranges_.emplace_hint(next, at, Range{end, name});
  last_end_ = std::max(last_end_, end);
  return true;
}

std::string text_of(const std::vector<Breach>& breaches) {
  std::string out;
  for (const Breach& breach : breaches)
    out += (out.empty() ? "" : "; ") + breach.id + ": " + breach.text;
  return out;
}

}  // namespace verify
