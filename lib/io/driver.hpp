/// Drivers of many operations at once: one thread's door to the host.
#pragma once

#include <cstdint>
#include <memory>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <span>

#include "io/file.hpp"
#include "io/io_command.hpp"

namespace openvhd {

/// Runs operations side by side, in one thread. They are asked for commands in the order in which
/// they started; those that wait for each other are asked again whenever anything has completed.
/// All operations on one image belong to one driver.
///
/// An operation without an outcome that has no command while nothing at all is in flight can
/// never end: a mistake of ours, which ends the process instead of hanging it.
class Driver {
 public:
  Driver() = default;
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;
  /// Waits for the commands that are in flight and gives their results to their operations.
  virtual ~Driver() = default;

  /// Takes on an operation; `IoCommand::layer` indexes `files`. The operation, its buffers and
  /// the array behind `files` stay in place until reap() gives the operation back. Nothing is
  /// submitted yet, so that many starts cost one system call. Errors, with the operation not
  /// taken: busy when `depth` operations are under way; io when the kernel refuses a ring.
  /// The thread may change only while no operation is under way.
  virtual Status start(Operation& operation, std::span<File* const> files) noexcept = 0;

  /// Gives back an operation that has finished. When there is none, submits what there is to do
  /// and looks again; null: everything is under way. Blocks for nothing but commands that only
  /// File::execute() can run.
  virtual Operation* reap() noexcept = 0;

  /// The same, but waits until an operation has finished. Null: none is under way.
  virtual Operation* wait() noexcept = 0;

  /// wait(), which also returns, with null, once wake() has been called since the last time, and
  /// which waits for that where nothing is under way.
  virtual Operation* wait_or_wake() noexcept = 0;
  /// Ends a wait_or_wake(), this one or the next. Any thread.
  virtual void wake() noexcept = 0;

  /// Becomes readable when reap() may have more to do, provided that reap() has given null since.
  /// Negative where reap() does the work itself and always has: the blocking driver.
  virtual int descriptor() noexcept = 0;

  virtual std::uint32_t under_way() const noexcept = 0;

  /// "io_uring", "blocking", "thread pool".
  virtual const char* name() const noexcept = 0;
};

inline constexpr std::uint32_t kMaxDriverDepth = 1024;

/// `depth`: the most operations under way at once, 1 to kMaxDriverDepth. Automatic: io_uring
/// where this process may use it, else blocking. Errors: unsupported, with what forbids it, when
/// io_uring was asked for by name.
Result<std::unique_ptr<Driver>> make_driver(DriverKind kind, std::uint32_t depth);

/// The same for a thread that serves others: where io_uring is not used, a slow command must not
/// hold up the rest, so that a pool of threads executes them.
Result<std::unique_ptr<Driver>> make_owner_driver(DriverKind kind, std::uint32_t depth);

/// Runs one operation to its end on a driver with no other operation under way.
Status run(Driver& driver, Operation& operation, std::span<File* const> files) noexcept;

}  // namespace openvhd
