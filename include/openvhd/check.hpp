/// Checking an image against the invariants of its format, by id, and repairing it.
#pragma once

#include <cstdint>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <openvhd/progress.hpp>
#include <string>
#include <vector>

namespace openvhd {

enum class Severity : std::uint8_t {
  note,     ///< Allowed, worth knowing (a dirty log, a tolerated deviation).
  warning,  ///< Breaks a rule that readers tolerate, or wastes space.
  error,    ///< Breaks a rule: data is lost or at risk.
};

struct Finding {
  const char* id = "";  ///< The invariant: "X07", "L03", "V04", "C01", or "AZ1"... for --azure.
  Severity severity{};
  FileOffset at{};
  std::string text{};       ///< The structure and the rule, one line.
  bool repairable = false;  ///< repair() mends it without losing data.
};

struct CheckOptions {
  bool chain = false;  ///< Also the parents and the links between (C01, C02).
  bool azure = false;  ///< Also what Azure demands of an upload.
  ParentPolicy parents{};
  Progress* progress = nullptr;  ///< Borrowed; may be null.
  /// When it fails: the file that the error speaks of comes first. Borrowed; may be null.
  OpenReport* report = nullptr;
};

struct FileCheck {
  std::string path{};
  std::optional<Format> format{};
  std::vector<Finding> findings{};
  std::uint64_t suppressed = 0;  ///< Findings past the first 1000.
  bool clean() const noexcept;   ///< No warning and no error.
};

struct CheckReport {
  std::vector<FileCheck> files{};  ///< The named file first, then its parents when asked.
  bool clean() const noexcept;
  Severity worst() const noexcept;
};

/// Reads every structure of `path` and judges it; never writes, also not to replay a log. An
/// image that cannot be opened is a report with errors, not an Error. Errors: not_found, denied,
/// busy, io, cancelled.
Result<CheckReport> check(const std::string& path, const CheckOptions& options);

struct RepairResult {
  CheckReport before{};
  CheckReport after{};
  std::vector<std::string> actions{};  ///< What was done, one line each; empty on a healthy image.
  std::string undo_file{};             ///< Empty where nothing was written.
};

/// Mends what can be mended without losing data: replays a dirty log, rewrites a header, region
/// table or footer from its good copy, extends or trims the file to its last extent. Every byte
/// that it changes is first saved, durably, to `path` + ".undo"; undo_repair() puts them back.
/// A healthy image is not touched. Errors as check(), and read_only, no_space, invalid (an undo
/// file of an earlier repair is there).
Result<RepairResult> repair(const std::string& path, const CheckOptions& options);

/// Puts back what repair() changed, and removes the undo file. Errors as check(), and mismatch
/// when the image was changed after the repair: then nothing is written. Of `options` the report
/// alone counts.
Status undo_repair(const std::string& path, const CheckOptions& options = {});

struct ReplayResult {
  bool was_dirty = false;
  std::uint64_t entries = 0;
  std::uint64_t sectors = 0;  ///< Data descriptors applied.
  std::uint64_t zeroed_bytes = 0;
  std::uint64_t first_sequence = 0;
  std::uint64_t last_sequence = 0;
  std::uint64_t file_size_before = 0;
  std::uint64_t file_size_after = 0;
};

/// Replays the log of a VHDX into the file ([MS-VHDX] 2.3.3); with `dry_run` only tells what it
/// would do. VHD and clean images: nothing to do.
Result<ReplayResult> replay(const std::string& path, bool dry_run);

}  // namespace openvhd
