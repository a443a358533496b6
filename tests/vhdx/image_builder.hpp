/// VHDX images made by hand, byte by byte from [MS-VHDX], sharing no structure with lib/vhdx, so
/// that both would have to be wrong in the same way. Offsets in this file are the specification's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/memory_file.hpp"

namespace openvhd::test {

inline constexpr std::uint64_t kMegabyte = 1024 * 1024;

/// A GUID as its 16 bytes are on disk.
using DiskGuid = std::array<std::uint8_t, 16>;
/// From its printed form, 36 characters.
DiskGuid disk_guid(const std::string& text);
inline const std::string kLogGuid = "11111111-2222-4333-8444-555555555555";
inline const std::string kBatGuid = "2dc27766-f623-4200-9d64-115e9bfd4a08";
inline const std::string kMetadataGuid = "8b7ca206-4790-4b9a-b8fe-575f050f886e";
inline const std::string kParametersGuid = "caa16737-fa36-4d43-b3b6-33f0aa44e76b";
inline const std::string kSizeGuid = "2fa54224-cd1b-4876-b211-5dbed83bf4b8";
inline const std::string kPage83Guid = "beca12ab-b2e6-4523-93ef-c309e000c746";
inline const std::string kLogicalGuid = "8141bf1d-a96f-4709-ba47-f233a8faab5f";
inline const std::string kPhysicalGuid = "cda348c7-445d-4471-9cc9-e9885251c556";
inline const std::string kLocatorGuid = "a8d35f2d-b30b-454d-abf7-d3d84834ab0c";
inline const std::string kLocatorTypeGuid = "b04aefb7-d19e-4a81-b789-25b8e9445913";

/// Little-endian bytes, growing.
class Bytes {
 public:
  explicit Bytes(std::size_t size = 0) : data(size) {}
  Bytes& put(std::size_t at, unsigned width, std::uint64_t value);
  Bytes& put(std::size_t at, const std::string& text);
  Bytes& put_guid(std::size_t at, const std::string& printed);
  Bytes& put(std::size_t at, const std::vector<std::byte>& bytes);
  /// CRC-32C of everything, stored at `at`, which counts as zero.
  Bytes& seal(std::size_t at);
  std::vector<std::byte> data;

 private:
  void reach(std::size_t end);
};

struct BuiltHeader {
  bool present = true;
  std::uint64_t sequence = 1;
  std::string log_guid;  // empty: nil
  std::uint16_t log_version = 0;
  std::uint16_t version = 1;
  std::uint64_t log_at = kMegabyte;
  std::uint32_t log_length = kMegabyte;
  std::uint8_t file_write_seed = 0xf1;
};

struct BuiltRegion {
  std::string guid;
  std::uint64_t at = 0;
  std::uint32_t length = kMegabyte;
  std::uint32_t flags = 1;
};

struct BuiltItem {
  std::string guid;
  std::uint32_t flags = 4;
  std::vector<std::byte> value;
  // Where the table says the item is; the bytes go there when they fit the region.
  std::uint32_t offset = 0;
  std::uint32_t length = 0;
};

/// 16 MiB disk, 1 MiB blocks; log, metadata, BAT and block 0 (whose bytes are `payload`) in the
/// second to fifth MiB. Change what a test is about, then build.
struct Image {
  Image();

  std::array<BuiltHeader, 2> headers;
  std::string signature = "vhdxfile";
  std::array<std::vector<BuiltRegion>, 2> regions;
  std::vector<BuiltItem> items;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> bat;  // index, entry
  std::vector<std::pair<std::uint64_t, std::vector<std::byte>>> extra;
  std::uint64_t metadata_at = 2 * kMegabyte;
  std::uint64_t bat_at = 3 * kMegabyte;
  std::uint64_t file_bytes = 5 * kMegabyte;
  std::uint8_t payload = 0xa5;

  BuiltRegion& region(const std::string& guid, unsigned copy = 0);
  void each_table(void (*change)(std::vector<BuiltRegion>&));
  BuiltItem& item(const std::string& guid);
  void set_item(const std::string& guid, unsigned width, std::uint64_t value);
  /// Makes it differencing.
  void add_parent(const std::vector<std::pair<std::string, std::string>>& pairs);
  /// Sets the log GUID in the current header and puts `bytes` into the log.
  void make_dirty(std::vector<std::byte> log);

  std::shared_ptr<MemoryStore> build() const;
};

/// A parent locator item; texts are ASCII.
std::vector<std::byte> locator_item(const std::vector<std::pair<std::string, std::string>>& pairs,
                                    const std::string& type = kLocatorTypeGuid);

struct BuiltWrite {
  std::uint64_t at = 0;
  std::vector<std::byte> sector;  // 4096 bytes: data; empty: zeros
  std::uint64_t zero_length = 0;
};

struct BuiltEntry {
  std::uint64_t sequence = 1;
  std::uint32_t tail = 0;
  std::uint64_t flushed = 5 * kMegabyte;
  std::uint64_t last = 5 * kMegabyte;
  std::string guid = kLogGuid;
  std::vector<BuiltWrite> writes{};
};

/// The bytes of one log entry.
std::vector<std::byte> log_entry(const BuiltEntry& entry);
/// Puts an entry into a log image at `at`, around its end where it must; returns where it ends.
std::size_t put_entry(std::vector<std::byte>& log, std::size_t at, const BuiltEntry& entry);
/// A 4 KiB sector of one byte value.
std::vector<std::byte> sector_of(int value);

}  // namespace openvhd::test
