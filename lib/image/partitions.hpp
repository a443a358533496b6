/// Partition tables, as far as the size of a disk depends on them: where the last partition ends,
/// and where the copies of a GPT lie. All of it is a guest's, and may be anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <openvhd/error.hpp>
#include <optional>
#include <span>
#include <vector>

namespace openvhd {

/// Reads `into.size()` bytes of the disk at `at`; both multiples of the sector size, inside it.
using ReadDisk = std::function<Status(std::uint64_t at, std::span<std::byte> into)>;
using WriteDisk = std::function<Status(std::uint64_t at, std::span<const std::byte> from)>;

/// Most bytes of an array of GPT entries that are looked at; the usual one has 16 KiB.
inline constexpr std::uint64_t kMaxGptArrayBytes = 1024 * 1024;

/// A GPT of which one copy is valid (UEFI 2.10, 5.3).
struct Gpt {
  std::vector<std::byte> header;  ///< The sector of the copy that was used.
  std::vector<std::byte> array;   ///< Whole sectors.
  bool from_backup = false;       ///< The first copy is damaged.
  bool backup_valid = false;      ///< A valid copy is in the last sector of the disk.
  std::uint64_t last_used = 0;    ///< LBA of the last sector of any partition; 0 without any.
  std::uint64_t array_lba = 0;    ///< Of the array that belongs to `header`.
};

enum class TableKind : std::uint8_t { none, mbr, gpt };

struct PartitionTable {
  TableKind kind{};
  std::optional<Gpt> gpt{};
  std::uint64_t end = 0;  ///< Bytes: the end of the last partition.
  /// GPT: bytes that must follow `end`, for the backup of the table.
  std::uint64_t reserve = 0;
};

/// Looks for a table. Partitions of an MBR that reach past the disk, overlap, or have flags that no
/// partition has, are no table: a file system's first sector looks like one too.
/// Errors: corrupt (the MBR says GPT, and no copy of it is valid), and those of `read`.
Result<PartitionTable> read_partitions(const ReadDisk& read, std::uint64_t disk_bytes,
                                       std::uint32_t sector_bytes);

/// Puts the backup of `gpt` at the end of a disk of `disk_bytes`, then the first copy, which says
/// where the backup is. A cut between the two leaves the first copy valid as it was; where that is
/// damaged, it is made whole before the backup is touched. `flush` makes
/// durable what was written before. Errors: out_of_range (a partition is in the way), and those of
/// the others.
Status move_gpt(const Gpt& gpt, std::uint64_t disk_bytes, std::uint32_t sector_bytes,
                const WriteDisk& write, const std::function<Status()>& flush);

/// CRC-32 (ISO 3309), as a GPT has it.
std::uint32_t crc32_iso(std::span<const std::byte> bytes) noexcept;

}  // namespace openvhd
