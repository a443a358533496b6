// Any bytes as a disk, whose partition table `vhdtool mount` reads: what it finds lies inside the
// disk, in whole sectors, and a refusal says that the table is corrupt.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "image/partitions.hpp"
#include "partition_table.hpp"

namespace {

constexpr std::size_t kSectors = 64;

void require(bool holds) {
  if (!holds) std::abort();
}

void put(std::vector<std::byte>& disk, std::size_t at, std::uint32_t value) {
  for (std::size_t i = 0; i < 4; ++i) disk[at + i] = static_cast<std::byte>(value >> 8 * i);
}

/// Checksums of a GPT whose header is in sector 1 and whose 128 bytes of entries are in sector 2:
/// without them no mutation gets far.
void seal(std::vector<std::byte>& disk, std::size_t sector) {
  const std::span<std::byte> header{disk.data() + sector, 92};
  put(disk, sector + 12, 92);
  put(disk, sector + 80, 1);
  put(disk, sector + 84, 128);
  put(disk, sector + 88, openvhd::crc32_iso({disk.data() + 2 * sector, 128}));
  put(disk, sector + 16, 0);
  put(disk, sector + 16, openvhd::crc32_iso(header));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::uint32_t sector = (data[0] & 1) != 0 ? 4096 : 512;
  std::vector<std::byte> disk(kSectors * sector);
  const auto bytes = std::as_bytes(std::span{data, size}).subspan(1);
  std::ranges::copy(bytes.first(std::min(bytes.size(), disk.size())), disk.begin());
  if ((data[0] & 2) != 0) seal(disk, sector);
  const auto table = vhdtool::read_partition_table(
      {.size = disk.size(),
       .sector = sector,
       .read = [&](openvhd::VirtualOffset at, std::span<std::byte> into) -> openvhd::Status {
         require(at.value <= disk.size() && into.size() <= disk.size() - at.value);
         std::copy_n(disk.begin() + static_cast<std::ptrdiff_t>(at.value), into.size(),
                     into.begin());
         return openvhd::Ok{};
       }});
  if (!table) {
    require(table.error().code == openvhd::Errc::corrupt);
    return 0;
  }
  for (const vhdtool::Partition& partition : table->partitions) {
    require(partition.length != 0 && partition.length % sector == 0);
    require(partition.at.value % sector == 0 && partition.at.value < disk.size());
    require(partition.length <= disk.size() - partition.at.value);
  }
  return 0;
}
