// CRC-32C over what VHDX checks: a log sector, a header block or region table, a log entry.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <vector>

#include "base/crc32c.hpp"

namespace openvhd {
namespace {

void checksum(benchmark::State& state) {
  const std::vector<std::byte> bytes(static_cast<std::size_t>(state.range(0)), std::byte{0xa5});
  for (auto _ : state) benchmark::DoNotOptimize(crc32c(bytes));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(checksum)->ArgName("bytes")->Arg(4096)->Arg(65536)->Arg(1 << 20);

}  // namespace
}  // namespace openvhd
