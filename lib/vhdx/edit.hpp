/// Changing what a closed image says of itself, through its log ([MS-VHDX] 2.3): either all of a
/// change is found after a crash, or nothing of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <openvhd/error.hpp>
#include <optional>
#include <span>
#include <vector>

#include "io/file.hpp"
#include "io/file_steps.hpp"
#include "io/host.hpp"
#include "vhdx/image_state.hpp"
#include "vhdx/log_format.hpp"

namespace openvhd::vhdx {

/// Metadata as it is to be: whole 4 KiB sectors, and ranges of zeros.
class SectorEdits {
 public:
  using Sector = std::array<std::byte, kLogSectorBytes>;

  /// These bytes at `at`; the rest of their sectors is read from `file`, as it is or as an earlier
  /// call left it. Errors: io, corrupt (the file ends there).
  Status put(File& file, FileOffset at, std::span<const std::byte> bytes);
  /// [at, at + length) becomes zeros: whole sectors as one descriptor, the rest as above.
  Status clear(File& file, FileOffset at, std::uint64_t length);

  std::size_t sectors() const noexcept { return sectors_.size(); }
  const std::map<std::uint64_t, Sector>& writes() const noexcept { return sectors_; }
  const std::vector<LogZero>& zeros() const noexcept { return zeros_; }
  /// Bytes that the log entry takes.
  std::uint64_t entry_bytes() const noexcept {
    return log_entry_bytes(sectors_.size(), zeros_.size());
  }
  bool empty() const noexcept { return sectors_.empty() && zeros_.empty(); }

 private:
  std::map<std::uint64_t, Sector> sectors_;  // by offset
  std::vector<LogZero> zeros_;
};

/// The headers of an image that is closed, between changes of it.
class EditSession {
 public:
  /// `image` is what the file says; its log is empty. `host` is borrowed.
  /// Errors: unsupported (no log to change it through), corrupt (no sequence numbers left).
  static Result<EditSession> open(const ParsedImage& image, Host& host);

  /// Most bytes of a log entry.
  std::uint64_t most_entry_bytes() const noexcept { return log_.length - kLogSectorBytes; }

  struct Change {
    std::vector<FileStep> before{};  ///< On space that nobody owns yet; synced before the change.
    SectorEdits edits{};
    std::vector<FileStep> after{};  ///< Once the log is empty again: giving space back.
    bool visible = false;           ///< The guest sees it: a new DataWriteGuid (FORMAT 9).
    std::uint64_t file_bytes = 0;   ///< Size of the file after `before`.
  };

  /// The steps of one change. What they come to counts from the header on that names the log;
  /// that one also has the new DataWriteGuid, so that children of an image that was not changed
  /// after all still fit. Without edits there is nothing to commit, and no entry. Errors:
  /// unsupported (larger than the log), corrupt (no sequence numbers left).
  Result<std::vector<FileStep>> steps(Change change);

 private:
  EditSession(Header header, unsigned copy, Area log, Host& host) noexcept
      : header_{header}, copy_{copy}, log_{log}, host_{&host} {}
  struct HeaderEdit;
  Status add_header(const HeaderEdit& edit, std::vector<FileStep>& steps);
  Status add_commit(const Change& change, std::vector<FileStep>& steps);
  std::vector<std::byte> entry(const Change& change, const Guid& log_guid) const;

  Header header_;
  unsigned copy_;
  Area log_;
  Host* host_;
  bool announced_ = false;
};

}  // namespace openvhd::vhdx
