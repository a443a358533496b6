/// Memory that direct I/O can use.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>

namespace openvhd {

/// A run of bytes aligned for direct I/O; empty when there is no memory for it.
class AlignedBuffer {
 public:
  static constexpr std::size_t kAlignment = 4096;

  AlignedBuffer() = default;
  /// `bytes` is a multiple of kAlignment. The contents are arbitrary.
  explicit AlignedBuffer(std::size_t bytes) noexcept
      : memory_{static_cast<std::byte*>(std::aligned_alloc(kAlignment, bytes))},
        bytes_{memory_ == nullptr ? 0 : bytes} {}

  std::span<std::byte> span() const noexcept { return {memory_.get(), bytes_}; }

 private:
  struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  std::size_t bytes_ = 0;
};

}  // namespace openvhd
