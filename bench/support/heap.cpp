#include "support/heap.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

constinit std::atomic<std::uint64_t> allocations{0};

void* counted(std::size_t size, std::size_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  const std::size_t whole = (size + alignment - 1) / alignment * alignment;
  void* const memory = alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__
                           ? std::malloc(size)
                           : std::aligned_alloc(alignment, whole);
  if (memory == nullptr) throw std::bad_alloc{};
  return memory;
}

}  // namespace

// The forms that all others end in.
void* operator new(std::size_t size) { return counted(size, __STDCPP_DEFAULT_NEW_ALIGNMENT__); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace openvhd::bench {

std::uint64_t heap_allocations() noexcept { return allocations.load(std::memory_order_relaxed); }

CountAllocations::~CountAllocations() {
  const auto more = heap_allocations() - before_;
  state_.counters["allocs/op"] =
      static_cast<double>(more) / static_cast<double>(state_.iterations());
}

}  // namespace openvhd::bench
