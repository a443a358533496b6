/// A file that remembers what it replaces, so that a repair can be taken back.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/file.hpp"

namespace openvhd {

/// Passes commands on to `target`; before the first change of any 4 KiB page (and of the size)
/// what was there is in the undo file, durably. Layout, little-endian: a header of 4096 bytes
/// {signature, version 1, page size, size of the target before, CRC-32C}; then 8192 bytes per
/// page: {offset, length, CRC-32C} padded to 4096, and the bytes; then, once the work is done, a
/// seal of 4096 bytes {signature, records, size of the target after, CRC-32C of the saved pages
/// as they are after, CRC-32C}.
class UndoFile final : public File {
 public:
  /// Borrows `target`; `undo` is a new, empty file. Writes and syncs the header.
  static Result<std::unique_ptr<UndoFile>> make(File& target, std::unique_ptr<File> undo);

  /// Puts back what `undo` holds, restores the size, syncs. A sealed undo file fits only the
  /// image as the repair left it: after any use since then this is Errc::mismatch, and nothing is
  /// written. One without a seal is of work that was cut short, and is used as far as its records
  /// hold. Errors also: corrupt, io.
  static Status put_back(File& target, File& undo);

  /// The work is done and durable: from now on what is put back must fit what is there.
  Status seal() noexcept;

  /// True once a command that may change the target has been passed on to it.
  bool changed_target() const noexcept { return changed_target_; }
  /// Why a command was not passed on: what it replaces could not be saved.
  const std::optional<Error>& failure() const noexcept { return failure_; }

  std::int32_t execute(const IoCommand& command) noexcept override;
  Result<std::uint64_t> size() noexcept override { return target_.size(); }
  std::uint64_t allocated_bytes() noexcept override { return target_.allocated_bytes(); }
  Result<FileRange> next_data(FileOffset at, FileOffset end) noexcept override {
    return target_.next_data(at, end);
  }
  FileIdentity identity() const noexcept override { return target_.identity(); }
  const std::string& name() const noexcept override { return target_.name(); }
  bool writable() const noexcept override { return true; }

 private:
  UndoFile(File& target, std::unique_ptr<File> undo, std::uint64_t size_before) noexcept
      : target_{target}, undo_{std::move(undo)}, size_before_{size_before} {}

  Status save(FileOffset at, std::uint64_t length) noexcept;
  Status save_page(std::uint64_t page) noexcept;

  File& target_;
  std::unique_ptr<File> undo_;
  std::uint64_t size_before_;
  std::uint64_t records_ = 0;
  bool changed_target_ = false;
  std::optional<Error> failure_;
  std::vector<std::uint64_t> saved_;  // page numbers, sorted
};

}  // namespace openvhd
