// Any bytes as the first sectors, and the last ones, of a disk: what is said of its partition table
// lies inside the disk, and a table that is moved is found again where it was put.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <vector>

#include "image/partitions.hpp"

namespace openvhd {
namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

/// A disk of `bytes`, of which only what differs from zeros is kept.
class SmallDisk {
 public:
  SmallDisk(std::uint64_t bytes, std::uint32_t sector) : bytes_{bytes}, sector_{sector} {}

  ReadDisk reads() {
    return [this](std::uint64_t at, std::span<std::byte> into) -> Status {
      check(at, into.size());
      for (std::size_t i = 0; i < into.size(); i += sector_) {
        const auto found = sectors_.find(at + i);
        const auto piece = into.subspan(i, sector_);
        std::ranges::fill(piece, std::byte{0});
        if (found != sectors_.end()) std::ranges::copy(found->second, piece.begin());
      }
      return Ok{};
    };
  }
  WriteDisk writes() {
    return [this](std::uint64_t at, std::span<const std::byte> from) -> Status {
      check(at, from.size());
      for (std::size_t i = 0; i < from.size(); i += sector_) {
        const auto piece = from.subspan(i, sector_);
        sectors_[at + i].assign(piece.begin(), piece.end());
      }
      return Ok{};
    };
  }
  void put(std::uint64_t at, std::vector<std::byte> sector) {
    sectors_[at] = std::move(sector);
    sectors_[at].resize(sector_);
  }

 private:
  void check(std::uint64_t at, std::size_t length) const {
    require(at % sector_ == 0 && length % sector_ == 0);
    require(at <= bytes_ && length <= bytes_ - at);
  }

  std::uint64_t bytes_;
  std::uint32_t sector_;
  std::map<std::uint64_t, std::vector<std::byte>> sectors_;
};

/// A checksum where a header says that there is one: without it no mutation gets far.
void seal_header(std::vector<std::byte>& sector, const std::vector<std::byte>& array) {
  if (sector.size() < 512) return;
  const auto put = [&](std::size_t at, std::uint32_t value) {
    for (std::size_t i = 0; i < 4; ++i) sector[at + i] = static_cast<std::byte>(value >> 8 * i);
  };
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    length |= std::to_integer<std::uint64_t>(sector[12 + i]) << 8 * i;
  }
  std::uint64_t count = 0;
  std::uint64_t entry = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    count |= std::to_integer<std::uint64_t>(sector[80 + i]) << 8 * i;
    entry |= std::to_integer<std::uint64_t>(sector[84 + i]) << 8 * i;
  }
  if (count * entry <= array.size()) {
    put(88, crc32_iso(std::span{array}.first(static_cast<std::size_t>(count * entry))));
  }
  if (length < 20 || length > sector.size()) return;
  put(16, 0);
  put(16, crc32_iso(std::span{sector}.first(static_cast<std::size_t>(length))));
}

}  // namespace
}  // namespace openvhd

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace openvhd;
  if (size < 4) return 0;
  const std::uint32_t sector = (data[0] & 1) != 0 ? 4096 : 512;
  const bool sealed = (data[0] & 2) != 0;
  const bool at_end = (data[0] & 4) != 0;
  const std::uint64_t sectors = 1 + (std::uint64_t{data[1]} << 8 | data[2]) * (1 + data[3]);
  SmallDisk disk{sectors * sector, sector};
  const auto bytes = std::as_bytes(std::span{data, size}).subspan(4);
  std::vector<std::vector<std::byte>> pieces;
  for (std::size_t i = 0; i < bytes.size() && pieces.size() < 40; i += 512) {
    const auto piece = bytes.subspan(i, std::min<std::size_t>(512, bytes.size() - i));
    pieces.emplace_back(piece.begin(), piece.end());
    pieces.back().resize(sector);
  }
  if (sealed && pieces.size() > 1) {
    std::vector<std::byte> array;
    for (std::size_t i = 2; i < pieces.size(); ++i) {
      array.insert(array.end(), pieces[i].begin(), pieces[i].end());
    }
    array.resize(40 * sector);
    seal_header(pieces[1], array);
  }
  for (std::size_t i = 0; i < pieces.size() && i < sectors; ++i) {
    // The header at the end, where the first one is to be missing.
    const std::uint64_t lba = at_end && i == 1 ? sectors - 1 : i;
    disk.put(lba * sector, pieces[i]);
  }
  const auto table = read_partitions(disk.reads(), sectors * sector, sector);
  if (!table) {
    require(table.error().code == Errc::corrupt);
    return 0;
  }
  require(table->end <= sectors * sector);
  require((table->kind == TableKind::gpt) == table->gpt.has_value());
  if (!table->gpt) return 0;
  require(table->gpt->array.size() <= kMaxGptArrayBytes + sector);
  for (const std::uint64_t more : {std::uint64_t{0}, std::uint64_t{64}}) {
    SmallDisk target{(sectors + more) * sector, sector};
    const auto moved = move_gpt(*table->gpt, (sectors + more) * sector, sector, target.writes(),
                                [] { return Status{Ok{}}; });
    if (!moved) {
      require(moved.error().code == Errc::out_of_range);
      continue;
    }
    std::vector<std::byte> mbr(sector);
    mbr[450] = std::byte{0xee};
    mbr[510] = std::byte{0x55};
    mbr[511] = std::byte{0xaa};
    target.put(0, mbr);
    // The first array was not written: a backup is what there is of it, and fits.
    const auto again = read_partitions(target.reads(), (sectors + more) * sector, sector);
    require(again.has_value() && again->gpt.has_value());
    require(again->gpt->array == table->gpt->array && again->gpt->backup_valid);
    require(again->end == table->end);
  }
  return 0;
}
