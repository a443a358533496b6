#include "io/parent_open.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <utility>

#include "base/try.hpp"

namespace openvhd {
namespace {

constexpr int kMostTries = 100;

Error refused(const char* rule) noexcept { return {.code = Errc::denied, .what = rule}; }

/// A directory in which a parent may lie.
struct Root {
  int directory = -1;  // borrowed
  const std::string& path;
  bool trusted = false;  // named by the operator
};

FileIdentity identity_of(const struct stat& info) noexcept {
  return {.device = info.st_dev, .inode = info.st_ino};
}

std::string joined(const std::string& directory, const std::string& name) {
  if (directory == ".") return name;
  return directory.ends_with('/') ? directory + name : directory + "/" + name;
}

/// Opens one name inside a directory, following nothing and leaving it nowhere. A negative
/// descriptor leaves the reason in errno.
Fd open_in(const Root& root, const std::string& name, int flags, bool cross_device) noexcept {
  open_how how{};
  how.flags = static_cast<unsigned>(flags | O_CLOEXEC | O_NOFOLLOW);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  if (!cross_device) how.resolve |= RESOLVE_NO_XDEV;
  long fd = -1;
  for (int tries = 0; tries < kMostTries; ++tries) {
    fd = ::syscall(SYS_openat2, root.directory, name.c_str(), &how, sizeof how);
    // EAGAIN: a rename or a mount came in between, and the kernel cannot vouch for the result.
    if (fd >= 0 || (errno != EINTR && errno != EAGAIN)) break;
  }
  if (fd >= 0 || errno != ENOSYS || !root.trusted) return Fd{static_cast<int>(fd)};
  // An old kernel. The name is a single component and is not followed; what is left to tell is
  // another file system, and only a root that the operator trusts gets this benefit of the doubt.
  Fd plain{::openat(root.directory, name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW)};
  struct stat at{};
  struct stat in{};
  if (!plain || cross_device) return plain;
  if (::fstat(root.directory, &at) == 0 && ::fstat(plain.get(), &in) == 0 && at.st_dev == in.st_dev)
    return plain;
  errno = EXDEV;
  return Fd{};
}

Error name_error(int code) noexcept {
  switch (code) {
    case ELOOP:
      return refused("parent: a symbolic link (f.4)");
    case EXDEV:
      return refused("parent: on another mount than its child (f.4)");
    case ENOSYS:
      return refused("parent: this kernel has no openat2; name a trusted directory (f.4)");
    default:
      return open_error(code, "open the parent");
  }
}

/// Rule 4, on the file itself.
Status check_file(const struct stat& info, const ParentRequest& request) noexcept {
  if (S_ISLNK(info.st_mode)) return refused("parent: a symbolic link (f.4)");
  if (!S_ISREG(info.st_mode)) return refused("parent: not a regular file (f.4)");
  if ((info.st_mode & S_IWOTH) != 0) return refused("parent: everybody may write to it (f.4)");
  struct stat child{};
  if (::fstat(request.child.descriptor().get(), &child) != 0)
    return Error{.code = Errc::io, .sys_errno = errno, .what = "stat the child"};
  const auto& owners = request.policy.trusted_owners;
  if (info.st_uid != child.st_uid && info.st_uid != 0 &&
      std::ranges::find(owners, info.st_uid) == owners.end())
    return refused("parent: belongs neither to the child's owner nor to a trusted one (f.4)");
  if (std::ranges::find(request.chain, identity_of(info)) != request.chain.end())
    return refused("parent: already in the chain (f.4, C02)");
  return Ok{};
}

/// Rules 3, 4 and 6 for one name in one directory.
Result<std::unique_ptr<PosixFile>> open_candidate(const ParentRequest& request, const Root& root,
                                                  const std::string& name) {
  const bool cross = request.policy.cross_device;
  // First a look that has no side effects: opening a device may have some, a FIFO may hang.
  const Fd look = open_in(root, name, O_PATH, cross);
  if (!look) return name_error(errno);
  struct stat seen{};
  if (::fstat(look.get(), &seen) != 0)
    return Error{.code = Errc::io, .sys_errno = errno, .what = "stat the parent"};
  OVHD_CHECK(check_file(seen, request));
  Fd fd = open_in(root, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, cross);
  if (!fd) return name_error(errno);
  struct stat opened{};
  if (::fstat(fd.get(), &opened) != 0)
    return Error{.code = Errc::io, .sys_errno = errno, .what = "stat the parent"};
  if (identity_of(opened) != identity_of(seen))
    return refused("parent: replaced while it was being opened (f.4)");
  OVHD_CHECK(check_file(opened, request));  // its mode and owner may have changed since
  return PosixFile::adopt(std::move(fd), joined(root.path, name),
                          {.direct = request.direct, .lock = request.lock});
}

/// The parent that the operator named: only its place in the chain is checked.
Result<OpenedParent> open_named(const ParentRequest& request, std::vector<std::string>& notes) {
  const std::size_t index = request.chain.size() - 1;
  const auto& paths = request.policy.chain;
  if (index >= paths.size())
    return Error{.code = Errc::not_found, .what = "parent: the given chain ends before it (f.4)"};
  OVHD_TRY(auto file,
           PosixFile::open(paths[index].path, {.direct = request.direct, .lock = request.lock}));
  if (std::ranges::find(request.chain, file->identity()) != request.chain.end())
    return refused("parent: already in the chain (f.4, C02)");
  OVHD_TRY(ImagePlace place, place_of(*file));
  notes.push_back("parent opened as given: " + quote_for_display(paths[index].path));
  return OpenedParent{.file = std::move(file), .place = std::move(place)};
}

Result<ImagePlace> open_root(const std::string& path) {
  Fd fd{::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!fd) return open_error(errno, "open a parent directory");
  return ImagePlace{.directory = std::move(fd), .path = path};
}

/// What is worth telling when nothing could be opened: a refusal rather than an absence.
void keep_worse(std::optional<Error>& kept, const Error& error) noexcept {
  if (!kept || (kept->code == Errc::not_found && error.code != Errc::not_found)) kept = error;
}

/// A name to look for.
struct Candidate {
  std::string name;
  bool only_trusted = false;  ///< In the directories that the operator named, not beside the child.
};

/// The last component of a path that leads elsewhere: where the operator has named directories,
/// the file is looked for there, whatever way the image would take to it.
Result<std::string> last_component(std::string_view proposed) {
  const std::size_t separator = proposed.find_last_of("/\\");
  if (separator == std::string_view::npos) return refused("parent path: no directory (f.4)");
  return plain_parent_name(proposed.substr(separator + 1));
}

/// The names that rule 2 leaves, each once.
std::vector<Candidate> plain_names(const ParentRequest& request, std::optional<Error>& failure,
                                   std::vector<std::string>& notes) {
  std::vector<Candidate> names;
  const auto add = [&](std::string name, bool only_trusted) {
    const auto same = [&](const Candidate& c) { return c.name == name; };
    if (std::ranges::none_of(names, same)) names.push_back({std::move(name), only_trusted});
  };
  for (const ParentPath& proposal : request.proposals) {
    const std::string who = std::string{proposal.key} + " " + quote_for_display(proposal.text);
    if (proposal.kind != ParentPath::Kind::relative) {
      notes.push_back("ignored: " + who + ": only relative paths are followed (f.4)");
      continue;
    }
    if (auto name = plain_parent_name(proposal.text)) {
      add(*std::move(name), false);
      continue;
    } else {
      notes.push_back("ignored: " + who + ": " + name.error().what);
      keep_worse(failure, name.error());
    }
    if (request.policy.parent_dirs.empty()) continue;
    if (auto name = last_component(proposal.text)) add(*std::move(name), true);
  }
  return names;
}

}  // namespace

Result<ImagePlace> place_of(const PosixFile& file) {
  std::string path = file.name();
  char* const real = ::realpath(path.c_str(), nullptr);
  struct stat link{};
  if (real != nullptr && ::lstat(path.c_str(), &link) == 0 && S_ISLNK(link.st_mode)) path = real;
  std::free(real);
  const std::size_t slash = path.rfind('/');
  const std::string leaf = slash == std::string::npos ? path : path.substr(slash + 1);
  std::string directory =
      slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
  OVHD_TRY(ImagePlace place, open_root(directory));
  struct stat info{};
  const bool same =
      ::fstatat(place.directory.get(), leaf.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
      (S_ISBLK(info.st_mode) || identity_of(info) == file.identity());
  if (!same) return refused("the image's name stands for another file by now (f.4)");
  return place;
}

Result<OpenedParent> open_parent(const ParentRequest& request, std::vector<std::string>& notes) {
  if (request.chain.size() >= request.policy.max_depth)
    return Error{.code = Errc::out_of_range, .what = "chain: deeper than the limit (f.4, C02)"};
  if (!request.policy.chain.empty()) return open_named(request, notes);

  std::optional<Error> failure;
  const auto names = plain_names(request, failure, notes);
  std::vector<ImagePlace> trusted;
  for (const std::string& path : request.policy.parent_dirs) {
    OVHD_TRY(ImagePlace root, open_root(path));
    trusted.push_back(std::move(root));
  }
  for (const auto& [name, only_trusted] : names) {
    for (std::size_t i = only_trusted ? 1 : 0; i <= trusted.size(); ++i) {
      const ImagePlace& place = i == 0 ? request.place : trusted[i - 1];
      const Root root{.directory = place.directory.get(), .path = place.path, .trusted = i > 0};
      auto file = open_candidate(request, root, name);
      if (!file) {
        notes.push_back("passed over: " + quote_for_display(joined(place.path, name)) + ": " +
                        file.error().what);
        keep_worse(failure, file.error());
        continue;
      }
      notes.push_back("parent opened: " + quote_for_display((*file)->name()));
      Fd directory{::fcntl(place.directory.get(), F_DUPFD_CLOEXEC, 0)};
      if (!directory) return host_error(-errno, {}, "keep the parent's directory");
      return OpenedParent{.file = *std::move(file),
                          .place = {.directory = std::move(directory), .path = place.path}};
    }
  }
  if (failure) return *failure;
  return refused("parent: the image proposes no relative path; name its parent (f.4)");
}

}  // namespace openvhd
