#include "base/crc32c.hpp"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace openvhd {
namespace {

constexpr std::uint32_t kReflectedPolynomial = 0x82f63b78;

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = (c & 1) != 0 ? (c >> 1) ^ kReflectedPolynomial : c >> 1;
    table[i] = c;
  }
  return table;
}

constexpr auto kTable = make_table();

std::uint32_t update_portable(std::uint32_t crc, std::span<const std::byte> bytes) noexcept {
  for (const std::byte b : bytes) {
    crc = (crc >> 8) ^ kTable[(crc ^ std::to_integer<std::uint32_t>(b)) & 0xff];
  }
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t update_sse42(
    std::uint32_t crc, std::span<const std::byte> bytes) noexcept {
  std::uint64_t wide = crc;
  while (bytes.size() >= sizeof(std::uint64_t)) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data(), sizeof(word));
    wide = _mm_crc32_u64(wide, word);
    bytes = bytes.subspan(sizeof(word));
  }
  auto narrow_crc = static_cast<std::uint32_t>(wide);
  for (const std::byte b : bytes) {
    narrow_crc = _mm_crc32_u8(narrow_crc, std::to_integer<std::uint8_t>(b));
  }
  return narrow_crc;
}
#endif

std::uint32_t update(std::uint32_t crc, std::span<const std::byte> bytes) noexcept {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return update_sse42(crc, bytes);
#endif
  return update_portable(crc, bytes);
}

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed) noexcept {
  return ~update(~seed, bytes);
}

std::uint32_t crc32c_without(std::span<const std::byte> bytes, std::size_t field) noexcept {
  constexpr std::array<std::byte, 4> kZero{};
  std::uint32_t crc = update(~std::uint32_t{0}, bytes.first(field));
  crc = update(crc, kZero);
  return ~update(crc, bytes.subspan(field + kZero.size()));
}

}  // namespace openvhd
