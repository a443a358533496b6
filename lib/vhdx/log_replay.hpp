/// Replaying a log ([MS-VHDX] 2.3.3): into memory, or into the file.
#pragma once

#include <cstdint>
#include <memory>
#include <openvhd/error.hpp>
#include <vector>

#include "io/file.hpp"
#include "io/host.hpp"
#include "vhdx/headers.hpp"
#include "vhdx/log_changes.hpp"
#include "vhdx/log_scan.hpp"
#include "vhdx/overlay_file.hpp"

namespace openvhd::vhdx {

/// An active sequence, checked whole, ready to be applied (L07). What is small is in memory; of
/// long logs the bytes of most sectors are not, but they are the ones that were checked or they
/// are not used: see LogChanges.
struct LogPlan {
  std::vector<LogEntry> entries;              ///< Tail to head.
  std::shared_ptr<const LogChanges> changes;  ///< All of them together.
  std::uint64_t file_bytes = 0;               ///< The file is at least this long afterwards.
};

/// Most zero descriptors in a sequence that is replayed.
inline constexpr std::uint64_t kMaxLogZeros = std::uint64_t{1} << 20;

/// Scans the log of a dirty file and plans the replay of its active sequence. Nothing is written.
/// Errors: corrupt (L01-L06), unsupported (bounds), io.
Result<LogPlan> plan_replay(File& file, const ParsedHead& head);
/// The same with a scan that was made and judged already.
Result<LogPlan> plan_replay(File& file, const ParsedHead& head, LogScan scan);

/// `file` as it will be after the replay; borrows it.
std::unique_ptr<OverlayFile> overlay_of(const LogPlan& plan, File& file);

/// Applies the plan to the file (L08): new FileWriteGuid durable, changes, sync, log GUID cleared
/// in both headers. `head` follows. DataWriteGuid stays (X19). Cut off anywhere, it can be done
/// again with the same outcome.
Status apply_to_file(const LogPlan& plan, File& file, ParsedHead& head, Host& host);

}  // namespace openvhd::vhdx
