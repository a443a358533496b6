#include "image/smallest_size.hpp"

#include <algorithm>
#include <vector>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "image/disk_state.hpp"

namespace openvhd {
namespace {

constexpr std::uint64_t kWindowBytes = kGiB;
constexpr std::size_t kPieceBytes = kMiB;

/// One past the last byte of [at, at + length) that is not zero; 0 when all are.
Result<std::uint64_t> data_end_in(Disk& disk, std::uint64_t at, std::uint64_t length,
                                  std::vector<std::byte>& buffer) {
  std::uint64_t end = at + length;
  while (end > at) {
    const std::size_t part = std::min<std::uint64_t>(kPieceBytes, end - at);
    const std::span<std::byte> piece = std::span{buffer}.first(part);
    OVHD_CHECK(disk.read({end - part}, piece));
    for (std::size_t i = part; i > 0; --i) {
      if (piece[i - 1] != std::byte{0}) return end - part + i;
    }
    end -= part;
  }
  return std::uint64_t{0};
}

/// The same for a window of the disk: only what is stored is read.
Result<std::uint64_t> data_end_in_window(Disk& disk, std::uint64_t at, std::uint64_t end,
                                         std::vector<std::byte>& buffer) {
  std::vector<MapEntry> stored;
  while (at < end) {
    OVHD_TRY(const MapEntry entry, disk.map({at}, end - at));
    if (entry.kind == MapEntry::Kind::data) stored.push_back(entry);
    at += entry.length;
  }
  for (auto entry = stored.rbegin(); entry != stored.rend(); ++entry) {
    OVHD_TRY(const std::uint64_t found, data_end_in(disk, entry->at.value, entry->length, buffer));
    if (found != 0) return found;
  }
  return std::uint64_t{0};
}

Result<std::uint64_t> data_end(Disk& disk, Progress* progress) {
  const std::uint64_t size = disk.geometry().virtual_size;
  std::vector<std::byte> buffer(kPieceBytes);
  for (std::uint64_t end = size; end > 0;) {
    const std::uint64_t at = align_down(end - 1, kWindowBytes);
    if (progress != nullptr && !progress->update(size - end, size)) {
      return Error{.code = Errc::cancelled, .what = "looking for the end of the data"};
    }
    OVHD_TRY(const std::uint64_t found, data_end_in_window(disk, at, end, buffer));
    if (found != 0) return found;
    end = at;
  }
  return std::uint64_t{0};
}

}  // namespace

ReadDisk reads_of(Disk& disk) {
  return [&disk](std::uint64_t at, std::span<std::byte> into) { return disk.read({at}, into); };
}

WriteDisk writes_of(Disk& disk) {
  return
      [&disk](std::uint64_t at, std::span<const std::byte> from) { return disk.write({at}, from); };
}

Result<std::uint64_t> parent_size_of(Disk& disk) {
  OVHD_TRY(const DiskInfo info, disk.info(false));
  return info.layers.size() < 2 ? 0 : info.layers[1].geometry.virtual_size;
}

Result<SmallestSize> smallest_of(Disk& disk, Progress* progress) {
  const Geometry& geometry = disk.geometry();
  const std::uint64_t sector = geometry.logical_sector_size;
  OVHD_TRY(const PartitionTable table,
           read_partitions(reads_of(disk), geometry.virtual_size, geometry.logical_sector_size));
  SmallestSize out{.basis = SizeBasis::data};
  switch (table.kind) {
    case TableKind::gpt:
      out = {.bytes = table.end + table.reserve, .basis = SizeBasis::gpt};
      break;
    case TableKind::mbr:
      out = {.bytes = table.end, .basis = SizeBasis::mbr};
      break;
    case TableKind::none: {
      OVHD_TRY(const std::uint64_t end, data_end(disk, progress));
      // Whole MiB: an end that falls into a block saves nothing.
      out.bytes = align_up(std::max(end, sector), kMiB);
      break;
    }
  }
  OVHD_TRY(const std::uint64_t parent, parent_size_of(disk));
  if (parent > out.bytes) out = {.bytes = parent, .basis = SizeBasis::parent};
  out.bytes = std::min(align_up(out.bytes, sector), geometry.virtual_size);
  return out;
}

Result<SmallestSize> smallest_size(const std::string& path, const ParentPolicy& parents,
                                   Progress* progress) {
  OVHD_TRY(Disk disk, Disk::open(path, {.parents = parents, .driver = DriverKind::blocking}));
  OVHD_TRY(const SmallestSize out, smallest_of(disk, progress));
  OVHD_CHECK(disk.close());
  return out;
}

}  // namespace openvhd
