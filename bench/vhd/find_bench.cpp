// From a place in a dynamic VHD to the place in its file: 8 GiB in 2 MiB blocks.
#include "image/disk_state.hpp"
#include "support/look_up.hpp"
#include "support/mapped_image.hpp"

namespace openvhd::bench {
namespace {

constexpr std::uint64_t kSize = std::uint64_t{8} << 30;
constexpr std::uint64_t kBlock = std::uint64_t{2} << 20;

void vhd_find(benchmark::State& state) {
  const MappedImage image{{.format = Format::vhd, .virtual_size = kSize, .block_size = kBlock}};
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

BENCHMARK(vhd_find);

void array_of_offsets(benchmark::State& state) { look_up_in_array(state, kSize, kBlock); }
BENCHMARK(array_of_offsets);

}  // namespace
}  // namespace openvhd::bench
