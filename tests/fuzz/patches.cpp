#include "fuzz/patches.hpp"

#include <algorithm>

namespace openvhd::test {
namespace {

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{64} << 20;

}  // namespace

std::uint8_t InputReader::byte() {
  if (left_.empty()) return 0;
  const std::uint8_t out = left_.front();
  left_ = left_.subspan(1);
  return out;
}

std::uint16_t InputReader::word() {
  const unsigned low = byte();
  return static_cast<std::uint16_t>(low | unsigned{byte()} << 8);
}

std::vector<std::byte> InputReader::bytes(std::size_t most) {
  std::vector<std::byte> out(std::min(most, left_.size()));
  for (std::byte& b : out) b = std::byte{byte()};
  return out;
}

void apply_patches(InputReader& input, MemoryStore& store, std::span<const std::uint64_t> windows) {
  while (!input.empty()) {
    const std::size_t place = input.byte() % (windows.size() + 1);
    const std::uint16_t offset = input.word();
    if (place == windows.size()) {
      store.set_size(std::min(kMaxFileBytes, std::uint64_t{offset} * 512 + input.byte()));
      continue;
    }
    const auto bytes = input.bytes(input.byte() % 32 + std::size_t{1});
    store.write(windows[place] + offset, bytes);
  }
}

}  // namespace openvhd::test
