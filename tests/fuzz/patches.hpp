/// Fuzz inputs as changes to an image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "support/memory_file.hpp"

namespace openvhd::test {

/// Takes numbers off the front of an input; zeros when it is used up.
class InputReader {
 public:
  explicit InputReader(std::span<const std::uint8_t> input) : left_{input} {}

  bool empty() const { return left_.empty(); }
  std::uint8_t byte();
  std::uint16_t word();
  std::vector<std::byte> bytes(std::size_t most);

 private:
  std::span<const std::uint8_t> left_;
};

/// Applies what is left of `input`: place (one of `windows`, where changes begin, or beyond them
/// the size of the file), offset from there in 16 bits, a count of 1 to 32, and the bytes.
void apply_patches(InputReader& input, MemoryStore& store, std::span<const std::uint64_t> windows);

}  // namespace openvhd::test
