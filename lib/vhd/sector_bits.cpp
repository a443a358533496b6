#include "vhd/sector_bits.hpp"

#include <algorithm>
#include <cstring>

#include "base/stored.hpp"

namespace openvhd::vhd {
namespace {

static_assert(std::atomic<std::uint64_t>::is_always_lock_free &&
              sizeof(std::atomic<std::uint64_t>) == 8);

/// Eight bytes of the file as bits with the first sector lowest, and back: the same operation.
std::uint64_t ordered(std::uint64_t word, BitOrder order) noexcept {
  if constexpr (std::endian::native == std::endian::big) word = byteswap(word);
  if (order == BitOrder::lsb_first) return word;
  // Turns each byte around: neighbouring bits, then pairs, then halves change places.
  const auto swap = [&word](unsigned by, std::uint64_t low) {
    word = (word >> by & low) | (word & low) << by;
  };
  swap(1, 0x5555'5555'5555'5555);
  swap(2, 0x3333'3333'3333'3333);
  swap(4, 0x0f0f'0f0f'0f0f'0f0f);
  return word;
}

}  // namespace

void SectorBits::set(std::uint32_t first, std::uint32_t count) noexcept {
  const std::uint32_t end = first + count;
  for (std::uint32_t at = first; at < end;) {
    const std::uint32_t shift = at % 64;
    const std::uint32_t here = std::min(64 - shift, end - at);
    const std::uint64_t mask = (~std::uint64_t{0} >> (64 - here)) << shift;
    std::atomic<std::uint64_t>& word = words_[at / 64];
    word.store(word.load(std::memory_order_relaxed) | mask, std::memory_order_release);
    at += here;
  }
}

std::span<std::byte> SectorBits::memory() noexcept {
  return std::as_writable_bytes(std::span{words_.get(), count_});
}

void SectorBits::loaded(BitOrder order) noexcept {
  for (std::atomic<std::uint64_t>& word : std::span{words_.get(), count_}) {
    word.store(ordered(word.load(std::memory_order_relaxed), order), std::memory_order_relaxed);
  }
}

std::vector<std::byte> SectorBits::bytes(BitOrder order) const {
  std::vector<std::byte> out(std::size_t{count_} * 8);
  for (std::uint32_t i = 0; i < count_; ++i) {
    const std::uint64_t word = ordered(words_[i].load(std::memory_order_relaxed), order);
    std::memcpy(out.data() + std::size_t{i} * 8, &word, 8);
  }
  return out;
}

}  // namespace openvhd::vhd
