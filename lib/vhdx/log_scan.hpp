/// Finding the active sequence in a log ([MS-VHDX] 2.3.2), from bytes that may lie about
/// everything. Time and reads are linear in the length of the log, memory is a few bytes per
/// entry: a valid entry holds no other entry's first sector, so entries never overlap, and each
/// sector is looked at twice at most.
#pragma once

#include <cstdint>
#include <openvhd/error.hpp>
#include <optional>
#include <span>
#include <vector>

#include "io/file.hpp"
#include "vhdx/image_state.hpp"
#include "vhdx/log_format.hpp"

namespace openvhd::vhdx {

/// A valid entry of the log that the header names: checksum, GUID, every descriptor and every
/// data sector are right (L02, L04).
struct LogEntry {
  std::uint64_t at = 0;      ///< Bytes from the start of the log.
  std::uint64_t length = 0;  ///< Bytes; may wrap around the end of the log.
  std::uint64_t sequence = 0;
  std::uint32_t tail = 0;
  std::uint32_t data_descriptors = 0;
  std::uint32_t zero_descriptors = 0;
  std::uint64_t zeroed_bytes = 0;
  std::uint64_t flushed_file_bytes = 0;
  std::uint64_t last_file_bytes = 0;
  std::uint64_t targets_end = 0;    ///< End of the furthest target in the file.
  const char* forbidden = nullptr;  ///< A target that no entry may have (L05), or null.

  friend bool operator==(const LogEntry&, const LogEntry&) = default;
};

/// An entry of the header's log GUID that is not valid: torn, or damaged.
struct BadLogEntry {
  std::uint64_t at = 0;  ///< Bytes from the start of the log.
  Error error;
};

struct LogScan {
  std::vector<LogEntry> entries;  ///< Valid ones, by their place.
  std::vector<BadLogEntry> bad;   ///< At most kMaxBadEntries.
  std::uint64_t foreign = 0;      ///< First sectors of entries with another log GUID.
  std::vector<LogEntry> active;   ///< The active sequence, tail to head; empty: there is none.
};
inline constexpr std::size_t kMaxBadEntries = 64;

/// Checks one entry, fed sector by sector, its header first. Allocates nothing.
class LogEntryChecker {
 public:
  /// `log` is the log's place in the file, for messages and forbidden targets.
  explicit LogEntryChecker(Area log) noexcept : log_{log} {}

  /// Starts with the sector at `at` bytes of the log. Error: the header is not right by itself.
  Status begin(std::span<const std::byte> sector, std::uint64_t at) noexcept;
  /// The next sector. Error: the entry is not valid.
  Status feed(std::span<const std::byte> sector) noexcept;
  /// All sectors have been seen.
  bool complete() const noexcept { return seen_bytes_ == entry_.length; }
  /// The verdict, once complete: checksum and the sum of all sectors.
  Result<LogEntry> finish() const noexcept;

  const LogEntryHeader& header() const noexcept { return header_; }

 private:
  Status take_descriptors(std::span<const std::byte> area) noexcept;
  void judge_target(const LogDescriptor& descriptor) noexcept;
  FileOffset here() const noexcept { return log_.at + entry_.at; }

  Area log_;
  LogEntryHeader header_;
  LogEntry entry_;
  std::uint64_t seen_bytes_ = 0;
  std::uint32_t descriptors_left_ = 0;
  std::uint32_t data_left_ = 0;
  std::uint32_t crc_ = 0;
};

/// Reads the whole log, in pieces. Errors: io; unsupported when it is longer than kMaxLogBytes.
Result<LogScan> scan_log(File& file, Area log, const Guid& log_guid);

/// Judges the active sequence against a file of `file_bytes` (L01, L05, L06): what it may not
/// write, and what it must find. Ok: it can be replayed.
Status judge_sequence(const LogScan& scan, Area log, std::uint64_t file_bytes) noexcept;

}  // namespace openvhd::vhdx
