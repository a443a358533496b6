#include "firmware/variable_store.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <vector>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "firmware/firmware_file.hpp"

namespace openvhd::vmm {
namespace {

constexpr std::uint64_t kPage = 4096;

Error failed(const char* what) noexcept {
  Error error{.code = Errc::io, .sys_errno = errno, .what = what};
  if (errno == ENOENT) error.code = Errc::not_found;
  if (errno == EACCES || errno == EPERM) error.code = Errc::denied;
  if (errno == ENOSPC || errno == EDQUOT) error.code = Errc::no_space;
  return error;
}

Status write_all(int fd, std::span<const std::byte> bytes, std::uint64_t at) noexcept {
  while (!bytes.empty()) {
    const auto done = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return failed("write");
    bytes = bytes.subspan(static_cast<std::size_t>(done));
    at += static_cast<std::uint64_t>(done);
  }
  return Ok{};
}

Status lock(int fd) noexcept {
  struct flock range{};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  range.l_len = 0;
  if (::fcntl(fd, F_OFD_SETLK, &range) == 0) return Ok{};
  if (errno == EAGAIN || errno == EACCES)
    return Error{.code = Errc::busy, .what = "another process has this variable store"};
  return failed("lock");
}

bool is_a_package_s(const struct stat& status) noexcept {
  for (const auto& file : firmware_files()) {
    for (const char* path : file.paths) {
      struct stat own{};
      if (::stat(path, &own) == 0 && own.st_dev == status.st_dev && own.st_ino == status.st_ino)
        return true;
    }
  }
  return false;
}

}  // namespace

Result<VariableStore> VariableStore::in_memory(std::span<const std::byte> initial) {
  if (initial.empty() || !is_multiple(initial.size(), kPage))
    return Error{.code = Errc::unsupported, .what = "a variable store has whole pages"};
  OVHD_TRY(auto pages, PageBuffer::copy_of(initial));
  return VariableStore{std::move(pages), Fd{-1}};
}

Result<VariableStore> VariableStore::open(const std::string& path,
                                          std::span<const std::byte> initial) {
  OVHD_TRY(auto store, in_memory(initial));
  Fd file{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600)};
  if (!file) return failed("open");
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return failed("fstat");
  if (!S_ISREG(status.st_mode)) return Error{.code = Errc::unsupported, .what = "not a file"};
  if (is_a_package_s(status))
    return Error{.code = Errc::denied, .what = "the distribution's own file: name a copy"};
  OVHD_CHECK(lock(file.get()));
  if (status.st_size == 0) {
    OVHD_CHECK(write_all(file.get(), initial, 0));
  } else {
    if (static_cast<std::uint64_t>(status.st_size) != initial.size())
      return Error{.code = Errc::unsupported,
                   .what = "a variable store of another size than this firmware's"};
    OVHD_TRY(const auto bytes, read_file(path, initial.size()));
    if (bytes.size() != initial.size())
      return Error{.code = Errc::io, .what = "the file changed while it was read"};
    std::ranges::copy(bytes, store.bytes().begin());
  }
  store.file_ = std::move(file);
  return store;
}

bool VariableStore::keep(std::uint64_t offset, std::uint64_t length) noexcept {
  if (!file_) return true;
  const auto done = write_all(file_.get(), bytes().subspan(offset, length), offset);
  if (!done && !failed_)
    std::fprintf(stderr, "vhdvmm: --vars: %s\n", describe(done.error(), "variable store").c_str());
  failed_ = failed_ || !done;
  return done.has_value();
}

Status VariableStore::sync() noexcept {
  if (file_ && ::fdatasync(file_.get()) != 0) return failed("fdatasync");
  return Ok{};
}

}  // namespace openvhd::vmm
