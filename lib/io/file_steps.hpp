/// A list of things to do to one file, one after the other: what a plan comes to that was made
/// from an image nobody else uses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <openvhd/error.hpp>
#include <optional>
#include <vector>

#include "io/io_command.hpp"

namespace openvhd {

/// One of them. Build it with the functions below.
struct FileStep {
  IoCommand::Kind kind{};
  FileOffset at{};
  std::uint64_t length = 0;            ///< Of zero, punch, reserve and copies.
  std::vector<std::byte> bytes{};      ///< Of a write.
  std::optional<FileOffset> source{};  ///< A write without bytes: a copy from here.
  bool durable = false;                ///< The write is stable before the next step.
  bool optional = false;               ///< Failing changes nothing that matters.
  bool past_return = false;            ///< From here on the file is not cut back to its old size.
  bool commits = false;                ///< From here on the new state counts.
  const char* what = "";               ///< A literal, for messages.
};

FileStep write_step(FileOffset at, std::vector<std::byte> bytes, const char* what);
FileStep durable_step(FileOffset at, std::vector<std::byte> bytes, const char* what);
/// [from, from + length) to `to`. The ranges do not overlap.
FileStep copy_step(FileOffset from, FileOffset to, std::uint64_t length, const char* what);
FileStep sync_step(const char* what);
/// zero, punch and reserve.
FileStep range_step(IoCommand::Kind kind, FileOffset at, std::uint64_t length, const char* what);
FileStep size_step(std::uint64_t bytes, const char* what);
/// The same step, whose failure is not one.
FileStep optionally(FileStep step);

/// Executes steps in order. The first that fails ends it: no later step begins, so an order that
/// is safe to cut anywhere is safe to fail anywhere. When that was before the step that commits,
/// the file gets the size that it had, where that can be done.
class FileSteps final : public Operation {
 public:
  /// `bytes_before` is the size of the file now.
  FileSteps(std::vector<FileStep> steps, std::uint64_t bytes_before) noexcept;

  std::optional<IoCommand> next() noexcept override;
  void complete(std::uint32_t slot, std::int32_t result) noexcept override;
  std::optional<Status> finished() const noexcept override;

  /// Asks it to end with Errc::cancelled; too late once the committing step has begun.
  void cancel() noexcept { cancelled_ = true; }
  /// Bytes that copies and writes have moved, and will have moved in the end.
  std::uint64_t moved_bytes() const noexcept { return moved_; }
  std::uint64_t total_bytes() const noexcept { return total_; }
  /// The committing step is done, or there was none and all is.
  bool committed() const noexcept { return committed_; }

 private:
  std::optional<IoCommand> transfer(const FileStep& step) noexcept;
  IoCommand command(IoCommand::Kind kind, FileOffset at, std::uint64_t length) noexcept;
  void step_done() noexcept;
  void fail(const Error& error) noexcept;

  std::vector<FileStep> steps_;
  std::uint64_t bytes_before_;
  std::size_t at_ = 0;          // the step under way
  std::uint64_t done_ = 0;      // bytes of it
  std::uint64_t loaded_ = 0;    // of a copy: bytes in the buffer
  std::uint64_t unloaded_ = 0;  // of them, written
  bool past_return_ = false;
  bool extends_ = false;  // something has begun that may have made the file longer
  bool restoring_ = false;
  bool in_flight_ = false;
  bool cancelled_ = false;
  bool committed_ = false;
  std::uint64_t moved_ = 0;
  std::uint64_t total_ = 0;
  std::vector<std::byte> buffer_;
  iovec piece_{};
  std::optional<Status> outcome_;
  std::optional<Error> failure_;
};

}  // namespace openvhd
