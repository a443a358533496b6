/// How often this program has taken memory from the heap.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>

namespace openvhd::bench {

/// Calls of operator new so far, of all threads.
std::uint64_t heap_allocations() noexcept;

/// Reports "allocs/op" for the iterations of its lifetime, which ends behind the loop.
class CountAllocations {
 public:
  explicit CountAllocations(benchmark::State& state) noexcept : state_{state} {}
  CountAllocations(const CountAllocations&) = delete;
  CountAllocations& operator=(const CountAllocations&) = delete;
  ~CountAllocations();

 private:
  benchmark::State& state_;
  std::uint64_t before_ = heap_allocations();
};

}  // namespace openvhd::bench
