/// Replaying a log ([MS-VHDX] 2.3.3): into memory, or into the file.
#pragma once

#include <cstdint>
#include <openvhd/error.hpp>
#include <vector>

#include "io/file.hpp"
#include "io/host.hpp"
#include "vhdx/headers.hpp"
#include "vhdx/log_scan.hpp"
#include "vhdx/overlay_file.hpp"

namespace openvhd::vhdx {

/// One change that a log makes.
struct LogChange {
  FileOffset at{};
  std::uint64_t length = 0;
  const std::byte* bytes = nullptr;  ///< kLogSectorBytes of them, in LogPlan::bytes; null: zeros.
};

/// An active sequence, read once, checked whole, ready to be applied (L07).
struct LogPlan {
  std::vector<LogEntry> entries;   ///< Tail to head.
  std::vector<std::byte> bytes;    ///< The sequence; data sectors restored to what they stand for.
  std::vector<LogChange> changes;  ///< In the order in which they are to be made.
  std::uint64_t file_bytes = 0;    ///< The file is at least this long afterwards.
};

/// Most zero descriptors in a sequence that is replayed.
inline constexpr std::uint64_t kMaxLogZeros = std::uint64_t{1} << 20;

/// Scans the log of a dirty file and loads its active sequence. Nothing is written. Errors:
/// corrupt (L01-L06), unsupported (bounds), io.
Result<LogPlan> plan_replay(File& file, const ParsedHead& head);

/// Puts the plan over the file in memory; pointers into `plan` stay in use.
void apply_to_overlay(const LogPlan& plan, OverlayFile& overlay);

/// Applies the plan to the file (L08): new FileWriteGuid durable, changes, sync, log GUID cleared
/// in both headers. `head` follows. DataWriteGuid stays (X19). Cut off anywhere, it can be done
/// again with the same outcome.
Status apply_to_file(const LogPlan& plan, File& file, ParsedHead& head, Host& host);

}  // namespace openvhd::vhdx
