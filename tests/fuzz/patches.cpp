#include "fuzz/patches.hpp"

#include <algorithm>

namespace openvhd::test {
namespace {

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{64} << 20;

// Mostly a little less or more: of an image cut short in its middle little is left to look at.
void change_size(InputReader& input, std::uint64_t by, MemoryStore& store) {
  const std::uint8_t what = input.byte();
  std::uint64_t size = store.size;
  if (what % 8 == 0) {
    size = by * 512 + what / 8;
  } else if (what % 2 == 0) {
    size -= std::min(size, by * (1 + what / 8u));
  } else {
    size += by * (1 + what / 8u);
  }
  store.set_size(std::min(kMaxFileBytes, size));
}

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
      change_size(input, offset, store);
      continue;
    }
    const auto bytes = input.bytes(input.byte() % 32 + std::size_t{1});
    store.write(windows[place] + offset, bytes);
  }
}

}  // namespace openvhd::test
