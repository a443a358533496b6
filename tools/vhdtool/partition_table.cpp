#include "partition_table.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

namespace vhdtool {
namespace {

using openvhd::Errc;
using openvhd::Error;
using openvhd::Result;
using openvhd::VirtualOffset;
using Bytes = std::span<const std::byte>;

constexpr std::size_t kMbrEntries = 446;
constexpr std::size_t kMbrEntryBytes = 16;
constexpr std::uint32_t kFirstLogical = 5;
constexpr std::uint32_t kMostLogical = 124;
constexpr std::uint8_t kProtective = 0xee;
constexpr std::array<std::uint8_t, 3> kExtended = {0x05, 0x0f, 0x85};
constexpr std::uint32_t kGptHeaderBytes = 92;
constexpr std::uint32_t kMostGptEntries = 1024;
constexpr std::uint32_t kMostGptEntryBytes = 4096;

template <class T>
T little(Bytes bytes, std::size_t at) noexcept {
  T value{};
  for (std::size_t i = 0; i < sizeof(T); ++i)
    value |=
        static_cast<T>(static_cast<T>(std::to_integer<std::uint8_t>(bytes[at + i])) << (8 * i));
  return value;
}

/// CRC-32 as UEFI has it; `zeroed` is the place of four bytes that count as zero.
std::uint32_t crc32(Bytes bytes, std::size_t zeroed) noexcept {
  std::uint32_t crc = ~0U;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const bool zero = i >= zeroed && i < zeroed + 4;
    crc ^= zero ? 0U : std::to_integer<std::uint32_t>(bytes[i]);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320U : 0U);
  }
  return ~crc;
}
constexpr std::size_t kNothingZeroed = ~std::size_t{0} - 4;

Error corrupt(VirtualOffset at, const char* what) noexcept {
  return {.code = Errc::corrupt, .where = {at.value}, .what = what};
}

struct MbrEntry {
  std::uint8_t type = 0;
  std::uint64_t first = 0;  // sectors
  std::uint64_t count = 0;
  bool extended() const noexcept { return std::ranges::find(kExtended, type) != kExtended.end(); }
};

MbrEntry mbr_entry(Bytes sector, std::size_t index) noexcept {
  const std::size_t at = kMbrEntries + index * kMbrEntryBytes;
  return {.type = std::to_integer<std::uint8_t>(sector[at + 4]),
          .first = little<std::uint32_t>(sector, at + 8),
          .count = little<std::uint32_t>(sector, at + 12)};
}

bool has_signature(Bytes sector) noexcept { return little<std::uint16_t>(sector, 510) == 0xaa55; }

/// Reads one disk's table; every number in it is somebody else's.
class Reader {
 public:
  explicit Reader(const TableSource& source) : source_{source}, sector_(source.sector) {}

  Result<PartitionTable> read() {
    if (source_.size < 2 * std::uint64_t{source_.sector}) return table_;
    if (auto got = load(0); !got) return got.error();
    if (!has_signature(sector_) || !looks_like_a_table()) return table_;
    for (std::size_t i = 0; i < 4; ++i) {
      if (mbr_entry(sector_, i).type == kProtective) return gpt();
    }
    return mbr();
  }

 private:
  /// A file system on the whole disk has the signature, too: of FAT and NTFS. A table has no odd
  /// flags, and nothing that begins at sector 0.
  bool looks_like_a_table() const noexcept {
    bool any = false;
    for (std::size_t i = 0; i < 4; ++i) {
      const auto flag = std::to_integer<std::uint8_t>(sector_[kMbrEntries + i * kMbrEntryBytes]);
      const MbrEntry entry = mbr_entry(sector_, i);
      if ((flag & 0x7f) != 0) return false;
      if (entry.type == 0) continue;
      if (entry.first == 0 || entry.count == 0) return false;
      any = true;
    }
    return any;
  }

  openvhd::Status load(std::uint64_t lba) { return source_.read({lba * source_.sector}, sector_); }

  openvhd::Status add(std::uint32_t number, std::uint64_t first, std::uint64_t count,
                      VirtualOffset entry) {
    const std::uint64_t sectors = source_.size / source_.sector;
    if (first == 0 || count == 0 || first >= sectors || count > sectors - first)
      return corrupt(entry, "partition table: a partition lies outside the disk");
    table_.partitions.push_back(
        {.number = number, .at = {first * source_.sector}, .length = count * source_.sector});
    return openvhd::Ok{};
  }

  Result<PartitionTable> mbr() {
    table_.kind = PartitionTable::Kind::mbr;
    std::array<MbrEntry, 4> entries;
    for (std::size_t i = 0; i < 4; ++i) entries[i] = mbr_entry(sector_, i);
    for (std::size_t i = 0; i < 4; ++i) {
      const MbrEntry& entry = entries[i];
      if (entry.type == 0) continue;
      if (entry.extended()) {
        if (auto got = logical(entry.first); !got) return got.error();
      } else if (auto got = add(static_cast<std::uint32_t>(i + 1), entry.first, entry.count,
                                {kMbrEntries + i * kMbrEntryBytes});
                 !got) {
        return got.error();
      }
    }
    std::ranges::sort(table_.partitions, {}, &Partition::number);
    return table_;
  }

  /// A chain of tables of two entries each: a partition, and where the next table is.
  openvhd::Status logical(std::uint64_t start) {
    std::uint64_t at = start;
    for (std::uint32_t number = kFirstLogical; number < kFirstLogical + kMostLogical; ++number) {
      if (at >= source_.size / source_.sector)
        return corrupt({0}, "partition table: a logical partition lies outside the disk");
      if (auto got = load(at); !got) return got.error();
      const VirtualOffset here{at * source_.sector};
      if (!has_signature(sector_)) return corrupt(here, "partition table: no signature");
      const MbrEntry own = mbr_entry(sector_, 0);
      const MbrEntry next = mbr_entry(sector_, 1);
      if (own.type != 0) {
        if (auto got = add(number, at + own.first, own.count, here); !got) return got.error();
      }
      if (next.type == 0) return openvhd::Ok{};
      at = start + next.first;
    }
    return corrupt({start * source_.sector}, "partition table: too many logical partitions");
  }

  Result<PartitionTable> gpt() {
    table_.kind = PartitionTable::Kind::gpt;
    auto first = gpt_at(1);
    if (first || first.error().code != Errc::corrupt) return first;
    table_.partitions.clear();
    auto backup = gpt_at(source_.size / source_.sector - 1);
    return backup ? std::move(backup) : std::move(first);
  }

  Result<PartitionTable> gpt_at(std::uint64_t lba) {
    if (auto got = load(lba); !got) return got.error();
    const VirtualOffset at{lba * source_.sector};
    if (std::memcmp(sector_.data(), "EFI PART", 8) != 0)
      return corrupt(at, "GPT header: no signature (UEFI 5.3.2)");
    const Bytes header = Bytes{sector_}.first(kGptHeaderBytes);
    if (little<std::uint32_t>(header, 12) != kGptHeaderBytes ||
        little<std::uint32_t>(header, 16) != crc32(header, 16))
      return corrupt(at, "GPT header: size or checksum (UEFI 5.3.2)");
    const auto entries_lba = little<std::uint64_t>(header, 72);
    const auto count = little<std::uint32_t>(header, 80);
    const auto bytes = little<std::uint32_t>(header, 84);
    const auto crc = little<std::uint32_t>(header, 88);
    if (count > kMostGptEntries || bytes < 128 || bytes > kMostGptEntryBytes || bytes % 128 != 0)
      return corrupt(at, "GPT header: number or size of entries (UEFI 5.3.2)");
    const std::uint64_t all = std::uint64_t{count} * bytes;
    const std::uint64_t sectors = source_.size / source_.sector;
    if (entries_lba < 2 || entries_lba >= sectors || all > (sectors - entries_lba) * source_.sector)
      return corrupt(at, "GPT header: entries outside the disk (UEFI 5.3.2)");
    std::vector<std::byte> entries(all);
    const VirtualOffset entries_at{entries_lba * source_.sector};
    if (auto got = source_.read(entries_at, entries); !got) return got.error();
    if (crc32(entries, kNothingZeroed) != crc)
      return corrupt(entries_at, "GPT entries: checksum (UEFI 5.3.3)");
    for (std::uint32_t i = 0; i < count; ++i) {
      const Bytes entry = Bytes{entries}.subspan(std::size_t{i} * bytes, bytes);
      const auto type = entry.first(16);
      if (std::ranges::all_of(type, [](std::byte b) { return b == std::byte{0}; })) continue;
      const auto from = little<std::uint64_t>(entry, 32);
      const auto to = little<std::uint64_t>(entry, 40);
      const VirtualOffset here = entries_at + std::uint64_t{i} * bytes;
      if (to < from || to == ~std::uint64_t{0})
        return corrupt(here, "GPT entry: it ends before it begins (UEFI 5.3.3)");
      if (auto got = add(i + 1, from, to - from + 1, here); !got) return got.error();
    }
    return table_;
  }

  const TableSource& source_;
  std::vector<std::byte> sector_;
  PartitionTable table_;
};

}  // namespace

const Partition* PartitionTable::find(std::uint32_t number) const noexcept {
  const auto found = std::ranges::find(partitions, number, &Partition::number);
  return found != partitions.end() ? &*found : nullptr;
}

Result<PartitionTable> read_partition_table(const TableSource& source) {
  return Reader{source}.read();
}

}  // namespace vhdtool
