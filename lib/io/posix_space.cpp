// How a PosixFile gets, zeroes and gives back space, with what stands in where the host file
// system does not do it.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/checked.hpp"
#include "io/posix_file.hpp"

namespace openvhd {
namespace {

constexpr std::size_t kZeroBytes = 64 * kKiB;
constexpr std::size_t kZeroPieces = 16;
alignas(4096) constexpr std::array<std::byte, kZeroBytes> kZeros{};

/// True when so many bytes are certainly not there. A fallocate would find out too, but only after
/// it has taken all that is left from everybody else.
bool certainly_full(const Fd& file, std::uint64_t bytes) noexcept {
  struct statfs info{};
  if (::fstatfs(file.get(), &info) != 0 || info.f_blocks == 0 || info.f_frsize <= 0) return false;
  const auto unit = static_cast<std::uint64_t>(info.f_frsize);
  return bytes / unit > info.f_bfree;
}

}  // namespace

/// fallocate(2); what this file has no such thing for answers -EOPNOTSUPP.
std::int32_t PosixFile::allocate(int mode, std::uint64_t at, std::uint64_t length) noexcept {
  while (::fallocate(fd_.get(), mode, static_cast<off_t>(at), static_cast<off_t>(length)) != 0) {
    if (errno == EINTR) continue;
    // A device also refuses ranges that are no multiple of its blocks.
    if (errno == ENOSYS || (block_device_ && errno == EINVAL)) return -EOPNOTSUPP;
    return -errno;
  }
  return 0;
}

std::int32_t PosixFile::zero_range(std::uint64_t at, std::uint64_t length) noexcept {
  if (zero_works_) {
    const std::int32_t result = allocate(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, at, length);
    if (result != -EOPNOTSUPP) return result;
    zero_works_ = block_device_;  // a device may take another range
  }
  const auto bytes = size();
  if (!bytes) return -bytes.error().sys_errno;
  return write_zeros(at, std::min(at + length, *bytes));
}

std::int32_t PosixFile::punch_range(std::uint64_t at, std::uint64_t length) noexcept {
  if (punch_works_) {
    const std::int32_t result = allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, length);
    if (result != -EOPNOTSUPP) return result;
    punch_works_ = block_device_;
  }
  return zero_range(at, length);
}

std::int32_t PosixFile::reserve_range(std::uint64_t at, std::uint64_t length) noexcept {
  const auto before = size();
  if (!before) return -before.error().sys_errno;
  const std::uint64_t end = at + length;
  if (block_device_) return end <= *before ? 0 : -ENOSPC;
  if (end > *before && certainly_full(fd_, end - std::max(at, *before))) return -ENOSPC;
  std::int32_t result = -EOPNOTSUPP;
  if (allocate_works_) {
    // The size comes last: a fallocate that runs out of space on its way has already moved it.
    result = allocate(FALLOC_FL_KEEP_SIZE, at, length);
    if (result == 0 && end > *before) result = truncate(end);
    allocate_works_ = result != -EOPNOTSUPP;
  }
  if (result == -EOPNOTSUPP) {
    // Space inside the file cannot be had without rewriting what is there; past its end it can.
    if (end <= *before) return 0;
    result = write_zeros(std::max(at, *before), end);
  }
  if (result != 0 && end > *before) {
    // Gives back what was got past the end, unless somebody has moved the end meanwhile.
    const auto after = size();
    if (after && (*after == *before || !allocate_works_)) static_cast<void>(truncate(*before));
  }
  return result;
}

std::int32_t PosixFile::truncate(std::uint64_t bytes) noexcept {
  if (block_device_) {
    const auto now = size();
    if (!now) return -now.error().sys_errno;
    if (bytes == *now) return 0;
    return bytes > *now ? -ENOSPC : -EINVAL;
  }
  while (::ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) {
    if (errno != EINTR) return -errno;
  }
  return 0;
}

std::int32_t PosixFile::write_zeros(std::uint64_t at, std::uint64_t end) noexcept {
  std::array<iovec, kZeroPieces> pieces;
  while (at < end) {
    std::uint64_t left = end - at;
    std::size_t count = 0;
    for (; count < kZeroPieces && left > 0; ++count) {
      const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(left, kZeroBytes));
      // writev takes a mutable pointer by its signature and never writes through it.
      pieces[count] = {const_cast<std::byte*>(kZeros.data()), piece};
      left -= piece;
    }
    const std::int32_t moved = transfer({.kind = IoCommand::Kind::write,
                                         .at = {at},
                                         .length = end - at - left,
                                         .buffers = {pieces.data(), count}});
    if (moved < 0) return moved;
    if (moved == 0) return -EIO;
    at += static_cast<std::uint64_t>(moved);
  }
  return 0;
}

}  // namespace openvhd
