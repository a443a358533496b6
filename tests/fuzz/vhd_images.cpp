#include <array>
#include <cstddef>
#include <cstdlib>

#include "base/stored.hpp"
#include "base/try.hpp"
#include "fuzz/images.hpp"
#include "support/fixed_host.hpp"
#include "vhd/disk.hpp"
#include "vhd/layout.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kBlock = 64 * kKiB;

Store used(const FuzzFormat& format, DiskType type) {
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
  use(format, file.store(), {0, 2 * kBlock - 4096, 9 * kBlock});
  return file.store();
}

/// One's complement of the sum of all bytes but the checksum's.
void seal_sum(MemoryStore& store, std::uint64_t at, std::size_t length, std::size_t field) {
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

class FuzzVhd final : public FuzzFormat {
 public:
  std::span<const Store> images() const override {
    static const std::array<Store, 3> all{used(*this, DiskType::dynamic),
                                          used(*this, DiskType::differencing),
                                          used(*this, DiskType::fixed)};
    return all;
  }
  // Footer copy, dynamic header, table, blocks, footer.
  std::vector<std::uint64_t> windows(const MemoryStore& image) const override {
    return {0, 512, 1536, kBlock, footer_at(image)};
  }
  void seal(MemoryStore& image) const override {
    seal_sum(image, footer_at(image), vhd::kFooterBytes, offsetof(vhd::Footer, checksum));
    // The start of a fixed disk is the guest's.
    std::array<std::byte, 1> first{};
    image.read(vhd::kFooterBytes, first);
    if (first[0] != std::byte{'c'}) return;
    seal_sum(image, 0, vhd::kFooterBytes, offsetof(vhd::Footer, checksum));
    seal_sum(image, vhd::kFooterBytes, vhd::kHeaderBytes, offsetof(vhd::DynamicHeader, checksum));
  }

  Result<OpenedImage> open(std::unique_ptr<File> file, bool writable, Host& host) const override {
    return vhd::open(std::move(file), {.writable = writable}, host);
  }
  Status check(File& file, std::vector<Finding>& findings) const override {
    std::vector<Finding> of_azure;
    OVHD_CHECK(vhd::check(file, true, of_azure, kFindings, nullptr));
    return vhd::check(file, false, findings, kFindings, nullptr);
  }
  Result<DumpNode> dump(File& file) const override { return vhd::dump(file, 100); }
  Status repair(File& file, std::vector<std::string>& actions) const override {
    FixedHost host;
    return vhd::repair(file, host, actions);
  }
};

}  // namespace

const FuzzFormat& fuzz_vhd() {
  static const FuzzVhd format;
  return format;
}

}  // namespace openvhd::test
