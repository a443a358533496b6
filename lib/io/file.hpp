/// The host file seam: every byte that the library moves and every system call it makes on an
/// image goes through here, so that tests can record it, cut it off, tear it, reorder it, fail it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <openvhd/error.hpp>
#include <span>
#include <string>

#include "io/io_command.hpp"
#include "io/lock.hpp"

namespace openvhd {

/// A run of bytes in a file.
struct FileRange {
  FileOffset at{};
  std::uint64_t length = 0;
};

/// Which file this is, whatever its name: two opens of one file have the same identity.
struct FileIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  friend auto operator<=>(const FileIdentity&, const FileIdentity&) = default;
};

/// A host file. Not thread safe unless an implementation says so.
class File {
 public:
  File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  virtual ~File() = default;

  /// Executes one command and waits for it: bytes moved, 0, or -errno. EINTR is retried inside;
  /// a short transfer is reported as it is. `command.layer` is not looked at.
  virtual std::int32_t execute(const IoCommand& command) noexcept = 0;

  /// Bytes in the file now.
  virtual Result<std::uint64_t> size() noexcept = 0;

  /// Bytes of storage that the file occupies on its host (st_blocks), 0 where unknown.
  virtual std::uint64_t allocated_bytes() noexcept = 0;

  /// The first run at or after `at` and below `end` that may hold data other than zeros. A
  /// length of 0 means that there is none. Hosts that cannot tell answer the whole range.
  virtual Result<FileRange> next_data(FileOffset at, FileOffset end) noexcept = 0;

  /// Shares storage: [to, to+length) of this file becomes a copy of [from, ...) of `source`
  /// without moving bytes. Errc::unsupported where the hosts cannot, with nothing changed.
  virtual Status clone_from(File& source, FileOffset from, FileOffset to,
                            std::uint64_t length) noexcept;

  /// When its bytes last changed, in seconds since 1970; 0 where unknown.
  virtual std::int64_t modified_unix() noexcept;

  virtual FileIdentity identity() const noexcept = 0;

  /// The name it was opened by, for messages only.
  virtual const std::string& name() const noexcept = 0;

  /// True when the file was opened for writing.
  virtual bool writable() const noexcept = 0;

  /// Holds `lock` from now on in place of the one that this open has; where both are a lock, at no
  /// moment neither. Errors: busy (the old one stays), unsupported (no file that is locked), io.
  virtual Status change_lock(Lock lock) noexcept;

  /// The descriptor through which an asynchronous driver may execute `command` on its own, or -1
  /// when the command must go through execute(): in-memory overlays, simulated files, and kinds
  /// that need a fallback. It stays valid as long as the file.
  virtual int async_descriptor(const IoCommand& command) const noexcept;

  /// True when the descriptor that async_descriptor() gives for one transfer serves all others of
  /// the same alignment, whatever they reach: nothing lies between it and the bytes.
  virtual bool is_plain() const noexcept { return false; }

  /// Alignment in bytes of memory, offset and length with which transfers avoid the page cache;
  /// 1 where they never do. Others still work: they go through the cache.
  virtual std::uint32_t direct_alignment() const noexcept;

  // What blocking code (open, create, replay, check) uses; built on execute().

  /// Fills `into` from `at`; Errc::corrupt with `what` when the file ends before that.
  Status read_exact(FileOffset at, std::span<std::byte> into, const char* what) noexcept;
  /// Reads up to the end of the file; returns the bytes read.
  Result<std::size_t> read_some(FileOffset at, std::span<std::byte> into) noexcept;
  Status write_all(FileOffset at, std::span<const std::byte> from) noexcept;
  Status sync() noexcept;
  Status set_size(std::uint64_t bytes) noexcept;
  Status reserve(FileOffset at, std::uint64_t length) noexcept;
  Status zero(FileOffset at, std::uint64_t length) noexcept;
  Status punch(FileOffset at, std::uint64_t length) noexcept;
};

/// The error for a failed command: -errno becomes no_space (ENOSPC, EDQUOT) or io.
Error host_error(std::int32_t result, FileOffset at, const char* what) noexcept;

}  // namespace openvhd
