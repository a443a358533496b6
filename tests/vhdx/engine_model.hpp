/// What a disk must contain, sector by sector, in the parts of it that a test looks at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "vhdx/engine_fixture.hpp"

namespace openvhd::test {

/// Windows of a disk, each with what every sector holds: a tag. 0 is zeros, 1 what the parent
/// has, anything else names one write.
class DiskModel {
 public:
  static constexpr std::uint32_t kZeros = 0;
  static constexpr std::uint32_t kParent = 1;

  /// Windows of `window_bytes` around block, chunk and disk ends, `count` at most.
  DiskModel(const EngineShape& shape, std::uint64_t window_bytes, std::size_t count,
            std::uint64_t seed);

  struct Window {
    std::uint64_t at = 0;
    std::vector<std::uint32_t> tags;
  };
  const std::vector<Window>& windows() const { return windows_; }
  std::uint32_t sector_size() const { return sector_size_; }

  /// Notes a tag for all sectors of a range that lie in windows.
  void put(std::uint64_t at, std::uint64_t length, std::uint32_t tag);
  /// The bytes of a range in one window, under the model's tags or under one tag.
  std::vector<std::byte> contents(const Window& window, std::uint64_t at,
                                  std::uint64_t length) const;
  std::vector<std::byte> contents_of(std::uint64_t at, std::uint64_t length,
                                     std::uint32_t tag) const;
  struct Range {
    std::uint64_t at = 0;
    std::uint64_t length = 0;
  };
  /// A change that may or may not have happened.
  struct Open {
    Range range{};
    std::uint32_t tag = 0;
  };
  /// Empty when `image` reads as the model says, or, sector by sector, as one of `open` does;
  /// else where it does not.
  std::string compare(OpenEngine& image, std::span<const Open> open = {}) const;

  /// A random range in a random window, of at most `most` bytes.
  Range random_range(std::mt19937_64& random, std::uint64_t most) const;

 private:
  /// For messages: what a sector seems to hold.
  std::string guess(std::span<const std::byte> sector, std::uint64_t at) const;
  bool is_open(std::span<const Open> open, std::uint64_t at,
               std::span<const std::byte> sector) const;
  void fill(std::span<std::byte> sector, std::uint64_t at, std::uint32_t tag) const;

  std::uint32_t sector_size_;
  std::vector<Window> windows_;
};

}  // namespace openvhd::test
