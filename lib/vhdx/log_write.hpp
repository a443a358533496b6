/// Changing metadata of a file that is open as no layer: one log entry ([MS-VHDX] 2.3).
#pragma once

#include <cstdint>
#include <map>
#include <openvhd/error.hpp>
#include <span>
#include <vector>

#include "io/file.hpp"
#include "io/host.hpp"
#include "vhdx/headers.hpp"
#include "vhdx/log_format.hpp"

namespace openvhd::vhdx {

/// Sectors of 4 KiB as they will be. Reads what it does not yet know of them.
class SectorChanges {
 public:
  explicit SectorChanges(File& file) noexcept : file_{&file} {}

  /// `bytes` will be at `at`, which need not be aligned.
  Status put(FileOffset at, std::span<const std::byte> bytes);
  std::size_t count() const noexcept { return sectors_.size(); }
  /// In the order of the file; valid until the next put().
  std::vector<LogWrite> writes() const;

 private:
  File* file_;
  std::map<std::uint64_t, std::vector<std::byte>> sectors_;
};

/// Most sectors that one entry in a log of `log_bytes` takes.
std::size_t log_capacity(std::uint64_t log_bytes) noexcept;

/// Blocking: makes `writes` durable, all or nothing. The log is empty before and after. The order
/// is L08's: FileWriteGuid, entry, the header that names the log, the sectors in place, headers
/// without a log; a sync after each. DataWriteGuid stays (X19). `head` follows. Errors: invalid
/// (a dirty log), unsupported (no log), no_space (more than the log takes), corrupt (X04), io.
Status write_through_log(File& file, ParsedHead& head, std::span<const LogWrite> writes,
                         Host& host);

}  // namespace openvhd::vhdx
