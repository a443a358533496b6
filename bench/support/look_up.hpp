/// Look-ups at random places of a disk that has been read through once, so that all of its tables
/// are in memory; and the yardstick, an array of block offsets.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <openvhd/disk.hpp>
#include <string>
#include <vector>

#include "io/readers.hpp"
#include "support/heap.hpp"

namespace openvhd::bench {

inline constexpr std::uint64_t kRequestBytes = 4096;
inline constexpr std::size_t kPlaces = std::size_t{1} << 16;

/// kPlaces places of 4 KiB in a disk, always the same.
std::vector<VirtualOffset> random_places(std::uint64_t virtual_size);

/// Opens read-only and reads 4 KiB out of every `block_size`. Ends the program on failure.
Disk open_and_read_through(const std::string& path, std::uint64_t block_size);

/// `find(at)` tells whether it found the place.
template <class Find>
void look_up(benchmark::State& state, Readers& readers, std::uint64_t virtual_size, Find&& find) {
  const auto places = random_places(virtual_size);
  Readers::Slot* const slot = readers.join();
  std::size_t next = 0;
  CountAllocations count{state};
  for (auto _ : state) {
    const unsigned side = slot->begin();
    const bool found = find(places[next]);
    slot->end_look_up();
    slot->end_transfer(side);
    if (!found) {
      state.SkipWithError("only the owner can tell: nothing to measure");
      break;
    }
    next = (next + 1) % kPlaces;
  }
  readers.leave(*slot);
}

/// What a look-up cannot be faster than: the offset of a block out of an array.
void look_up_in_array(benchmark::State& state, std::uint64_t virtual_size,
                      std::uint64_t block_size);

}  // namespace openvhd::bench
