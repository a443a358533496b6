#include "io/new_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "base/try.hpp"
#include "io/host.hpp"

namespace openvhd {
namespace {

constexpr mode_t kNewFileMode = 0666;  // less what the umask takes
constexpr mode_t kGuardedMode = 0644;
constexpr std::size_t kLongestLeaf = 255;

Fd open_at(const Fd& directory, const std::string& leaf, int flags, mode_t mode = 0) noexcept {
  int fd = -1;
  do {
    fd = ::openat(directory.get(), leaf.c_str(), flags | O_CLOEXEC | O_NOCTTY, mode);
  } while (fd < 0 && errno == EINTR);
  return Fd{fd};
}

/// ".NAME.RANDOM.new", short enough for any file system.
std::string temporary_name(const std::string& leaf) {
  const std::string random = to_string(system_host().random_guid()).substr(0, 13);
  const std::string tail = "." + random + ".new";
  return "." + leaf.substr(0, kLongestLeaf - 1 - tail.size()) + tail;
}

/// Refused before anything is written; commit() sees to it that this is still so then.
Status expect_free(const DirectoryEntry& entry) {
  struct stat info{};
  const int found =
      ::fstatat(entry.directory().get(), entry.leaf().c_str(), &info, AT_SYMLINK_NOFOLLOW);
  if (found == 0) {
    return Error{.code = Errc::invalid, .sys_errno = EEXIST, .what = "create the file"};
  }
  if (errno != ENOENT) return open_error(errno, "create the file");
  return Ok{};
}

/// Where a chain of symbolic links ends, so that the file is replaced and the link stays.
std::string resolved(const std::string& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISLNK(info.st_mode)) return path;
  char* const real = ::realpath(path.c_str(), nullptr);
  if (real == nullptr) return path;
  std::string out{real};
  std::free(real);
  return out;
}

}  // namespace

DirectoryEntry::DirectoryEntry(Fd directory, std::string leaf) noexcept
    : directory_{std::move(directory)}, leaf_{std::move(leaf)} {}

Result<DirectoryEntry> DirectoryEntry::open(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  std::string leaf = slash == std::string::npos ? path : path.substr(slash + 1);
  if (leaf.empty() || leaf == "." || leaf == ".." || path.find('\0') != std::string::npos)
    return Error{.code = Errc::invalid, .what = "the path does not end in a file name"};
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  Fd fd{::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!fd) return open_error(errno, "open the directory of the file");
  return DirectoryEntry{std::move(fd), std::move(leaf)};
}

Status DirectoryEntry::rename_from(const std::string& other_leaf) noexcept {
  if (::renameat(directory_.get(), other_leaf.c_str(), directory_.get(), leaf_.c_str()) != 0)
    return host_error(-errno, {}, "rename the new file");
  return Ok{};
}

Status DirectoryEntry::take_free_name(const std::string& other_leaf) noexcept {
  constexpr const char* kWhat = "give the new file its name";
  const auto taken = [] {
    return Error{.code = Errc::invalid, .sys_errno = EEXIST, .what = kWhat};
  };
  const int at = directory_.get();
  if (::renameat2(at, other_leaf.c_str(), at, leaf_.c_str(), RENAME_NOREPLACE) == 0) return Ok{};
  if (errno == EEXIST) return taken();
  // Some file systems (NFS) take no flags; a second name is never put over another file either.
  if (errno != EINVAL && errno != ENOSYS) return host_error(-errno, {}, kWhat);
  if (::linkat(at, other_leaf.c_str(), at, leaf_.c_str(), 0) != 0) {
    return errno == EEXIST ? taken() : host_error(-errno, {}, kWhat);
  }
  return remove(other_leaf);
}

Status DirectoryEntry::remove(const std::string& leaf) noexcept {
  if (::unlinkat(directory_.get(), leaf.c_str(), 0) != 0)
    return host_error(-errno, {}, "remove the file");
  return Ok{};
}

Status DirectoryEntry::sync() noexcept {
  if (::fsync(directory_.get()) == 0) return Ok{};
  // Some file systems have nothing to sync in a directory and say so.
  if (errno == EINVAL) return Ok{};
  return host_error(-errno, {}, "sync the directory");
}

NewFile::NewFile(DirectoryEntry entry, std::string temporary, std::unique_ptr<PosixFile> file,
                 std::unique_ptr<PosixFile> replaced) noexcept
    : entry_{std::move(entry)},
      temporary_{std::move(temporary)},
      file_{std::move(file)},
      replaced_{std::move(replaced)} {}

NewFile::NewFile(NewFile&& other) noexcept
    : entry_{std::move(other.entry_)},
      temporary_{std::exchange(other.temporary_, {})},
      file_{std::move(other.file_)},
      replaced_{std::move(other.replaced_)} {}

NewFile::~NewFile() {
  if (temporary_.empty() || !file_) return;
  // Only what is ours: somebody may have moved a file of theirs to this name.
  struct stat info{};
  if (::fstatat(entry_.directory().get(), temporary_.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
    return;
  if (FileIdentity{.device = info.st_dev, .inode = info.st_ino} == file_->identity())
    static_cast<void>(entry_.remove(temporary_));
}

Result<NewFile> NewFile::create(const std::string& path, const Options& options) {
  const PosixFile::Options writer{.writable = true, .direct = options.direct, .lock = Lock::writer};
  std::string target = options.overwrite ? resolved(path) : path;
  OVHD_TRY(DirectoryEntry entry, DirectoryEntry::open(target));
  std::unique_ptr<PosixFile> replaced;
  if (options.overwrite) {
    auto old = PosixFile::open(target, {.writable = true, .lock = Lock::writer});
    if (!old && old.error().code != Errc::not_found) return old.error();
    if (old && (*old)->is_block_device()) {
      if (options.direct) {
        old = Error{};  // closes it, and its lock with it
        old = PosixFile::open(target, writer);
        if (!old) return old.error();
      }
      return NewFile{std::move(entry), {}, *std::move(old), nullptr};
    }
    if (old) replaced = *std::move(old);
  }
  if (!replaced) OVHD_CHECK(expect_free(entry));
  std::string now = temporary_name(entry.leaf());
  // The mode of what it replaces may be stricter than the umask: nobody reads it before commit.
  const mode_t mode = replaced ? 0600 : options.guarded ? kGuardedMode : kNewFileMode;
  Fd fd = open_at(entry.directory(), now, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
  if (!fd) return open_error(errno, "create the file");
  auto file = PosixFile::adopt(std::move(fd), path, writer);
  if (!file) {
    static_cast<void>(entry.remove(now));
    return file.error();
  }
  return NewFile{std::move(entry), std::move(now), *std::move(file), std::move(replaced)};
}

Status NewFile::keep_mode_and_owner() noexcept {
  struct stat info{};
  if (::fstat(replaced_->descriptor().get(), &info) != 0)
    return host_error(-errno, {}, "stat the file that is replaced");
  // Only the superuser may give files away; then the new file is the caller's, as a copy is.
  const int fd = file_->descriptor().get();
  const bool same_owner = ::fchown(fd, info.st_uid, info.st_gid) == 0;
  const mode_t mode = info.st_mode & (same_owner ? 07777 : 0700);
  if (::fchmod(fd, mode) != 0) return host_error(-errno, {}, "set the mode of the new file");
  return Ok{};
}

Status NewFile::commit() noexcept {
  if (replaced_) OVHD_CHECK(keep_mode_and_owner());
  if (::fsync(file_->descriptor().get()) != 0) return host_error(-errno, {}, "sync the new file");
  if (temporary_.empty()) return Ok{};  // a device: its name was there
  OVHD_CHECK(replaced_ ? entry_.rename_from(temporary_) : entry_.take_free_name(temporary_));
  temporary_.clear();
  return entry_.sync();
}

}  // namespace openvhd
