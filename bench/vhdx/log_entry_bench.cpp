// Encoding a log entry of so many 4 KiB sectors, checksum included; beside it, copying them.
#include <cstring>
#include <vector>

#include "support/heap.hpp"
#include "vhdx/log_format.hpp"

namespace openvhd::bench {
namespace {

struct Sectors {
  explicit Sectors(std::size_t count) : bytes(count * vhdx::kLogSectorBytes, std::byte{0x5a}) {
    for (std::size_t i = 0; i < count; ++i) {
      writes.push_back({.at = {(i + 1) * vhdx::kLogSectorBytes},
                        .bytes = bytes.data() + i * vhdx::kLogSectorBytes});
    }
  }
  std::vector<std::byte> bytes;
  std::vector<vhdx::LogWrite> writes;
};

void build_log_entry(benchmark::State& state) {
  const Sectors sectors{static_cast<std::size_t>(state.range(0))};
  vhdx::LogEntrySpec spec;
  spec.sequence = 1;
  spec.writes = sectors.writes;
  std::vector<std::byte> out(vhdx::log_entry_bytes(sectors.writes.size(), 0));
  CountAllocations count{state};
  for (auto _ : state) {
    vhdx::build_log_entry(spec, out);
    benchmark::DoNotOptimize(out.data());
    ++spec.sequence;
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(sectors.bytes.size()));
}
BENCHMARK(build_log_entry)->ArgName("sectors")->Arg(1)->Arg(16)->Arg(126);

void copy_sectors(benchmark::State& state) {
  const Sectors sectors{static_cast<std::size_t>(state.range(0))};
  std::vector<std::byte> out(sectors.bytes.size());
  CountAllocations count{state};
  for (auto _ : state) {
    std::memcpy(out.data(), sectors.bytes.data(), out.size());
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(sectors.bytes.size()));
}
BENCHMARK(copy_sectors)->ArgName("sectors")->Arg(1)->Arg(16)->Arg(126);

}  // namespace
}  // namespace openvhd::bench
