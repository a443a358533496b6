#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/try.hpp"
#include "io/image_store.hpp"
#include "io/new_file.hpp"
#include "io/posix_file.hpp"

namespace openvhd {
namespace {

constexpr const char* kReadText = "read the text";

Status check_text_file(const struct stat& info, std::size_t most) noexcept {
  if (!S_ISREG(info.st_mode)) return Error{.code = Errc::denied, .what = "not a regular file"};
  if ((info.st_mode & S_IWOTH) != 0)
    return Error{.code = Errc::denied,
                 .what = "everybody may write to it: it is not to be trusted"};
  if (info.st_uid != ::geteuid() && info.st_uid != 0)
    return Error{.code = Errc::denied, .what = "belongs to somebody else: it is not to be trusted"};
  if (std::cmp_greater(info.st_size, most))
    return Error{.code = Errc::corrupt, .what = "longer than any text of its kind"};
  return Ok{};
}

}  // namespace

bool name_exists(const std::string& path) noexcept {
  struct stat info{};
  return ::lstat(path.c_str(), &info) == 0;
}

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string leaf_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

std::string beside(const std::string& path, const std::string& name) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? name : path.substr(0, slash + 1) + name;
}

Result<std::unique_ptr<File>> PosixStore::open(const std::string& path, Lock lock) {
  OVHD_TRY(
      auto file,
      PosixFile::open(path, {.writable = lock == Lock::writer, .direct = direct_, .lock = lock}));
  return std::unique_ptr<File>{std::move(file)};
}

Result<std::unique_ptr<File>> PosixStore::open_to_change(const std::string& path) {
  OVHD_TRY(auto file,
           PosixFile::open(path, {.writable = true, .direct = direct_, .lock = Lock::reader}));
  return std::unique_ptr<File>{std::move(file)};
}

Status PosixStore::create(const std::string& path, const Fill& fill) {
  OVHD_TRY(NewFile made, NewFile::create(path, {.overwrite = false, .direct = false}));
  OVHD_CHECK(fill(made.file()));
  return made.commit();
}

Result<std::string> PosixStore::read_text(const std::string& path, std::size_t most) {
  const Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)};
  if (!fd) return open_error(errno, kReadText);
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return host_error(-errno, {}, kReadText);
  OVHD_CHECK(check_text_file(info, most));
  std::string text(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t got =
        ::pread(fd.get(), text.data() + done, text.size() - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return host_error(-errno, {done}, kReadText);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  text.resize(done);
  return text;
}

Status PosixStore::write_text(const std::string& path, const std::string& text) {
  // Everybody may read it; what everybody may write, read_text() does not trust.
  OVHD_TRY(NewFile made,
           NewFile::create(path, {.overwrite = true, .direct = false, .guarded = true}));
  OVHD_CHECK(made.file().write_all({}, std::as_bytes(std::span{text})));
  return made.commit();
}

Status PosixStore::remove(const std::string& path) {
  OVHD_TRY(DirectoryEntry entry, DirectoryEntry::open(path));
  if (const Status gone = entry.remove(entry.leaf()); !gone) {
    if (gone.error().sys_errno != ENOENT) return gone;
    return Error{.code = Errc::not_found, .sys_errno = ENOENT, .what = "remove the file"};
  }
  return entry.sync();
}

bool PosixStore::exists(const std::string& path) noexcept { return name_exists(path); }

Result<std::vector<std::string>> PosixStore::list(const std::string& directory) {
  const auto close = [](DIR* stream) { ::closedir(stream); };
  const std::unique_ptr<DIR, decltype(close)> stream{::opendir(directory.c_str()), close};
  if (!stream) return open_error(errno, "list the directory");
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* const entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    std::string name{entry->d_name};
    if (name == "." || name == "..") continue;
    if (names.size() == kMostNames)
      return Error{.code = Errc::out_of_range, .what = "more names in the directory than 100000"};
    names.push_back(std::move(name));
  }
  if (errno != 0) return host_error(-errno, {}, "list the directory");
  std::ranges::sort(names);
  return names;
}

}  // namespace openvhd
