#include "fuzz/exercise.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "vhd/disk.hpp"

namespace openvhd::test {
namespace {

constexpr std::size_t kRun = std::size_t{64} << 10;
constexpr std::uint64_t kMaxTableBytes = std::uint64_t{16} << 20;

/// The start, the first block's end, the middle and the end of the disk.
std::array<std::uint64_t, 4> places(const Geometry& geometry) {
  const std::uint64_t size = geometry.virtual_size;
  const std::uint64_t run = std::min<std::uint64_t>(kRun, size);
  const std::uint64_t sector = geometry.logical_sector_size;
  const std::uint64_t across = std::max(geometry.block_size, run) - run / 2;
  const std::array<std::uint64_t, 4> wanted{0, across, size / 2, size - run};
  std::array<std::uint64_t, 4> out{};
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const std::uint64_t at = std::min(wanted[i], size - run);
    out[i] = at - at % sector;
  }
  return out;
}

void write_and_read_back(Disk& disk, std::uint64_t at, std::size_t length, std::byte value) {
  const std::vector<std::byte> written(length, value);
  if (!disk.write(at, written)) return;
  std::vector<std::byte> read(length);
  if (disk.read(at, read)) demand(read == written, "what was written does not come back");
}

}  // namespace

void exercise(OpenedImage image, bool writable) {
  File& file = *image.file;
  ImageLayer& layer = *image.layer;
  const Geometry geometry = layer.geometry();
  // Ignored on purpose: a damaged image may fail anywhere, as long as it fails with an error.
  std::ignore = layer.info();
  std::ignore = layer.count_blocks(file, kMaxTableBytes);
  const bool complete = layer.type() != DiskType::differencing;
  std::vector<OpenedImage> images;
  images.push_back(std::move(image));
  Disk disk{std::move(images), complete};

  const std::size_t run = std::min<std::uint64_t>(kRun, geometry.virtual_size);
  std::vector<std::byte> buffer(run);
  for (const std::uint64_t at : places(geometry)) std::ignore = disk.read(at, buffer);
  if (!writable) return;
  for (const std::uint64_t at : places(geometry)) {
    write_and_read_back(disk, at, run, std::byte{0x5a});
    std::ignore = disk.clear(at, geometry.logical_sector_size, ClearKind::zero);
  }
  std::ignore = disk.flush();
  std::ignore =
      disk.clear(0, std::min<std::uint64_t>(geometry.virtual_size, 64 * kRun), ClearKind::trim);
  std::ignore = disk.close();
}

int fuzz_open(const FuzzFormat& format, std::span<const std::uint8_t> input) {
  InputReader reader{input};
  const ChangedImage changed = changed_image(format, reader);
  const bool writable = (changed.flags & 1) != 0;
  FixedHost host;
  if (auto image = format.open(file_of(changed.contents, writable), writable, host)) {
    exercise(*std::move(image), writable);
  }
  return 0;
}

}  // namespace openvhd::test
