/// A file that somebody else keeps.
#pragma once

#include "io/file.hpp"

namespace openvhd {

/// Hands everything on to a file that outlives it, for what wants to own the file it works on.
class BorrowedFile : public File {
 public:
  explicit BorrowedFile(File& file) noexcept : file_{file} {}

  std::int32_t execute(const IoCommand& command) noexcept override {
    return file_.execute(command);
  }
  Result<std::uint64_t> size() noexcept override { return file_.size(); }
  std::uint64_t allocated_bytes() noexcept override { return file_.allocated_bytes(); }
  std::int64_t modified_unix() noexcept override { return file_.modified_unix(); }
  Result<FileRange> next_data(FileOffset at, FileOffset end) noexcept override {
    return file_.next_data(at, end);
  }
  Status clone_from(File& source, FileOffset from, FileOffset to,
                    std::uint64_t length) noexcept override {
    return file_.clone_from(source, from, to, length);
  }
  Status change_lock(Lock lock) noexcept override { return file_.change_lock(lock); }
  FileIdentity identity() const noexcept override { return file_.identity(); }
  const std::string& name() const noexcept override { return file_.name(); }
  bool writable() const noexcept override { return file_.writable(); }
  int async_descriptor(const IoCommand& command) const noexcept override {
    return file_.async_descriptor(command);
  }
  bool is_plain() const noexcept override { return file_.is_plain(); }
  std::uint32_t direct_alignment() const noexcept override { return file_.direct_alignment(); }

 private:
  File& file_;
};

}  // namespace openvhd
