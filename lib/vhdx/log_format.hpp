/// Log entries ([MS-VHDX] 2.3.1) as bytes, both ways. Pure functions on memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <openvhd/error.hpp>
#include <span>

#include "vhdx/layout.hpp"

namespace openvhd::vhdx {

/// Most bytes of log that this library replays; a larger one is refused as unsupported.
inline constexpr std::uint64_t kMaxLogBytes = 256 * kMiB;

/// Sectors at the start of an entry that hold its header and descriptors.
constexpr std::uint64_t descriptor_sectors(std::uint64_t descriptors) noexcept {
  if (descriptors <= kFirstSectorDescriptors) return 1;
  return 1 + div_ceil(descriptors - kFirstSectorDescriptors, kSectorDescriptors);
}

/// Bytes of an entry with `data` data and `zero` zero descriptors; a multiple of 4 KiB.
constexpr std::uint64_t log_entry_bytes(std::uint64_t data, std::uint64_t zero) noexcept {
  return (descriptor_sectors(data + zero) + data) * kLogSectorBytes;
}

/// One 4 KiB sector of metadata as it will be at `at`, a multiple of 4 KiB.
struct LogWrite {
  FileOffset at{};
  const std::byte* bytes = nullptr;  ///< kLogSectorBytes of them; borrowed for the call.
};

/// A range that will read as zeros; both numbers multiples of 4 KiB.
struct LogZero {
  FileOffset at{};
  std::uint64_t length = 0;
};

struct LogEntrySpec {
  Guid log_guid;
  std::uint64_t sequence = 0;            ///< Greater than zero, one above the previous entry's.
  std::uint32_t tail = 0;                ///< Offset in the log of the oldest entry still needed.
  std::uint64_t flushed_file_bytes = 0;  ///< The file is durably at least this long.
  std::uint64_t last_file_bytes = 0;     ///< Every structure lies below.
  std::span<const LogWrite> writes;      ///< May be empty.
  std::span<const LogZero> zeros;        ///< May be empty; applied after the writes.
};

/// Encodes an entry, checksum included, into `out`, whose size is
/// log_entry_bytes(writes.size(), zeros.size()). Where the entry wraps around the end of the log,
/// the caller splits the bytes. Allocates nothing.
void build_log_entry(const LogEntrySpec& spec, std::span<std::byte> out) noexcept;

/// A descriptor, decoded and checked by itself.
struct LogDescriptor {
  bool is_data = false;
  FileOffset at{};
  std::uint64_t length = 0;             ///< Bytes: kLogSectorBytes for data.
  std::array<std::byte, 8> leading{};   ///< Data only.
  std::array<std::byte, 4> trailing{};  ///< Data only.
};

/// Checks what an entry header says by itself in a log of `log_bytes` (L02, L04): signature,
/// lengths, tail, sequence, room for its descriptors. Neither checksum nor GUID. `at` is for the
/// message.
Status check_entry_header(const LogEntryHeader& header, std::uint64_t log_bytes,
                          FileOffset at) noexcept;

/// Decodes the descriptor in the first 32 bytes of `from` and checks it by itself (L04, L05:
/// signature, sequence, alignment, no overflow).
Result<LogDescriptor> parse_descriptor(std::span<const std::byte> from, std::uint64_t sequence,
                                       FileOffset at) noexcept;

/// Checks a data sector's signature and both halves of its sequence number (L04).
Status check_data_sector(std::span<const std::byte> sector, std::uint64_t sequence,
                         FileOffset at) noexcept;

/// The 4 KiB that a data descriptor and its data sector stand for.
void restore_sector(const LogDescriptor& descriptor, std::span<const std::byte> data_sector,
                    std::span<std::byte> out) noexcept;

}  // namespace openvhd::vhdx
