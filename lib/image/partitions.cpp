#include "image/partitions.hpp"

#include <algorithm>
#include <array>

#include "base/checked.hpp"
#include "base/stored.hpp"
#include "base/try.hpp"

namespace openvhd {
namespace {

// Master boot record: four entries at 446, the signature at 510.
struct MbrEntry {
  std::uint8_t flags;                     //  0  0x80 active, else 0
  std::array<std::uint8_t, 3> first_chs;  //  1
  std::uint8_t type;                      //  4  0: unused; 0xee: the disk has a GPT
  std::array<std::uint8_t, 3> last_chs;   //  5
  Le32 first;                             //  8  LBA
  Le32 count;                             // 12  sectors
};
static_assert(OnDisk<MbrEntry, 16>);
constexpr std::size_t kMbrEntriesAt = 446;
constexpr std::size_t kMbrSignatureAt = 510;
constexpr unsigned kMbrEntries = 4;
constexpr std::uint8_t kProtective = 0xee;

// UEFI 2.10, 5.3.2: GPT header. All integers are little-endian.
struct GptHeader {
  Le64 signature;                          //  0  "EFI PART"
  Le32 revision;                           //  8
  Le32 header_size;                        // 12  bytes; 92 up to the sector size
  Le32 header_crc;                         // 16  of header_size bytes, this field taken as zero
  Le32 reserved;                           // 20
  Le64 my_lba;                             // 24
  Le64 alternate_lba;                      // 32
  Le64 first_usable;                       // 40  LBA
  Le64 last_usable;                        // 48  LBA
  std::array<std::uint8_t, 16> disk_guid;  // 56
  Le64 entries_lba;                        // 72
  Le32 entry_count;                        // 80
  Le32 entry_size;                         // 84  bytes; 128 times a power of two
  Le32 entries_crc;                        // 88
};
static_assert(OnDisk<GptHeader, 92>);
constexpr std::uint64_t kGptSignature = 0x5452415020494645;  // "EFI PART"
constexpr std::size_t kGptCrcField = 16;
struct GptEntry {
  std::array<std::uint8_t, 16> type;    //  0  all zeros: unused
  std::array<std::uint8_t, 16> unique;  // 16
  Le64 first;                           // 32  LBA
  Le64 last;                            // 40  LBA, the last one of it
};
static_assert(OnDisk<GptEntry, 48>);
constexpr std::uint32_t kMinEntryBytes = 128;
constexpr std::uint64_t kMaxLba = std::uint64_t{1} << 62;

/// The numbers of one disk.
struct Shape {
  std::uint64_t sectors = 0;
  std::uint32_t sector_bytes = 0;
};

std::uint32_t header_crc(std::span<const std::byte> sector, std::uint32_t size) {
  std::vector<std::byte> copy(sector.begin(), sector.end());
  store(std::span{copy}.subspan(kGptCrcField), Le32{0});
  return crc32_iso(std::span{copy}.first(size));
}

/// The header's own word, before anything that it points to is looked at.
bool header_valid(std::span<const std::byte> sector, std::uint64_t lba, const Shape& shape) {
  const auto header = load<GptHeader>(sector);
  if (header.signature != kGptSignature) return false;
  if (header.header_size < sizeof(GptHeader) || header.header_size > shape.sector_bytes) {
    return false;
  }
  if (header_crc(sector, header.header_size) != header.header_crc) return false;
  if (header.my_lba != lba) return false;
  if (header.entry_size < kMinEntryBytes || !std::has_single_bit(+header.entry_size)) return false;
  const std::uint64_t bytes = std::uint64_t{header.entry_size} * header.entry_count;
  if (bytes == 0 || bytes > kMaxGptArrayBytes) return false;
  // From here on sums of places cannot overflow.
  if (header.last_usable > kMaxLba || header.first_usable > kMaxLba) return false;
  const std::uint64_t sectors = div_ceil(bytes, shape.sector_bytes);
  return header.entries_lba >= 2 && range_fits(header.entries_lba, sectors, shape.sectors);
}

/// The last sector that a partition has; empty where an entry cannot be.
std::optional<std::uint64_t> last_used_of(std::span<const std::byte> array,
                                          const GptHeader& header) {
  std::uint64_t last = 0;
  for (std::uint32_t i = 0; i < header.entry_count; ++i) {
    const auto entry = load<GptEntry>(array.subspan(std::size_t{i} * header.entry_size));
    const bool unused = std::ranges::all_of(entry.type, [](std::uint8_t b) { return b == 0; });
    if (unused) continue;
    if (entry.last < entry.first || entry.last > header.last_usable) return std::nullopt;
    last = std::max<std::uint64_t>(last, entry.last);
  }
  return last;
}

Result<std::optional<Gpt>> read_copy(const ReadDisk& read, std::uint64_t lba, const Shape& shape) {
  Gpt out;
  out.header.resize(shape.sector_bytes);
  OVHD_CHECK(read(lba * shape.sector_bytes, out.header));
  if (!header_valid(out.header, lba, shape)) return std::optional<Gpt>{};
  const auto header = load<GptHeader>(out.header);
  const std::uint64_t bytes = std::uint64_t{header.entry_size} * header.entry_count;
  out.array.resize(align_up(bytes, shape.sector_bytes));
  OVHD_CHECK(read(header.entries_lba * shape.sector_bytes, out.array));
  if (crc32_iso(std::span{out.array}.first(bytes)) != header.entries_crc) {
    return std::optional<Gpt>{};
  }
  const auto last = last_used_of(out.array, header);
  if (!last) return std::optional<Gpt>{};
  out.last_used = *last;
  out.array_lba = header.entries_lba;
  return std::optional{std::move(out)};
}

Result<PartitionTable> read_gpt(const ReadDisk& read, const Shape& shape) {
  OVHD_TRY(std::optional<Gpt> gpt, read_copy(read, 1, shape));
  if (!gpt) {
    OVHD_TRY(gpt, read_copy(read, shape.sectors - 1, shape));
    if (gpt) gpt->from_backup = gpt->backup_valid = true;
  } else if (load<GptHeader>(gpt->header).alternate_lba == shape.sectors - 1) {
    OVHD_TRY(const auto backup, read_copy(read, shape.sectors - 1, shape));
    gpt->backup_valid = backup.has_value();
  }
  if (!gpt) {
    return Error{.code = Errc::corrupt,
                 .what =
                     "GPT: no copy of it is valid, so what is in use is not known "
                     "(UEFI 5.3.2)"};
  }
  PartitionTable out{.kind = TableKind::gpt};
  const auto header = load<GptHeader>(gpt->header);
  const std::uint64_t used = std::max<std::uint64_t>(gpt->last_used + 1, header.first_usable);
  out.end = std::min(used, shape.sectors) * shape.sector_bytes;
  out.reserve = gpt->array.size() + shape.sector_bytes;
  out.gpt = std::move(gpt);
  return out;
}

struct MbrPartition {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
};

/// Empty where this is no table.
std::optional<std::vector<MbrPartition>> mbr_partitions(std::span<const std::byte> sector,
                                                        const Shape& shape, bool& protective) {
  std::vector<MbrPartition> out;
  for (unsigned i = 0; i < kMbrEntries; ++i) {
    const auto entry = load<MbrEntry>(sector.subspan(kMbrEntriesAt + i * sizeof(MbrEntry)));
    if (entry.flags != 0 && entry.flags != 0x80) return std::nullopt;
    if (entry.type == 0) continue;
    if (entry.type == kProtective) {
      protective = true;
      continue;
    }
    const std::uint64_t end = std::uint64_t{entry.first} + entry.count;
    if (entry.first == 0 || entry.count == 0 || end > shape.sectors) return std::nullopt;
    out.push_back({entry.first, end});
  }
  std::ranges::sort(out, {}, &MbrPartition::first);
  for (std::size_t i = 1; i < out.size(); ++i) {
    if (out[i].first < out[i - 1].end) return std::nullopt;
  }
  return out;
}

}  // namespace

std::uint32_t crc32_iso(std::span<const std::byte> bytes) noexcept {
  std::uint32_t crc = ~std::uint32_t{0};
  for (const std::byte b : bytes) {
    crc ^= std::to_integer<std::uint32_t>(b);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

Result<PartitionTable> read_partitions(const ReadDisk& read, std::uint64_t disk_bytes,
                                       std::uint32_t sector_bytes) {
  const Shape shape{.sectors = disk_bytes / sector_bytes, .sector_bytes = sector_bytes};
  // A protective MBR, a header and an array take three sectors.
  if (shape.sectors < 3) return PartitionTable{};
  std::vector<std::byte> sector(sector_bytes);
  OVHD_CHECK(read(0, sector));
  const bool signed_mbr =
      sector[kMbrSignatureAt] == std::byte{0x55} && sector[kMbrSignatureAt + 1] == std::byte{0xaa};
  if (!signed_mbr) return PartitionTable{};
  bool protective = false;
  const auto partitions = mbr_partitions(sector, shape, protective);
  if (protective) return read_gpt(read, shape);
  if (!partitions || partitions->empty()) return PartitionTable{};
  return PartitionTable{.kind = TableKind::mbr, .end = partitions->back().end * sector_bytes};
}

namespace {

/// The header at `lba`, whose other copy is at `other`, with its checksum.
std::vector<std::byte> header_at(const Gpt& gpt, std::uint64_t lba, std::uint64_t other,
                                 std::uint64_t array_lba, std::uint64_t last_usable) {
  std::vector<std::byte> sector = gpt.header;
  auto header = load<GptHeader>(sector);
  header.my_lba = Le64{lba};
  header.alternate_lba = Le64{other};
  header.entries_lba = Le64{array_lba};
  header.last_usable = Le64{last_usable};
  header.header_crc = Le32{0};
  store(std::span{sector}, header);
  header.header_crc = Le32{header_crc(sector, header.header_size)};
  store(std::span{sector}, header);
  return sector;
}

}  // namespace

Status move_gpt(const Gpt& gpt, std::uint64_t disk_bytes, std::uint32_t sector_bytes,
                const WriteDisk& write, const std::function<Status()>& flush) {
  const std::uint64_t sectors = disk_bytes / sector_bytes;
  const std::uint64_t array_sectors = gpt.array.size() / sector_bytes;
  const auto old = load<GptHeader>(gpt.header);
  const std::uint64_t used = std::max<std::uint64_t>(gpt.last_used + 1, old.first_usable);
  const auto needed = checked_add(used, array_sectors + 1);
  if (!needed || *needed > sectors) {
    return Error{.code = Errc::out_of_range,
                 .what = "GPT: a partition is where its backup would be (UEFI 5.3.1)"};
  }
  const std::uint64_t backup = sectors - 1;
  const std::uint64_t backup_array = backup - array_sectors;
  const std::uint64_t last_usable = backup_array - 1;
  if (!gpt.from_backup && gpt.array_lba + array_sectors > backup_array) {
    return Error{.code = Errc::out_of_range,
                 .what = "GPT: its first array is where its backup would be (UEFI 5.3.1)"};
  }
  // Of a table that is left as its backup alone, the first array belongs where it always is; and
  // that backup may be where the new one goes, so that the first copy is made whole before.
  const std::uint64_t first_array = gpt.from_backup ? 2 : gpt.array_lba;
  if (gpt.from_backup) {
    if (first_array + array_sectors > old.first_usable) {
      return Error{.code = Errc::out_of_range,
                   .what = "GPT: no room for its first array before the partitions (UEFI 5.3.1)"};
    }
    OVHD_CHECK(write(first_array * sector_bytes, gpt.array));
    OVHD_CHECK(flush());
    OVHD_CHECK(write(sector_bytes, header_at(gpt, 1, old.my_lba, first_array, old.last_usable)));
    OVHD_CHECK(flush());
  }
  OVHD_CHECK(write(backup_array * sector_bytes, gpt.array));
  OVHD_CHECK(write(backup * sector_bytes, header_at(gpt, backup, 1, backup_array, last_usable)));
  OVHD_CHECK(flush());
  OVHD_CHECK(write(sector_bytes, header_at(gpt, 1, backup, first_array, last_usable)));
  return flush();
}

}  // namespace openvhd
