/// Files and block devices of this machine.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <openvhd/error.hpp>
#include <string>

#include "base/fd.hpp"
#include "io/file.hpp"
#include "io/locks.hpp"

namespace openvhd {

/// A regular file or a block device. What the host file system cannot do by itself is done by
/// hand: zeros are written, reserved space is written, a punched range is zeroed.
///
/// With `direct`, transfers whose memory, offset and lengths are multiples of direct_alignment()
/// go past the page cache, through a second descriptor; all others use the cache. The kernel
/// keeps the two views equal as long as transfers that are in flight together do not overlap.
///
/// reserve() must not meet a write past the end of the same file: giving back what it got before
/// ENOSPC cuts the file at its size.
class PosixFile final : public File {
  struct Key {};

 public:
  struct Options {
    bool writable = false;
    bool direct = false;
    Lock lock = Lock::none;
  };

  /// Opens what the operator named; a symbolic link is followed. Errors: not_found, denied (no
  /// permission, or neither a regular file nor a block device), busy (locked), io.
  static Result<std::unique_ptr<PosixFile>> open(const std::string& path, const Options& options);

  /// Takes over a descriptor that is open for what `options` say. `name` is for messages.
  static Result<std::unique_ptr<PosixFile>> adopt(Fd fd, std::string name, const Options& options);

  std::int32_t execute(const IoCommand& command) noexcept override;
  Result<std::uint64_t> size() noexcept override;
  std::uint64_t allocated_bytes() noexcept override;
  Result<FileRange> next_data(FileOffset at, FileOffset end) noexcept override;
  Status clone_from(File& source, FileOffset from, FileOffset to,
                    std::uint64_t length) noexcept override;
  std::int64_t modified_unix() noexcept override;
  Status change_lock(Lock lock) noexcept override;
  FileIdentity identity() const noexcept override { return identity_; }
  const std::string& name() const noexcept override { return name_; }
  bool writable() const noexcept override { return options_.writable; }
  int async_descriptor(const IoCommand& command) const noexcept override;
  bool is_plain() const noexcept override { return true; }
  std::uint32_t direct_alignment() const noexcept override { return direct_alignment_; }

  /// Who else holds the file; see lock_holder().
  Result<Holder> holder() const noexcept { return lock_holder(fd_); }
  bool is_block_device() const noexcept { return block_device_; }
  const Fd& descriptor() const noexcept { return fd_; }

  PosixFile(Key, Fd fd, std::string name, const Options& options) noexcept;
  ~PosixFile() override;

 private:
  Status inspect() noexcept;
  void open_direct() noexcept;
  bool goes_direct(const IoCommand& command) const noexcept;
  std::int32_t transfer(const IoCommand& command) noexcept;
  std::int32_t allocate(int mode, std::uint64_t at, std::uint64_t length) noexcept;
  std::int32_t zero_range(std::uint64_t at, std::uint64_t length) noexcept;
  std::int32_t punch_range(std::uint64_t at, std::uint64_t length) noexcept;
  std::int32_t reserve_range(std::uint64_t at, std::uint64_t length) noexcept;
  std::int32_t truncate(std::uint64_t bytes) noexcept;
  std::int32_t write_zeros(std::uint64_t at, std::uint64_t end) noexcept;

  Fd fd_;
  Fd direct_fd_;
  std::string name_;
  Options options_;
  FileIdentity identity_;
  FileRange known_data_;  // what next_data() found last, of a file that is only read
  std::uint32_t direct_alignment_ = 1;
  bool block_device_ = false;
  // What this file has turned out not to do; the fallback is then taken at once. Transfers and
  // syncs may run side by side in several threads.
  std::atomic<bool> direct_works_{false};
  std::atomic<bool> dsync_works_{true};
  std::atomic<bool> zero_works_{true};
  std::atomic<bool> punch_works_{true};
  std::atomic<bool> allocate_works_{true};
};

/// The error for a path that could not be opened, by what the caller can do about it: not_found,
/// denied, no_space, io.
Error open_error(int code, const char* what) noexcept;

}  // namespace openvhd
