/// Host memory of whole pages that is no guest's RAM: ROM images.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <openvhd/error.hpp>
#include <span>
#include <utility>

namespace openvhd::vmm {

class PageBuffer {
 public:
  PageBuffer() = default;
  /// A copy of `bytes`, whose size is a multiple of 4 KiB. Errors: no_space.
  static Result<PageBuffer> copy_of(std::span<const std::byte> bytes) {
    void* map =
        ::mmap(nullptr, bytes.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
      return Error{.code = Errc::no_space, .sys_errno = errno, .what = "memory for a ROM"};
    std::memcpy(map, bytes.data(), bytes.size());
    PageBuffer out;
    out.bytes_ = {static_cast<std::byte*>(map), bytes.size()};
    return out;
  }
  PageBuffer(PageBuffer&& other) noexcept : bytes_{std::exchange(other.bytes_, {})} {}
  PageBuffer& operator=(PageBuffer&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~PageBuffer() {
    if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
  }
  std::span<std::byte> bytes() noexcept { return bytes_; }

 private:
  std::span<std::byte> bytes_{};
};

}  // namespace openvhd::vmm
