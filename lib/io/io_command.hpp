/// What a state machine asks of the host: one transfer, or one change to a file.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <openvhd/error.hpp>
#include <openvhd/types.hpp>
#include <optional>
#include <span>

namespace openvhd {

/// One host I/O. A driver executes it and reports bytes moved or -errno, as io_uring does; kinds
/// that move no bytes report 0. Partial transfers are the state machine's to continue.
struct IoCommand {
  enum class Kind : std::uint8_t {
    read,      ///< Into `buffers`, from `at`. Fewer bytes than asked: end of file.
    write,     ///< From `buffers`, to `at`.
    sync,      ///< All completed writes and the file size are on stable storage (fdatasync).
    zero,      ///< [at, at+length) reads as zeros and stays allocated; never changes the size.
    punch,     ///< [at, at+length) reads as zeros and its space goes back; never changes the size.
    reserve,   ///< [at, at+length) has space, extending the file; new bytes read as zeros. Bytes
               ///< that were there stay. ENOSPC changes nothing.
    set_size,  ///< The file is `at` bytes long; new bytes read as zeros.
  };

  Kind kind{};
  bool durable = false;     ///< write: on stable storage when it completes (RWF_DSYNC).
  std::uint16_t layer = 0;  ///< Which file of the chain; 0 is the leaf.
  std::uint32_t slot = 0;   ///< The operation's: comes back with the result.
  FileOffset at{};
  std::uint64_t length = 0;  ///< Bytes. For read and write the sum of `buffers`, below 2 GiB.
  std::span<const iovec> buffers{};  ///< Borrowed until the command completes.
  std::uint64_t token = 0;           ///< The layer's, for commands that a layer asked for.
};

/// An operation: a state machine that does no I/O, owns no thread and never blocks. A driver
/// calls next() until it is empty, executes what it got, and feeds complete() in any order.
/// Not thread safe: all operations on one image belong to one thread at a time.
class Operation {
 public:
  Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  virtual ~Operation() = default;

  /// The next command to execute. Empty: something in flight must complete first, in this
  /// operation or in another one on the same image, or the operation has finished.
  virtual std::optional<IoCommand> next() noexcept = 0;
  /// The result of the command with this slot: bytes moved, or -errno.
  virtual void complete(std::uint32_t slot, std::int32_t result) noexcept = 0;
  /// Set once nothing is in flight any more and the outcome is known.
  virtual std::optional<Status> finished() const noexcept = 0;
};

}  // namespace openvhd
