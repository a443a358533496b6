#include "vhd/heap.hpp"

#include <malloc.h>

// Theirs where a sanitizer brings an allocator of its own, null elsewhere.
// NOLINTNEXTLINE(bugprone-reserved-identifier,readability-identifier-naming)
extern "C" [[gnu::weak]] std::size_t __sanitizer_get_current_allocated_bytes();

namespace openvhd::test {

std::size_t heap_bytes() noexcept {
  if (__sanitizer_get_current_allocated_bytes != nullptr)
    return __sanitizer_get_current_allocated_bytes();
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

}  // namespace openvhd::test
