// Opens, reads, writes, checks, dumps and repairs VHD images with changed bytes.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <tuple>
#include <vector>

#include "base/stored.hpp"
#include "fuzz/exercise.hpp"
#include "fuzz/patches.hpp"
#include "support/fixed_host.hpp"
#include "support/memory_file.hpp"
#include "vhd/disk.hpp"
#include "vhd/layout.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::test {
namespace {

constexpr std::size_t kFindings = 1000;
constexpr std::uint64_t kBlock = 64 * kKiB;

Store used(DiskType type) {
  FixedHost host;
  vhd::CreateSpec spec{.type = type,
                       .geometry = {.virtual_size = kMiB + 512,
                                    .logical_sector_size = 512,
                                    .physical_sector_size = 512,
                                    .block_size = type == DiskType::fixed ? 0 : kBlock}};
  if (type == DiskType::differencing) {
    spec.parent_id = host.random_guid();
    spec.parent_name = "parent.vhd";
    spec.parent_relative = ".\\parent.vhd";
  }
  MemoryFile file;
  if (!vhd::create(file, spec, host)) std::abort();
  auto image = vhd::open(std::make_unique<MemoryFile>(file.store()),
                         LayerOpenOptions{.writable = true}, host);
  if (!image) std::abort();
  std::vector<OpenedImage> images;
  images.push_back(*std::move(image));
  Disk disk{std::move(images), type != DiskType::differencing};
  const std::vector<std::byte> bytes(8192, std::byte{0xc3});
  for (const std::uint64_t at : {std::uint64_t{0}, 2 * kBlock - 4096, 9 * kBlock}) {
    if (!disk.write(at, bytes)) std::abort();
  }
  if (!disk.close()) std::abort();
  return file.store();
}

/// One's complement of the sum of all bytes but the checksum's.
void seal(MemoryStore& store, std::uint64_t at, std::size_t length, std::size_t field) {
  std::vector<std::byte> bytes(length);
  if (store.read(at, bytes) != length) return;
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < length; ++i) {
    if (i < field || i >= field + 4) sum += std::to_integer<std::uint32_t>(bytes[i]);
  }
  const Be32 checksum{~sum};
  store.write(at + field, std::as_bytes(std::span{&checksum, 1}));
}

std::uint64_t footer_at(const MemoryStore& store) {
  return store.size < vhd::kFooterBytes ? 0 : store.size - vhd::kFooterBytes;
}

void seal_all(MemoryStore& store, bool fixed) {
  seal(store, footer_at(store), vhd::kFooterBytes, offsetof(vhd::Footer, checksum));
  if (fixed) return;
  seal(store, 0, vhd::kFooterBytes, offsetof(vhd::Footer, checksum));
  seal(store, vhd::kFooterBytes, vhd::kHeaderBytes, offsetof(vhd::DynamicHeader, checksum));
}

const Store& base(unsigned index) {
  static const std::array<Store, 3> bases{used(DiskType::dynamic), used(DiskType::differencing),
                                          used(DiskType::fixed)};
  return bases[index];
}

std::unique_ptr<MemoryFile> file_of(const MemoryStore& contents, bool writable) {
  return std::make_unique<MemoryFile>(std::make_shared<MemoryStore>(contents),
                                      MemoryFile::Options{.writable = writable});
}

void judge(const MemoryStore& contents, bool azure) {
  FixedHost host;
  std::vector<Finding> findings;
  std::ignore = vhd::check(*file_of(contents, false), azure, findings, kFindings, nullptr);
  std::ignore = vhd::dump(*file_of(contents, false), 100);
  std::vector<std::string> actions;
  const auto mended = file_of(contents, true);
  std::ignore = vhd::repair(*mended, host, actions);
}

}  // namespace
}  // namespace openvhd::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace openvhd;
  using namespace openvhd::test;
  InputReader input{{data, size}};
  const unsigned kind = input.byte() % 3;
  MemoryStore contents{*base(kind)};
  const std::uint8_t flags = input.byte();
  // Footer copy, dynamic header, table, blocks, footer.
  const std::array<std::uint64_t, 5> windows{0, 512, 1536, kBlock, footer_at(contents)};
  apply_patches(input, contents, windows);
  if ((flags & 2) == 0) seal_all(contents, kind == 2);

  FixedHost host;
  const bool writable = (flags & 1) != 0;
  auto image = vhd::open(file_of(contents, writable), {.writable = writable}, host);
  if (image) exercise(*std::move(image), writable);
  if ((flags & 4) != 0) judge(contents, (flags & 8) != 0);
  return 0;
}
