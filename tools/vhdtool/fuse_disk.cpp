#include "fuse_disk.hpp"

#define FUSE_USE_VERSION 312  // NOLINT(readability-identifier-naming): theirs
#include <fuse_lowlevel.h>
#include <unistd.h>

#include <array>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "fuse_state.hpp"
#include "signals.hpp"

namespace vhdtool {
namespace {

constexpr unsigned kMostThreads = 16;

/// The last line that libfuse logged: its functions say no more than that they failed.
std::string& fuse_said() {
  static std::string said;
  return said;
}

void keep_line(fuse_log_level, const char* format, va_list arguments) {
  std::array<char, 512> line{};
  static_cast<void>(std::vsnprintf(line.data(), line.size(), format, arguments));
  auto& said = fuse_said();
  said = line.data();
  while (!said.empty() && said.back() == '\n') said.pop_back();
}

struct stat status_of(const FuseDisk::Options& options, mode_t kind) {
  struct stat out{};
  const mode_t rights = options.read_only ? 0400 : 0600;
  out.st_mode = kind | rights | (S_ISDIR(kind) ? 0100U : 0U);
  out.st_nlink = 1;
  out.st_uid = ::geteuid();
  out.st_gid = ::getegid();
  out.st_blksize = 4096;
  out.st_mtim.tv_sec = out.st_ctim.tv_sec = out.st_atim.tv_sec = std::time(nullptr);
  return out;
}

class Arguments {
 public:
  explicit Arguments(const FuseDisk::Options& options) {
    char* escaped = nullptr;
    fuse_opt_add_opt(&escaped, "default_permissions");
    fuse_opt_add_opt(&escaped, options.read_only ? "ro" : "rw");
    fuse_opt_add_opt(&escaped, "subtype=vhdtool");
    fuse_opt_add_opt_escaped(&escaped, ("fsname=" + options.image).c_str());
    const std::array words{"vhdtool", "-o", static_cast<const char*>(escaped)};
    for (const char* word : words) fuse_opt_add_arg(&all, word);
    std::free(escaped);  // NOLINT(cppcoreguidelines-no-malloc): libfuse's
  }
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;
  ~Arguments() { fuse_opt_free_args(&all); }

  fuse_args all{};
};

}  // namespace

FuseDisk::FuseDisk(Key, std::unique_ptr<FuseState> state) noexcept : state_{std::move(state)} {}

FuseDisk::~FuseDisk() {
  if (state_->mounted) fuse_session_unmount(state_->session);
  fuse_session_destroy(state_->session);
}

std::unique_ptr<FuseDisk> FuseDisk::mount(openvhd::ParallelDisk& disk, const DiskWindow& window,
                                          const std::string& folder, const Options& options,
                                          std::string& problem) {
  fuse_set_log_func(keep_line);
  auto state = std::make_unique<FuseState>(FuseState{.disk = disk, .window = window});
  state->read_only = options.read_only;
  state->root = status_of(options, S_IFDIR);
  state->root.st_ino = FUSE_ROOT_ID;
  state->file = status_of(options, S_IFREG);
  state->file.st_ino = FUSE_ROOT_ID + 1;
  state->file.st_size = static_cast<off_t>(window.length);
  state->file.st_blocks = static_cast<blkcnt_t>(window.length / 512);
  Arguments arguments{options};
  state->session =
      fuse_session_new(&arguments.all, &fuse_calls(), sizeof(fuse_lowlevel_ops), state.get());
  if (state->session == nullptr) {
    problem = fuse_said().empty() ? "libfuse gives no session" : fuse_said();
    return nullptr;
  }
  auto out = std::make_unique<FuseDisk>(Key{}, std::move(state));
  if (fuse_session_mount(out->state_->session, folder.c_str()) != 0) {
    problem = fuse_said().empty() ? "libfuse cannot mount here" : fuse_said();
    return nullptr;
  }
  out->state_->mounted = true;
  return out;
}

bool FuseDisk::serve() {
  leave_interrupts_to_others();
  if (fuse_set_signal_handlers(state_->session) != 0) return false;
  fuse_loop_config* const config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_max_threads(config, kMostThreads);
  fuse_loop_cfg_set_idle_threads(config, kMostThreads);
  // Of the signal, where one ended it; otherwise it was unmounted.
  const int result = fuse_session_loop_mt(state_->session, config);
  fuse_loop_cfg_destroy(config);
  fuse_remove_signal_handlers(state_->session);
  return result >= 0;
}

}  // namespace vhdtool
