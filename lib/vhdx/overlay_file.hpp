/// A file over a file: some 4 KiB sectors replaced, some ranges zeroed, the end moved up; the file
/// below is never written. This is how a dirty image is read without replaying its log into it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "io/file.hpp"

namespace openvhd::vhdx {

class OverlayFile : public File {
 public:
  static constexpr std::uint64_t kSectorBytes = 4096;

  /// `base` is borrowed.
  explicit OverlayFile(File& base) : base_{&base}, base_bytes_{base.size()} {}
  explicit OverlayFile(std::unique_ptr<File> base) : OverlayFile{*base} {
    owned_ = std::move(base);
  }

  /// Memory that replace() may point into lives as long as this.
  void keep(std::vector<std::byte> bytes) { kept_.push_back(std::move(bytes)); }
  /// The sector at `at`, a multiple of 4 KiB, reads as the 4 KiB at `bytes`. Later calls win.
  void replace(FileOffset at, const std::byte* bytes);
  /// The range, in multiples of 4 KiB, reads as zeros.
  void zero_out(FileOffset at, std::uint64_t length);
  /// The file is at least this long; new bytes read as zeros.
  void extend(std::uint64_t bytes);

  /// Gives the file below back; this overlay may not be used any more.
  std::unique_ptr<File> release() { return std::move(owned_); }
  /// Takes over a file that was borrowed so far: the same one.
  void own(std::unique_ptr<File> base) { owned_ = std::move(base); }

  /// Reads and sync; everything else is -EROFS.
  std::int32_t execute(const IoCommand& command) noexcept override;
  Result<std::uint64_t> size() noexcept override;
  std::uint64_t allocated_bytes() noexcept override { return base_->allocated_bytes(); }
  Result<FileRange> next_data(FileOffset at, FileOffset end) noexcept override;
  std::int64_t modified_unix() noexcept override { return base_->modified_unix(); }
  FileIdentity identity() const noexcept override { return base_->identity(); }
  const std::string& name() const noexcept override { return base_->name(); }
  bool writable() const noexcept override { return false; }
  /// The base's for reads that nothing here changes.
  int async_descriptor(const IoCommand& command) const noexcept override;
  std::uint32_t direct_alignment() const noexcept override { return base_->direct_alignment(); }

 private:
  using Zeros = std::map<std::uint64_t, std::uint64_t>;  // start -> end; disjoint, not touching
  std::int32_t read(const IoCommand& command) noexcept;
  bool touches(std::uint64_t at, std::uint64_t length) const noexcept;
  // The first range of zeros that ends behind `at`.
  Zeros::const_iterator zeros_at(std::uint64_t at) const noexcept;
  Result<FileRange> next_base_data(std::uint64_t at, std::uint64_t end) noexcept;

  std::unique_ptr<File> owned_;
  File* base_;
  Result<std::uint64_t> base_bytes_;  // a file that is opened for reading keeps its size
  std::vector<std::vector<std::byte>> kept_;
  std::map<std::uint64_t, const std::byte*> sectors_;  // win over zeros_
  Zeros zeros_;
  std::uint64_t least_bytes_ = 0;
};

}  // namespace openvhd::vhdx
