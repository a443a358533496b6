/// Checking an image against the invariants of its format, by id, and repairing it.
#pragma once

#include <cstdint>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <openvhd/progress.hpp>
#include <string>
#include <vector>

namespace openvhd {

/// How much a finding matters.
enum class Severity : std::uint8_t {
  note,     ///< Allowed, worth knowing (a dirty log, a tolerated deviation).
  warning,  ///< Breaks a rule that readers tolerate, or wastes space.
  error,    ///< Breaks a rule: data is lost or at risk.
};

/// One thing that is to be said about an image.
struct Finding {
  const char* id = "";      ///< The invariant: "X07", "L03", "V04", "C01", or "AZ1"... for --azure.
  Severity severity{};      ///< See there.
  FileOffset at{};          ///< The structure that it is about.
  std::string text{};       ///< The structure and the rule, one line.
  bool repairable = false;  ///< repair() mends it without losing data.
};

/// What is checked.
struct CheckOptions {
  bool chain = false;            ///< Also the parents and the links between (C01, C02).
  bool azure = false;            ///< Also what Azure demands of an upload.
  ParentPolicy parents{};        ///< For `chain`.
  Progress* progress = nullptr;  ///< Borrowed; may be null.
  /// When it fails: the file that the error speaks of comes first. Borrowed; may be null.
  OpenReport* report = nullptr;
};

/// What was found in one file.
struct FileCheck {
  std::string path{};               ///< As it was opened.
  std::optional<Format> format{};   ///< Empty where the content is no image.
  std::vector<Finding> findings{};  ///< At most 1000, in the order of the file.
  std::uint64_t suppressed = 0;     ///< Findings past the first 1000.
  bool clean() const noexcept;      ///< No warning and no error.
};

/// What check() found.
struct CheckReport {
  std::vector<FileCheck> files{};  ///< The named file first, then its parents when asked.
  /// No warning and no error in any file.
  bool clean() const noexcept;
  /// Of all findings; note where there is none.
  Severity worst() const noexcept;
};

/// Reads every structure of `path` and judges it; never writes, also not to replay a log. An
/// image that cannot be opened is a report with errors, not an Error. Errors: not_found, denied,
/// busy, io, cancelled.
Result<CheckReport> check(const std::string& path, const CheckOptions& options);

/// What repair() did.
struct RepairResult {
  CheckReport before{};                ///< Of the image as it was found.
  CheckReport after{};                 ///< Of the image as it is now.
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

/// What replay() did, or would do.
struct ReplayResult {
  bool was_dirty = false;              ///< There was something to replay.
  std::uint64_t entries = 0;           ///< Replayed, or to be replayed.
  std::uint64_t sectors = 0;           ///< Data descriptors applied.
  std::uint64_t zeroed_bytes = 0;      ///< By zero descriptors.
  std::uint64_t first_sequence = 0;    ///< Of the oldest entry that counts.
  std::uint64_t last_sequence = 0;     ///< Of the newest entry.
  std::uint64_t file_size_before = 0;  ///< Bytes.
  std::uint64_t file_size_after = 0;   ///< Bytes.
};

/// Replays the log of a VHDX into the file ([MS-VHDX] 2.3.3); with `dry_run` only tells what it
/// would do. VHD and clean images: nothing to do.
Result<ReplayResult> replay(const std::string& path, bool dry_run);

}  // namespace openvhd
