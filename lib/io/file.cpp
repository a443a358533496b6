#include "io/file.hpp"

#include <algorithm>
#include <cerrno>

#include "base/try.hpp"

namespace openvhd {
namespace {

constexpr std::size_t kLargestTransfer = std::size_t{1} << 30;

}  // namespace

Error host_error(std::int32_t result, FileOffset at, const char* what) noexcept {
  const int code = result < 0 ? -result : EIO;
  const bool full = code == ENOSPC || code == EDQUOT;
  return {.code = full ? Errc::no_space : Errc::io, .sys_errno = code, .where = at, .what = what};
}

Status File::change_lock(Lock) noexcept {
  return Error{.code = Errc::unsupported, .what = "a file without locks"};
}

Status File::clone_from(File&, FileOffset, FileOffset to, std::uint64_t) noexcept {
  return Error{.code = Errc::unsupported, .where = to, .what = "sharing extents between files"};
}

std::int64_t File::modified_unix() noexcept { return 0; }

int File::async_descriptor(const IoCommand&) const noexcept { return -1; }

std::uint32_t File::direct_alignment() const noexcept { return 1; }

Result<std::size_t> File::read_some(FileOffset at, std::span<std::byte> into) noexcept {
  std::size_t done = 0;
  while (done < into.size()) {
    const iovec piece{into.data() + done, std::min(into.size() - done, kLargestTransfer)};
    const std::int32_t got = execute({.kind = IoCommand::Kind::read,
                                      .at = at + done,
                                      .length = piece.iov_len,
                                      .buffers = {&piece, 1}});
    if (got < 0) return host_error(got, at + done, "read");
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

Status File::read_exact(FileOffset at, std::span<std::byte> into, const char* what) noexcept {
  OVHD_TRY(const std::size_t got, read_some(at, into));
  if (got != into.size()) return Error{.code = Errc::corrupt, .where = at, .what = what};
  return Ok{};
}

Status File::write_all(FileOffset at, std::span<const std::byte> from) noexcept {
  while (!from.empty()) {
    // writev takes a mutable pointer by its signature and never writes through it.
    const iovec piece{const_cast<std::byte*>(from.data()), std::min(from.size(), kLargestTransfer)};
    const std::int32_t put = execute({.kind = IoCommand::Kind::write,
                                      .at = at,
                                      .length = piece.iov_len,
                                      .buffers = {&piece, 1}});
    if (put <= 0) return host_error(put, at, "write");
    from = from.subspan(static_cast<std::size_t>(put));
    at = at + static_cast<std::uint64_t>(put);
  }
  return Ok{};
}

Status File::sync() noexcept {
  const std::int32_t result = execute({.kind = IoCommand::Kind::sync});
  if (result < 0) return host_error(result, {}, "sync");
  return Ok{};
}

Status File::set_size(std::uint64_t bytes) noexcept {
  const std::int32_t result = execute({.kind = IoCommand::Kind::set_size, .at = {bytes}});
  if (result < 0) return host_error(result, {bytes}, "set the file size");
  return Ok{};
}

Status File::reserve(FileOffset at, std::uint64_t length) noexcept {
  const std::int32_t result =
      execute({.kind = IoCommand::Kind::reserve, .at = at, .length = length});
  if (result < 0) return host_error(result, at, "reserve space");
  return Ok{};
}

Status File::zero(FileOffset at, std::uint64_t length) noexcept {
  const std::int32_t result = execute({.kind = IoCommand::Kind::zero, .at = at, .length = length});
  if (result < 0) return host_error(result, at, "zero a range");
  return Ok{};
}

Status File::punch(FileOffset at, std::uint64_t length) noexcept {
  const std::int32_t result = execute({.kind = IoCommand::Kind::punch, .at = at, .length = length});
  if (result < 0) return host_error(result, at, "punch a hole");
  return Ok{};
}

}  // namespace openvhd
