// From a place in a disk to the file of its chain that has it: all data in the base, below so many
// files. Depth 1 is the leaf alone.
#include "image/disk_state.hpp"
#include "image/queue/chain_finder.hpp"
#include "support/look_up.hpp"
#include "support/mapped_image.hpp"

namespace openvhd::bench {
namespace {

constexpr std::uint64_t kSize = std::uint64_t{16} << 30;
constexpr std::uint64_t kBlock = std::uint64_t{2} << 20;
constexpr std::uint64_t kCacheBytes = std::uint64_t{16} << 20;

void chain_find(benchmark::State& state) {
  const MappedImage image{{.format = Format::vhdx,
                           .virtual_size = kSize,
                           .block_size = kBlock,
                           .depth = static_cast<std::uint32_t>(state.range(0))}};
  auto disk = open_and_read_through(image.path(), kBlock);
  auto& inside = detail::DiskState::of(disk);
  Readers readers;
  for (std::uint32_t i = 0; i < inside.chain().depth(); ++i) inside.chain().layer(i).share(readers);
  ChainFinder finder{inside.chain(), kCacheBytes};
  Found found;
  look_up(state, readers, kSize, [&](VirtualOffset at) {
    const bool known = finder.find(at, kRequestBytes, found);
    benchmark::DoNotOptimize(found);
    return known;
  });
}
BENCHMARK(chain_find)->ArgName("depth")->Arg(1)->Arg(2)->Arg(32);

void array_of_offsets(benchmark::State& state) { look_up_in_array(state, kSize, kBlock); }
BENCHMARK(array_of_offsets);

}  // namespace
}  // namespace openvhd::bench
