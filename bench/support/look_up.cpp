#include "support/look_up.hpp"

#include <array>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <utility>

namespace openvhd::bench {

std::vector<VirtualOffset> random_places(std::uint64_t virtual_size) {
  std::mt19937_64 random{1};
  std::vector<VirtualOffset> places(kPlaces);
  for (VirtualOffset& place : places)
    place = {random() % (virtual_size / kRequestBytes) * kRequestBytes};
  return places;
}

Disk open_and_read_through(const std::string& path, std::uint64_t block_size) {
  const auto must = [](const auto& result) {
    if (result) return;
    std::fprintf(stderr, "%s\n", result.error().what);
    std::exit(1);
  };
  auto disk = Disk::open(path, {});
  must(disk);
  std::array<std::byte, kRequestBytes> into{};
  for (std::uint64_t at = 0; at < disk->geometry().virtual_size; at += block_size)
    must(disk->read({at}, into));
  return std::move(*disk);
}

void look_up_in_array(benchmark::State& state, std::uint64_t virtual_size,
                      std::uint64_t block_size) {
  const auto places = random_places(virtual_size);
  const int shift = std::countr_zero(block_size);
  std::vector<std::uint64_t> table(virtual_size >> shift);
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = (i + 4) << shift;
  std::size_t next = 0;
  CountAllocations count{state};
  for (auto _ : state) {
    const std::uint64_t at = places[next].value;
    benchmark::DoNotOptimize(table[at >> shift] + (at & (block_size - 1)));
    next = (next + 1) % kPlaces;
  }
}

}  // namespace openvhd::bench
