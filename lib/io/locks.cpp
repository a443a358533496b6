#include "io/locks.hpp"

#include <fcntl.h>

#include <array>
#include <cerrno>

#include "base/checked.hpp"
#include "base/try.hpp"

namespace openvhd {
namespace {

// QEMU says what it does by shared locks on the bytes from 100, one per permission, and what it
// does not let others do by shared locks on the bytes from 200.
constexpr std::uint64_t kConsistentRead = 100;
constexpr std::uint64_t kWrite = 101;
constexpr std::uint64_t kResize = 103;
constexpr std::uint64_t kForbidWrite = 201;
constexpr std::uint64_t kForbidResize = 203;

constexpr std::array kReaderBytes{kConsistentRead, kForbidWrite, kForbidResize};  // ascending

// Wide enough for every such byte and for programs that lock the whole of a small file; bounded,
// because some network storage makes locks of whole files mandatory.
constexpr std::uint64_t kLockedBytes = kGiB;

struct Range {
  std::uint64_t at = 0;
  std::uint64_t length = 1;
};
constexpr Range kWhole{.at = 0, .length = kLockedBytes};

struct flock lock_record(short type, Range range) noexcept {
  struct flock record{};  // l_pid must be 0
  record.l_type = type;
  record.l_whence = SEEK_SET;
  record.l_start = static_cast<off_t>(range.at);
  record.l_len = static_cast<off_t>(range.length);
  return record;
}

Error lock_error(int code) noexcept {
  switch (code) {
    case EAGAIN:
    case EACCES:
      return {.code = Errc::busy, .what = "somebody else has the image open"};
    case EINVAL:
    case ENOLCK:
    case ENOSYS:
    case EOPNOTSUPP:
      return {.code = Errc::unsupported,
              .sys_errno = code,
              .what = "the host file system offers no locks"};
    default:
      return {.code = Errc::io, .sys_errno = code, .what = "lock the image"};
  }
}

Status set_lock(const Fd& file, short type, Range range) noexcept {
  struct flock record = lock_record(type, range);
  while (::fcntl(file.get(), F_OFD_SETLK, &record) != 0) {
    if (errno != EINTR) return lock_error(errno);
  }
  return Ok{};
}

/// True when somebody else's lock would be in the way of this one.
Result<bool> is_held(const Fd& file, short type, Range range) noexcept {
  struct flock record = lock_record(type, range);
  while (::fcntl(file.get(), F_OFD_GETLK, &record) != 0) {
    if (errno != EINTR) return lock_error(errno);
  }
  return record.l_type != F_UNLCK;
}

/// QEMU writes or resizes: its locks are shared ones, which a reader's do not meet.
Result<bool> foreign_writer(const Fd& file) noexcept {
  for (const std::uint64_t byte : {kWrite, kResize}) {
    OVHD_TRY(const bool held, is_held(file, F_WRLCK, {.at = byte}));
    if (held) return true;
  }
  return false;
}

Status lock_for_reading(const Fd& file) noexcept {
  for (const std::uint64_t byte : kReaderBytes) OVHD_CHECK(set_lock(file, F_RDLCK, {.at = byte}));
  // After our own locks: a writer that comes in between sees them and gives up.
  OVHD_TRY(const bool written, foreign_writer(file));
  if (written) return lock_error(EAGAIN);
  return Ok{};
}

}  // namespace

Status take_lock(const Fd& file, Lock lock) noexcept {
  if (lock == Lock::none) return Ok{};
  const Status taken =
      lock == Lock::writer ? set_lock(file, F_WRLCK, kWhole) : lock_for_reading(file);
  if (!taken) {
    // A reader may have got some of its bytes.
    drop_lock(file);
  }
  return taken;
}

Status change_lock(const Fd& file, Lock from, Lock to) noexcept {
  if (from == to) return Ok{};
  if (to == Lock::none) {
    drop_lock(file);
    return Ok{};
  }
  if (from == Lock::none || to == Lock::writer) {
    // Of a reader's bytes the kernel makes a writer's, or leaves them as they are.
    if (to == Lock::writer) return set_lock(file, F_WRLCK, kWhole);
    return take_lock(file, to);
  }
  // Nobody else holds anything: its own bytes first, then the rest is let go.
  std::uint64_t end = 0;
  for (const std::uint64_t byte : kReaderBytes) OVHD_CHECK(set_lock(file, F_RDLCK, {.at = byte}));
  for (const std::uint64_t byte : kReaderBytes) {
    if (byte > end) OVHD_CHECK(set_lock(file, F_UNLCK, {.at = end, .length = byte - end}));
    end = byte + 1;
  }
  return set_lock(file, F_UNLCK, {.at = end, .length = kLockedBytes - end});
}

// Unlocking what is not locked does no harm, and nobody could do anything about a failure.
void drop_lock(const Fd& file) noexcept { static_cast<void>(set_lock(file, F_UNLCK, kWhole)); }

Result<Holder> lock_holder(const Fd& file) noexcept {
  OVHD_TRY(const bool exclusive, is_held(file, F_RDLCK, kWhole));
  if (exclusive) return Holder::writer;
  OVHD_TRY(const bool written, foreign_writer(file));
  if (written) return Holder::writer;
  OVHD_TRY(const bool shared, is_held(file, F_WRLCK, kWhole));
  return shared ? Holder::readers : Holder::nobody;
}

}  // namespace openvhd
