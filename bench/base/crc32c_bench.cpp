// CRC-32C over what VHDX checks: a log sector, a header block or region table, a log entry; beside
// it, copying as many bytes.
#include <cstddef>
#include <cstring>
#include <vector>

#include "base/crc32c.hpp"
#include "support/heap.hpp"

namespace openvhd::bench {
namespace {

void checksum(benchmark::State& state) {
  const std::vector<std::byte> bytes(static_cast<std::size_t>(state.range(0)), std::byte{0xa5});
  CountAllocations count{state};
  for (auto _ : state) benchmark::DoNotOptimize(crc32c(bytes));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(checksum)->ArgName("bytes")->Arg(4096)->Arg(65536)->Arg(1 << 20);

void copy(benchmark::State& state) {
  const std::vector<std::byte> bytes(static_cast<std::size_t>(state.range(0)), std::byte{0xa5});
  std::vector<std::byte> out(bytes.size());
  CountAllocations count{state};
  for (auto _ : state) {
    std::memcpy(out.data(), bytes.data(), out.size());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(copy)->ArgName("bytes")->Arg(4096)->Arg(65536)->Arg(1 << 20);

}  // namespace
}  // namespace openvhd::bench
