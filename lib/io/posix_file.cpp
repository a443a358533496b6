#include "io/posix_file.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <limits>
#include <utility>

#include "base/checked.hpp"
#include "base/try.hpp"

namespace openvhd {
namespace {

constexpr std::uint64_t kLastOffset = std::numeric_limits<off_t>::max();
constexpr std::size_t kMostPieces = IOV_MAX;
// A direct transfer of a part of a page could meet a cached write to another part of it, and one
// would undo the other: whole pages only, whatever smaller unit the device would take.
constexpr std::uint32_t kLeastDirectAlignment = 4096;

bool not_offered(int code) noexcept { return code == EOPNOTSUPP || code == ENOSYS; }

bool aligned(const iovec& piece, std::uint32_t unit) noexcept {
  return is_multiple(reinterpret_cast<std::uintptr_t>(piece.iov_base), unit) &&
         is_multiple(piece.iov_len, unit);
}

Status clear_flag(const Fd& fd, int flag) noexcept {
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags & ~flag) != 0)
    return Error{.code = Errc::io, .sys_errno = errno, .what = "set descriptor flags"};
  return Ok{};
}

}  // namespace

Error open_error(int code, const char* what) noexcept {
  const auto kind = [code] {
    switch (code) {
      case ENOENT:
      case ENOTDIR:
      case ENAMETOOLONG:
        return Errc::not_found;
      case EACCES:
      case EPERM:
      case EROFS:
      case ELOOP:
      case EXDEV:
      case EISDIR:
      case ENXIO:
      case ENODEV:
      case ETXTBSY:
        return Errc::denied;
      case EEXIST:
        return Errc::invalid;
      case ENOSPC:
      case EDQUOT:
        return Errc::no_space;
      default:
        return Errc::io;
    }
  }();
  return {.code = kind, .sys_errno = code, .what = what};
}

Result<std::unique_ptr<PosixFile>> PosixFile::open(const std::string& path,
                                                   const Options& options) {
  if (path.find('\0') != std::string::npos)
    return Error{.code = Errc::invalid, .what = "a file name with a NUL in it"};
  // O_NONBLOCK: a FIFO must not make us wait for its other end.
  const int flags = (options.writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  int fd = -1;
  do {
    fd = ::open(path.c_str(), flags);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return open_error(errno, "open the file");
  return adopt(Fd{fd}, path, options);
}

Result<std::unique_ptr<PosixFile>> PosixFile::adopt(Fd fd, std::string name,
                                                    const Options& options) {
  auto file = std::make_unique<PosixFile>(Key{}, std::move(fd), std::move(name), options);
  OVHD_CHECK(file->inspect());
  OVHD_CHECK(take_lock(file->fd_, options.lock));
  if (options.direct) file->open_direct();
  return file;
}

PosixFile::PosixFile(Key, Fd fd, std::string name, const Options& options) noexcept
    : fd_{std::move(fd)}, name_{std::move(name)}, options_{options} {}

Status PosixFile::change_lock(Lock lock) noexcept {
  OVHD_CHECK(openvhd::change_lock(fd_, options_.lock, lock));
  options_.lock = lock;
  return Ok{};
}

PosixFile::~PosixFile() {
  if (fd_ && options_.lock != Lock::none) drop_lock(fd_);
}

Status PosixFile::inspect() noexcept {
  struct stat info{};
  if (::fstat(fd_.get(), &info) != 0)
    return Error{.code = Errc::io, .sys_errno = errno, .what = "stat the file"};
  if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode))
    return Error{.code = Errc::denied, .what = "neither a regular file nor a block device"};
  block_device_ = S_ISBLK(info.st_mode);
  identity_ = {.device = info.st_dev, .inode = info.st_ino};
  // Several nodes may stand for one device: the device number is what it is.
  if (block_device_) identity_ = {.device = info.st_rdev, .inode = ~std::uint64_t{0}};
  return clear_flag(fd_, O_NONBLOCK);
}

void PosixFile::open_direct() noexcept {
  std::uint32_t unit = kLeastDirectAlignment;
#ifdef STATX_DIOALIGN
  struct statx info{};
  if (::statx(fd_.get(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) == 0 &&
      (info.stx_mask & STATX_DIOALIGN) != 0) {
    if (info.stx_dio_offset_align == 0) return;
    unit = std::max({unit, info.stx_dio_mem_align, info.stx_dio_offset_align});
  }
#endif
  // A descriptor of its own, so that transfers that are not aligned keep a cached one. By number,
  // not by name: it is the file that was opened, whatever the name says now.
  const std::string self = "/proc/self/fd/" + std::to_string(fd_.get());
  Fd direct{::open(self.c_str(), (options_.writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_DIRECT)};
  if (!direct) return;
  direct_fd_ = std::move(direct);
  direct_alignment_ = unit;
  direct_works_ = true;
  // Read-ahead would fill the cache with large folios around what direct writes are changing.
  ::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_RANDOM);
}

bool PosixFile::goes_direct(const IoCommand& command) const noexcept {
  if (!direct_works_ || !is_multiple(command.at.value, direct_alignment_)) return false;
  return std::ranges::all_of(
      command.buffers, [this](const iovec& piece) { return aligned(piece, direct_alignment_); });
}

int PosixFile::async_descriptor(const IoCommand& command) const noexcept {
  using Kind = IoCommand::Kind;
  if (command.at.value > kLastOffset) return -1;
  switch (command.kind) {
    case Kind::write:
      if (!options_.writable || (command.durable && !dsync_works_)) return -1;
      [[fallthrough]];
    case Kind::read:
      if (command.buffers.size() > kMostPieces) return -1;
      return goes_direct(command) ? direct_fd_.get() : fd_.get();
    case Kind::sync:
      return fd_.get();
    case Kind::zero:
      return zero_works_ && !block_device_ && options_.writable ? fd_.get() : -1;
    case Kind::punch:
      return punch_works_ && !block_device_ && options_.writable ? fd_.get() : -1;
    case Kind::reserve:   // fallocate and ftruncate, and a way back
    case Kind::set_size:  // no such request in older kernels
      return -1;
  }
  return -1;
}

std::int32_t PosixFile::execute(const IoCommand& command) noexcept {
  using Kind = IoCommand::Kind;
  const std::uint64_t at = command.at.value;
  if (command.kind == Kind::sync) return ::fdatasync(fd_.get()) == 0 ? 0 : -errno;
  if (at > kLastOffset) return -EFBIG;
  if (command.kind == Kind::read) return transfer(command);
  if (!options_.writable) return -EBADF;
  if (command.kind == Kind::write) return transfer(command);
  if (command.kind == Kind::set_size) return truncate(at);
  if (command.length == 0) return 0;
  if (!range_fits(at, command.length, kLastOffset)) return -EFBIG;
  switch (command.kind) {
    case Kind::zero:
      return zero_range(at, command.length);
    case Kind::punch:
      return punch_range(at, command.length);
    default:
      return reserve_range(at, command.length);
  }
}

std::int32_t PosixFile::transfer(const IoCommand& command) noexcept {
  const bool write = command.kind == IoCommand::Kind::write;
  const auto pieces = static_cast<int>(std::min(command.buffers.size(), kMostPieces));
  const auto at = static_cast<off_t>(command.at.value);
  bool direct = goes_direct(command);
  bool dsync = write && command.durable && dsync_works_;
  while (true) {
    const int fd = direct ? direct_fd_.get() : fd_.get();
    const ssize_t moved =
        write ? ::pwritev2(fd, command.buffers.data(), pieces, at, dsync ? RWF_DSYNC : 0)
              : ::preadv(fd, command.buffers.data(), pieces, at);
    if (moved >= 0) {
      if (write && command.durable && !dsync && ::fdatasync(fd_.get()) != 0) return -errno;
      return static_cast<std::int32_t>(moved);  // the kernel moves less than 2 GiB at a time
    }
    if (errno == EINTR) continue;
    if (dsync && not_offered(errno)) {
      dsync = dsync_works_ = false;
    } else if (direct && errno == EINVAL) {
      direct = direct_works_ = false;
    } else {
      return -errno;
    }
  }
}

Result<std::uint64_t> PosixFile::size() noexcept {
  // Also for devices, whose st_size is 0. The position is nobody's: all transfers name theirs.
  const off_t end = ::lseek(fd_.get(), 0, SEEK_END);
  if (end < 0) return Error{.code = Errc::io, .sys_errno = errno, .what = "find the file size"};
  return static_cast<std::uint64_t>(end);
}

std::uint64_t PosixFile::allocated_bytes() noexcept {
  struct stat info{};
  if (::fstat(fd_.get(), &info) != 0) return 0;
  return static_cast<std::uint64_t>(info.st_blocks) * 512;  // in this unit on every file system
}

std::int64_t PosixFile::modified_unix() noexcept {
  struct stat info{};
  if (::fstat(fd_.get(), &info) != 0) return 0;
  return info.st_mtim.tv_sec;
}

Result<FileRange> PosixFile::next_data(FileOffset at, FileOffset end) noexcept {
  // A host walks all extents up to the next hole: asked once per block of a dense file with many
  // extents, it would take time that grows with the square of their number.
  const FileOffset known_end = known_data_.at + known_data_.length;
  if (known_data_.at <= at && at < known_end && at < end) {
    return FileRange{.at = at, .length = std::min(end, known_end) - at};
  }
  OVHD_TRY(const std::uint64_t bytes, size());
  const std::uint64_t stop = std::min(end.value, bytes);
  if (at.value >= stop) return FileRange{};
  const off_t data = ::lseek(fd_.get(), static_cast<off_t>(at.value), SEEK_DATA);
  if (data < 0) {
    if (errno == ENXIO) return FileRange{};
    if (errno == EINVAL || not_offered(errno))
      return FileRange{.at = at, .length = stop - at.value};
    return Error{.code = Errc::io, .sys_errno = errno, .where = at, .what = "find data"};
  }
  const auto from = static_cast<std::uint64_t>(data);
  if (from >= stop) return FileRange{};
  const off_t hole = ::lseek(fd_.get(), data, SEEK_HOLE);
  const std::uint64_t to = hole < 0 ? stop : static_cast<std::uint64_t>(hole);
  // What others punch meanwhile still may hold data, by this word; what we punch must not.
  if (!options_.writable) known_data_ = {.at = {from}, .length = to - from};
  return FileRange{.at = {from}, .length = std::min(stop, to) - from};
}

Status PosixFile::clone_from(File& source, FileOffset from, FileOffset to,
                             std::uint64_t length) noexcept {
  if (length == 0) return Ok{};  // the kernel would take 0 as "up to the end"
  if (!options_.writable)
    return Error{.code = Errc::read_only, .where = to, .what = "share extents"};
  const int origin =
      source.async_descriptor({.kind = IoCommand::Kind::read, .at = from, .length = length});
  if (origin < 0) return File::clone_from(source, from, to, length);
  file_clone_range range{
      .src_fd = origin, .src_offset = from.value, .src_length = length, .dest_offset = to.value};
  while (::ioctl(fd_.get(), FICLONERANGE, &range) != 0) {
    switch (errno) {
      case EINTR:
        continue;
      case EINVAL:
      case EOPNOTSUPP:
      case ENOSYS:
      case ENOTTY:
      case EXDEV:
      case EPERM:
      case EISDIR:
      case ETXTBSY:
        return Error{.code = Errc::unsupported,
                     .sys_errno = errno,
                     .where = to,
                     .what = "sharing extents between these files"};
      default:
        return host_error(-errno, to, "share extents");
    }
  }
  return Ok{};
}

}  // namespace openvhd
