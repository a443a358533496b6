/// Images whose tables say that every block is stored, in sparse files that hold nothing else.
#pragma once

#include <cstdint>
#include <openvhd/types.hpp>
#include <string>
#include <vector>

namespace openvhd::bench {

/// A folder with one image or a chain of them, removed again. Ends the program on failure: there
/// is nothing to measure then.
class MappedImage {
 public:
  struct Shape {
    Format format{};
    std::uint64_t virtual_size = 0;
    std::uint64_t block_size = 0;
    /// Files in the chain; the last one, at the bottom, has the blocks.
    std::uint32_t depth = 1;
  };

  explicit MappedImage(const Shape& shape);
  MappedImage(const MappedImage&) = delete;
  MappedImage& operator=(const MappedImage&) = delete;
  ~MappedImage();

  /// The leaf.
  const std::string& path() const noexcept { return paths_.back(); }

 private:
  void store_every_block(const Shape& shape);

  std::string folder_;
  std::vector<std::string> paths_;  // the base first
};

}  // namespace openvhd::bench
