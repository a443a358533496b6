#include "mounts.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "child.hpp"
#include "fuse_disk.hpp"

namespace vhdtool {
namespace {

namespace fs = std::filesystem;

// For the kernel to let go of a loop device, in steps of 10 ms.
constexpr int kLoopSteps = 3000;

std::string text_of(const std::string& file) {
  std::ifstream in{file, std::ios::binary};
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

/// mountinfo has \040 for a blank.
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    const auto digits = text.substr(std::min(text.size(), i + 1), 3);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 8);
    const bool escape = text[i] == '\\' && digits.size() == 3 && error == std::errc{} &&
                        end == digits.data() + 3 && value < 256;
    out += escape ? static_cast<char>(value) : text[i];
    if (escape) i += 3;
  }
  return out;
}

class Descriptor {
 public:
  explicit Descriptor(int number) noexcept : number_{number} {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int get() const noexcept { return number_; }
  explicit operator bool() const noexcept { return number_ >= 0; }

 private:
  int number_;
};

MountProblem problem_of(const std::string& what, int number) {
  return {.text = what + ": " + std::strerror(number), .busy = number == EBUSY};
}

/// The process that serves a mount of ours; 0 where it does not answer.
pid_t server_of(const std::string& folder) {
  std::array<char, 32> text{};
  const auto got = ::getxattr(folder.c_str(), kServerAttribute, text.data(), text.size());
  pid_t pid = 0;
  if (got > 0) std::from_chars(text.data(), text.data() + got, pid);
  return pid;
}

/// Durable before it is unmounted: afterwards nobody is left to say that it is not.
MountProblem sync_file(const std::string& folder) {
  const auto file = folder + '/' + kDiskFile;
  const Descriptor open{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
  // Whoever may unmount it may read it, or it is dead.
  if (!open || ::fsync(open.get()) == 0) return {};
  return problem_of(file, errno);
}

}  // namespace

std::vector<Mount> parse_mounts(std::string_view text) {
  std::vector<Mount> out;
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    std::istringstream words{std::string{line}};
    std::string word;
    Mount mount;
    for (int i = 0; i < 5 && words >> word; ++i) mount.folder = word;
    while (words >> word && word != "-") {
    }
    if (words >> mount.type >> mount.source) {
      mount.folder = unescaped(mount.folder);
      mount.source = unescaped(mount.source);
      out.push_back(std::move(mount));
    }
  }
  return out;
}

std::string absolute_folder(const std::string& folder) {
  std::error_code none;
  auto path = fs::absolute(folder, none).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  // Not the last part: a look at a mount whose server is gone fails.
  const auto parent = fs::weakly_canonical(path.parent_path(), none);
  return (parent / path.filename()).string();
}

std::optional<Mount> mount_at(const std::string& folder) {
  const auto wanted = absolute_folder(folder);
  std::optional<Mount> found;
  for (auto& mount : parse_mounts(text_of("/proc/self/mountinfo"))) {
    if (mount.folder == wanted) found = std::move(mount);
  }
  return found;
}

std::string loop_file(const std::string& device) {
  if (device.rfind("/dev/loop", 0) != 0) return {};
  auto text = text_of(fmt::format("/sys/block/{}/loop/backing_file", device.substr(5)));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::string run_folder() {
  if (::geteuid() == 0) return "/run/vhdtool";
  const char* const ours = std::getenv("XDG_RUNTIME_DIR");
  if (ours != nullptr && *ours == '/') return std::string{ours} + "/vhdtool";
  return fmt::format("/tmp/vhdtool-{}", ::geteuid());
}

bool in_run_folder(const std::string& folder) {
  return fs::path{absolute_folder(folder)}.parent_path() == absolute_folder(run_folder());
}

MountProblem unmount(const std::string& folder) {
  if (::geteuid() == 0) {
    if (::umount2(folder.c_str(), UMOUNT_NOFOLLOW) == 0) return {};
    return problem_of(folder, errno);
  }
  const auto helper = program_path("fusermount3");
  if (helper.empty()) return {.text = "fusermount3 is not installed (Debian: package fuse3)"};
  const auto ran = run_program({helper, "-u", "--", folder});
  if (ran.exit_code == 0) return {};
  const bool busy = ran.output.find("busy") != std::string::npos;
  return {.text = ran.output.substr(ran.output.rfind('\n') + 1), .busy = busy};
}

MountProblem stop_fuse_mount(const std::string& folder) {
  const pid_t pid = server_of(folder);
  // glibc 2.36 declares pidfd_open() for C alone.
  const Descriptor server{pid > 0 ? static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)) : -1};
  const MountProblem lost = sync_file(folder);
  if (auto problem = unmount(folder); !problem.text.empty()) return problem;
  if (server) {
    pollfd ended{.fd = server.get(), .events = POLLIN, .revents = 0};
    while (::poll(&ended, 1, -1) < 0 && errno == EINTR) {
    }
  }
  if (in_run_folder(folder)) ::rmdir(folder.c_str());
  return lost;
}

MountProblem stop_mount(const std::string& folder) {
  const auto mount = mount_at(folder);
  if (!mount) return {.text = folder + ": nothing is mounted here"};
  if (mount->type == kMountType) return stop_fuse_mount(mount->folder);
  const fs::path file = loop_file(mount->source);
  const auto below = file.empty() ? std::nullopt : mount_at(file.parent_path().string());
  if (!below || below->type != kMountType || file.filename() != kDiskFile)
    return {.text = folder + ": this mount is not one of vhdtool"};
  if (auto problem = unmount(mount->folder); !problem.text.empty()) return problem;
  // The device lets go of the file by itself, a little later.
  for (int i = 0; i < kLoopSteps && loop_file(mount->source) == file; ++i) ::poll(nullptr, 0, 10);
  if (in_run_folder(mount->folder)) ::rmdir(mount->folder.c_str());
  return stop_fuse_mount(below->folder);
}

}  // namespace vhdtool
