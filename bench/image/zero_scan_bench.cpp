// Finding out that a buffer is all zeros; beside it, copying as many bytes.
#include <cstring>
#include <vector>

#include "image/convert/zero_scan.hpp"
#include "support/heap.hpp"

namespace openvhd::bench {
namespace {

void scan_zeros(benchmark::State& state) {
  const std::vector<std::byte> bytes(static_cast<std::size_t>(state.range(0)));
  CountAllocations count{state};
  for (auto _ : state) {
    benchmark::DoNotOptimize(is_zero(bytes));
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(scan_zeros)->ArgName("bytes")->Arg(4096)->Arg(64 << 10)->Arg(1 << 20)->Arg(64 << 20);

void copy_zeros(benchmark::State& state) {
  const std::vector<std::byte> bytes(static_cast<std::size_t>(state.range(0)));
  std::vector<std::byte> out(bytes.size());
  CountAllocations count{state};
  for (auto _ : state) {
    std::memcpy(out.data(), bytes.data(), out.size());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(copy_zeros)->ArgName("bytes")->Arg(4096)->Arg(64 << 10)->Arg(1 << 20)->Arg(64 << 20);

}  // namespace
}  // namespace openvhd::bench
