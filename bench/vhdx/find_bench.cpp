// From a place in a VHDX to the place in its file: 64 GiB in 1 MiB blocks, a table of 512 KiB.
#include "image/disk_state.hpp"
#include "support/look_up.hpp"
#include "support/mapped_image.hpp"

namespace openvhd::bench {
namespace {

constexpr std::uint64_t kSize = std::uint64_t{64} << 30;
constexpr std::uint64_t kBlock = std::uint64_t{1} << 20;

void vhdx_find(benchmark::State& state) {
  const MappedImage image{{.format = Format::vhdx, .virtual_size = kSize, .block_size = kBlock}};
  auto disk = open_and_read_through(image.path(), kBlock);
  Layer& layer = detail::DiskState::of(disk).image(0);
  Readers readers;
  layer.share(readers);
  Extent extent;
  look_up(state, readers, kSize, [&](VirtualOffset at) {
    const bool found = layer.find(at, kRequestBytes, extent);
    benchmark::DoNotOptimize(extent);
    return found;
  });
}

BENCHMARK(vhdx_find);

void array_of_offsets(benchmark::State& state) { look_up_in_array(state, kSize, kBlock); }
BENCHMARK(array_of_offsets);

}  // namespace
}  // namespace openvhd::bench
