/// A file over a file: some 4 KiB sectors replaced, some ranges zeroed, the end moved up; the file
/// below is never written. This is how a dirty image is read without replaying its log into it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "io/file.hpp"
#include "vhdx/log_changes.hpp"

namespace openvhd::vhdx {

class OverlayFile : public File {
 public:
  /// `base` is borrowed; it holds the log that `changes` came from. The file is at least
  /// `least_bytes` long, and as long as the changes reach.
  OverlayFile(File& base, std::shared_ptr<const LogChanges> changes, std::uint64_t least_bytes);

  /// Takes over the file that was borrowed so far.
  void own(std::unique_ptr<File> base) { owned_ = std::move(base); }

  /// Reads and sync; everything else is -EROFS.
  std::int32_t execute(const IoCommand& command) noexcept override;
  Result<std::uint64_t> size() noexcept override;
  std::uint64_t allocated_bytes() noexcept override { return base_->allocated_bytes(); }
  Result<FileRange> next_data(FileOffset at, FileOffset end) noexcept override;
  std::int64_t modified_unix() noexcept override { return base_->modified_unix(); }
  Status change_lock(Lock lock) noexcept override { return base_->change_lock(lock); }
  FileIdentity identity() const noexcept override { return base_->identity(); }
  const std::string& name() const noexcept override { return base_->name(); }
  bool writable() const noexcept override { return false; }
  /// The base's for reads that nothing here changes.
  int async_descriptor(const IoCommand& command) const noexcept override;
  std::uint32_t direct_alignment() const noexcept override { return base_->direct_alignment(); }

 private:
  using Zeros = std::span<const FileRange>;
  std::int32_t read(const IoCommand& command) noexcept;
  // -errno where a sector of the log is no longer what it was.
  std::int32_t read_sectors(const IoCommand& command, std::uint64_t end) noexcept;
  bool touches(std::uint64_t at, std::uint64_t length) const noexcept;
  // The ranges of zeros that end behind `at`.
  Zeros zeros_at(std::uint64_t at) const noexcept;
  Result<FileRange> next_base_data(std::uint64_t at, std::uint64_t end) noexcept;

  std::unique_ptr<File> owned_;
  File* base_;
  Result<std::uint64_t> base_bytes_;  // a file that is opened for reading keeps its size
  std::shared_ptr<const LogChanges> changes_;
  std::uint64_t least_bytes_;
};

}  // namespace openvhd::vhdx
