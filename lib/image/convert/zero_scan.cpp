#include "image/convert/zero_scan.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace openvhd {
namespace {

// Eight words side by side: compilers turn the inner loop into vector registers of any width.
constexpr std::size_t kLanes = 8;
constexpr std::size_t kStride = kLanes * sizeof(std::uint64_t);
constexpr std::size_t kStep = 1024;  // between two looks at the sum

std::uint64_t any_bits(const std::byte* at, std::size_t bytes) noexcept {
  std::array<std::uint64_t, kLanes> sum{};
  for (std::size_t i = 0; i < bytes; i += kStride) {
    std::array<std::uint64_t, kLanes> words;
    std::memcpy(words.data(), at + i, kStride);
    for (std::size_t lane = 0; lane < kLanes; ++lane) sum[lane] |= words[lane];
  }
  std::uint64_t all = 0;
  for (const std::uint64_t lane : sum) all |= lane;
  return all;
}

}  // namespace

bool is_zero(std::span<const std::byte> bytes) noexcept {
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  // Most data shows itself in its first bytes.
  if (left >= kStride && any_bits(at, kStride) != 0) return false;
  for (; left >= kStep; at += kStep, left -= kStep) {
    if (any_bits(at, kStep) != 0) return false;
  }
  const std::size_t strides = left - left % kStride;
  if (strides != 0 && any_bits(at, strides) != 0) return false;
  return std::all_of(at + strides, at + left, [](std::byte b) { return b == std::byte{0}; });
}

ByteRun next_data_run(std::span<const std::byte> buffer, std::size_t from,
                      const ZeroGrain& grain) noexcept {
  ByteRun run{.at = buffer.size()};
  std::size_t end = buffer.size();  // of the data seen so far
  for (std::size_t at = from; at < buffer.size(); at += grain.unit) {
    const std::size_t bytes = std::min(grain.unit, buffer.size() - at);
    if (is_zero(buffer.subspan(at, bytes))) {
      if (run.at < buffer.size() && at + bytes - end >= grain.gap) break;
      continue;
    }
    if (run.at == buffer.size()) run.at = at;
    end = at + bytes;
  }
  run.length = run.at == buffer.size() ? 0 : end - run.at;
  return run;
}

}  // namespace openvhd
