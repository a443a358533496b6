// Opens, reads, writes, checks, dumps, repairs and replays VHDX images with changed bytes.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <tuple>
#include <vector>

#include "base/crc32c.hpp"
#include "base/stored.hpp"
#include "fuzz/exercise.hpp"
#include "fuzz/patches.hpp"
#include "support/fixed_host.hpp"
#include "support/memory_file.hpp"
#include "vhd/disk.hpp"
#include "vhdx/layout.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kLogAt = kMiB;
constexpr std::uint64_t kLogBytes = kMiB;
constexpr std::size_t kFindings = 1000;

Store created(DiskType type) {
  FixedHost host;
  vhdx::CreateSpec spec{
      .type = type,
      .geometry = {.virtual_size = 6 * kMiB,
                   .logical_sector_size = 512,
                   .physical_sector_size = 4096,
                   .block_size = kMiB},
      .log_bytes = kLogBytes,
  };
  if (type == DiskType::differencing) {
    spec.parent_linkage = host.random_guid();
    spec.parent_relative = ".\\parent.vhdx";
  }
  MemoryFile file;
  if (!vhdx::create(file, spec, host)) std::abort();
  return file.store();
}

/// With some blocks; without `close` as a crash leaves it, the log full of work.
Store used(DiskType type, bool close) {
  const Store store = created(type);
  FixedHost host;
  auto image =
      vhdx::open(std::make_unique<MemoryFile>(store), LayerOpenOptions{.writable = true}, host);
  if (!image) std::abort();
  std::vector<OpenedImage> images;
  images.push_back(*std::move(image));
  Disk disk{std::move(images), type != DiskType::differencing};
  const std::vector<std::byte> bytes(8192, std::byte{0xc3});
  for (const std::uint64_t at : {std::uint64_t{0}, 2 * kMiB - 4096, 5 * kMiB}) {
    if (!disk.write(at, bytes)) std::abort();
  }
  if (!disk.flush()) std::abort();
  const auto crashed = std::make_shared<MemoryStore>(*store);
  if (!disk.close()) std::abort();
  return close ? store : crashed;
}

/// Where the changes of a window begin: the structures at fixed places, then regions and payload.
constexpr std::array<std::uint64_t, 12> kWindows{0,
                                                 64 * kKiB,
                                                 128 * kKiB,
                                                 192 * kKiB,
                                                 256 * kKiB,
                                                 kLogAt,
                                                 kLogAt + 64 * kKiB,
                                                 2 * kMiB,
                                                 2 * kMiB + 64 * kKiB,
                                                 3 * kMiB,
                                                 4 * kMiB,
                                                 5 * kMiB};

void seal(MemoryStore& store, std::uint64_t at, std::size_t length, std::size_t field) {
  std::vector<std::byte> bytes(length);
  if (store.read(at, bytes) != length) return;
  const Le32 checksum{crc32c_without(bytes, field)};
  store.write(at + field, std::as_bytes(std::span{&checksum, 1}));
}

/// Makes the checksums right again, so that changes reach what lies behind them.
void seal_all(MemoryStore& store) {
  for (const FileOffset at : vhdx::kHeaderAt) {
    seal(store, at.value, vhdx::kHeaderBlockBytes, vhdx::kHeaderChecksumField);
  }
  for (const FileOffset at : vhdx::kRegionTableAt) {
    seal(store, at.value, vhdx::kRegionTableBytes, vhdx::kRegionChecksumField);
  }
  for (std::uint64_t at = kLogAt; at < kLogAt + kLogBytes; at += vhdx::kLogSectorBytes) {
    std::array<std::byte, sizeof(vhdx::LogEntryHeader)> bytes{};
    if (store.read(at, bytes) != bytes.size()) return;
    const auto header = load<vhdx::LogEntryHeader>(bytes);
    const std::uint64_t length = header.entry_length;
    if (header.signature != vhdx::kLogEntrySignature || length < bytes.size() ||
        length > kLogAt + kLogBytes - at) {
      continue;
    }
    seal(store, at, length, vhdx::kLogChecksumField);
  }
}

const Store& base(unsigned index) {
  static const std::array<Store, 5> bases{
      used(DiskType::dynamic, true), used(DiskType::dynamic, false), created(DiskType::fixed),
      used(DiskType::differencing, true), used(DiskType::differencing, false)};
  return bases[index % bases.size()];
}

std::unique_ptr<MemoryFile> file_of(const MemoryStore& contents, bool writable) {
  return std::make_unique<MemoryFile>(std::make_shared<MemoryStore>(contents),
                                      MemoryFile::Options{.writable = writable});
}

void judge(const MemoryStore& contents) {
  FixedHost host;
  std::vector<Finding> findings;
  std::ignore = vhdx::check(*file_of(contents, false), findings, kFindings, nullptr);
  std::ignore = vhdx::dump(*file_of(contents, false), 100);
  std::ignore = vhdx::replay(*file_of(contents, false), true, host);
  std::vector<std::string> actions;
  const auto mended = file_of(contents, true);
  std::ignore = vhdx::repair(*mended, host, actions);
}

}  // namespace
}  // namespace openvhd::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace openvhd;
  using namespace openvhd::test;
  InputReader input{{data, size}};
  MemoryStore contents{*base(input.byte())};
  const std::uint8_t flags = input.byte();
  apply_patches(input, contents, kWindows);
  if ((flags & 2) == 0) seal_all(contents);

  FixedHost host;
  const bool writable = (flags & 1) != 0;
  auto image = vhdx::open(file_of(contents, writable), {.writable = writable}, host);
  if (image) exercise(*std::move(image), writable);
  if ((flags & 4) != 0) judge(contents);
  return 0;
}
