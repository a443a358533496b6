#include <array>

#include "base/crc32c.hpp"
#include "base/stored.hpp"
#include "fuzz/images.hpp"
#include "support/fixed_host.hpp"
#include "vhd/disk.hpp"
#include "vhdx/layout.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kLogAt = kMiB;
constexpr std::uint64_t kLogBytes = kMiB;

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
  demand(bool{vhdx::create(file, spec, host)}, "an image cannot be created");
  return file.store();
}

/// With some blocks; without `close` as a crash leaves it, the log full of work.
Store used(const FuzzFormat& format, DiskType type, bool close) {
  const Store store = created(type);
  const Store crashed = use(format, store, {0, 2 * kMiB - 4096, 5 * kMiB});
  return close ? store : crashed;
}

void seal_crc(MemoryStore& store, std::uint64_t at, std::size_t length, std::size_t field) {
  std::vector<std::byte> bytes(length);
  if (store.read(at, bytes) != length) return;
  const Le32 checksum{crc32c_without(bytes, field)};
  store.write(at + field, std::as_bytes(std::span{&checksum, 1}));
}

void seal_log(MemoryStore& store) {
  for (std::uint64_t at = kLogAt; at < kLogAt + kLogBytes; at += vhdx::kLogSectorBytes) {
    std::array<std::byte, sizeof(vhdx::LogEntryHeader)> bytes{};
    if (store.read(at, bytes) != bytes.size()) return;
    const auto header = load<vhdx::LogEntryHeader>(bytes);
    const std::uint64_t length = header.entry_length;
    if (header.signature != vhdx::kLogEntrySignature || length < bytes.size() ||
        length > kLogAt + kLogBytes - at) {
      continue;
    }
    seal_crc(store, at, length, vhdx::kLogChecksumField);
  }
}

class FuzzVhdx final : public FuzzFormat {
 public:
  std::span<const Store> images() const override {
    static const std::array<Store, 5> all{
        used(*this, DiskType::dynamic, true), used(*this, DiskType::dynamic, false),
        created(DiskType::fixed), used(*this, DiskType::differencing, true),
        used(*this, DiskType::differencing, false)};
    return all;
  }
  // The structures at fixed places, then regions and payload.
  std::vector<std::uint64_t> windows(const MemoryStore&) const override {
    return {0,
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
  }
  void seal(MemoryStore& image) const override {
    for (const FileOffset at : vhdx::kHeaderAt)
      seal_crc(image, at.value, vhdx::kHeaderBlockBytes, vhdx::kHeaderChecksumField);
    for (const FileOffset at : vhdx::kRegionTableAt)
      seal_crc(image, at.value, vhdx::kRegionTableBytes, vhdx::kRegionChecksumField);
    seal_log(image);
  }

  Result<OpenedImage> open(std::unique_ptr<File> file, bool writable, Host& host) const override {
    return vhdx::open(std::move(file), {.writable = writable}, host);
  }
  Status check(File& file, std::vector<Finding>& findings) const override {
    return vhdx::check(file, findings, kFindings, nullptr);
  }
  Result<DumpNode> dump(File& file) const override { return vhdx::dump(file, 100); }
  Status repair(File& file, std::vector<std::string>& actions) const override {
    FixedHost host;
    return vhdx::repair(file, host, actions);
  }
};

}  // namespace

const FuzzFormat& fuzz_vhdx() {
  static const FuzzVhdx format;
  return format;
}

}  // namespace openvhd::test
