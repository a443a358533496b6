/// How much memory the test program has from the heap: what a budget is measured with.
#pragma once

#include <cstddef>

namespace openvhd::test {

/// Bytes allocated and not freed, of the whole program.
std::size_t heap_bytes() noexcept;

}  // namespace openvhd::test
