#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <openvhd/parallel_disk.hpp>
#include <optional>

#include "child.hpp"
#include "console.hpp"
#include "fuse_disk.hpp"
#include "mounts.hpp"
#include "partition_table.hpp"
#include "shared_options.hpp"
#include "signals.hpp"
#include "size.hpp"
#include "text.hpp"
#include "verb.hpp"

namespace vhdtool {
namespace {

using openvhd::Access;
using openvhd::Errc;
using openvhd::Error;
using openvhd::ParallelDisk;

/// What the serving process says to the one that was started by hand.
struct Ready {
  std::uint32_t partition = 0;
  std::uint64_t length = 0;
  pid_t pid = 0;
};

/// Whoever reads the pipe stops waiting; nobody sees what is said from here on.
void detach() noexcept {
  ::setsid();
  const int nothing = ::open("/dev/null", O_RDWR);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(nothing, stream);
  if (nothing > STDERR_FILENO) ::close(nothing);
  if (::chdir("/") != 0) return;  // it keeps a folder busy, no more
}

class MountVerb : public Verb {
 public:
  VerbText text() const override;
  void declare(Arguments& arguments) override;
  ExitCode run(Console& console) override;

 private:
  ExitCode settle_folders(Console& console);
  void remove_folders() const noexcept;
  ExitCode serve(Console& console, int ready, bool detached);
  std::optional<DiskWindow> choose_window(Console& console, ParallelDisk& disk);
  std::optional<DiskWindow> choose_partition(Console& console, const PartitionTable& table,
                                             std::uint64_t size);
  ExitCode in_a_process_of_its_own(Console& console);
  ExitCode mount_file_system(Console& console, pid_t server);
  static ExitCode wait_for_the_end(Console& console, pid_t server, const std::string& folder);
  void report(Console& console, const Ready& ready) const;
  ExitCode broken(Console& console, const std::string& why) const {
    return console.fail("mount: " + why, "io", ExitCode::io);
  }
  ExitCode refused(Console& console, const std::string& why) const {
    return console.fail("mount: " + why, "denied", ExitCode::refused);
  }

  std::string mountpoint_;
  openvhd::OpenOptions open_;
  std::optional<std::uint64_t> partition_;
  bool read_only_ = false;
  bool file_system_ = false;
  bool foreground_ = false;
  bool json_ = false;

  std::string image_;
  std::string folder_;       // what the user sees
  std::string fuse_folder_;  // the same, or with --fs one below it
  std::vector<std::string> made_;
  Ready ready_;
};

VerbText MountVerb::text() const {
  return {
      .name = "mount",
      .summary = "Shows a disk as a file, or mounts the file system on it.",
      .description =
          {"Makes IMAGE, its parents included, the file disk.raw in the folder MOUNTPOINT, and "
           "goes on in the background. Programs use the file as they use a disk: mkfs, e2fsck, "
           "sfdisk, losetup, dd with conv=notrunc. Without MOUNTPOINT a folder is made in "
           "/run/vhdtool, for users in $XDG_RUNTIME_DIR/vhdtool; what was mounted is printed.",
           "With --fs the file system on the disk, or on a partition of it, is mounted at "
           "MOUNTPOINT; only root may do that, and only with images that root trusts: the "
           "kernel's file systems are not made for hostile disks.",
           "What a program wrote is in the image when its write returns, and durable when its "
           "fsync does. Holes that are punched (discard, fstrim) give space back. A server that "
           "is killed leaves a sound image; vhdtool umount takes the dead mount away."},
      .examples = {{"vhdtool mount disk.vhdx", "As a file; prints where."},
                   {"vhdtool mount disk.vhdx /mnt --fs", "The file system on it, as root."},
                   {"vhdtool mount disk.vhdx /mnt --partition 2 --read-only",
                    "The second partition as a file."},
                   {"vhdtool umount /mnt", "Ends it."}}};
}

void MountVerb::declare(Arguments& arguments) {
  arguments.positional({.name = "IMAGE", .help = "The image."}, file_into(image_));
  arguments.optional_positional({.name = "MOUNTPOINT", .help = "A folder that is there."},
                                file_into(mountpoint_));
  arguments.option({.name = "--read-only",
                    .letter = 'r',
                    .help = "Nothing is written; other readers may have the image open."},
                   flag_into(read_only_));
  arguments.option({.name = "--partition",
                    .value = "N",
                    .help = "Shows partition N (MBR or GPT) in place of the whole disk."},
                   number_into(partition_));
  arguments.option({.name = "--fs",
                    .help = "Mounts the file system: of partition N, of the only partition, or "
                            "of a disk without a partition table."},
                   flag_into(file_system_));
  arguments.option(
      {.name = "--foreground", .help = "Goes on until SIGINT or SIGTERM comes, then unmounts."},
      flag_into(foreground_));
  arguments.option({.name = "--direct", .help = "Bypasses the page cache of the image's file."},
                   flag_into(open_.direct));
  declare_format(arguments, open_.format);
  declare_parents(arguments, open_.parents);
  declare_json(arguments, json_);
}

ExitCode MountVerb::run(Console& console) {
  if (json_) console.use_json();
  if (partition_ && (*partition_ < 1 || *partition_ > 1024))
    return console.usage("mount: --partition is 1 to 1024");
  if (::access("/dev/fuse", F_OK) != 0) {
    return console.fail("mount: /dev/fuse is not there (modprobe fuse)", "not-found",
                        ExitCode::not_found);
  }
  if (file_system_ && ::geteuid() != 0)
    return refused(console, "--fs: only root may mount file systems");
  std::error_code none;
  image_ = std::filesystem::absolute(image_, none).string();
  open_.access = read_only_ ? Access::read_only : Access::read_write;
  auto code = settle_folders(console);
  if (code == ExitCode::ok) {
    code =
        foreground_ && !file_system_ ? serve(console, -1, false) : in_a_process_of_its_own(console);
  }
  if (code != ExitCode::ok || foreground_) remove_folders();
  return code;
}

ExitCode MountVerb::settle_folders(Console& console) {
  std::error_code wrong;
  const auto base = run_folder();
  if (mountpoint_.empty() || file_system_) {
    ::mkdir(base.c_str(), 0700);
    struct stat status{};
    // Somebody else's folder of that name is a trap.
    if (::lstat(base.c_str(), &status) != 0 || !S_ISDIR(status.st_mode) ||
        status.st_uid != ::geteuid())
      return refused(console, base + ": not a folder of this user");
  }
  if (!mountpoint_.empty()) {
    folder_ = absolute_folder(mountpoint_);
    if (!std::filesystem::is_directory(folder_, wrong))
      return console.fail("mount: " + folder_ + ": no such folder", "not-found",
                          ExitCode::not_found);
  } else {
    folder_ = base + '/' + std::filesystem::path{image_}.filename().string();
    if (::mkdir(folder_.c_str(), 0700) == 0) {
      made_.push_back(folder_);
    } else if (errno != EEXIST || mount_at(folder_)) {
      return console.fail("mount: " + folder_ + ": there is a mount already", "busy",
                          ExitCode::busy);
    }
  }
  fuse_folder_ = folder_;
  if (!file_system_) return ExitCode::ok;
  auto pattern = base + "/fs-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr)
    return broken(console, base + ": " + std::strerror(errno));
  fuse_folder_ = pattern;
  made_.push_back(pattern);
  return ExitCode::ok;
}

void MountVerb::remove_folders() const noexcept {
  for (const auto& folder : made_) ::rmdir(folder.c_str());
}

std::optional<DiskWindow> MountVerb::choose_partition(Console& console, const PartitionTable& table,
                                                      std::uint64_t size) {
  const auto refuse = [&](const std::string& why) {
    static_cast<void>(refused(console, image_ + ": " + why));
    return std::nullopt;
  };
  const Partition* found = nullptr;
  if (partition_) {
    found = table.find(static_cast<std::uint32_t>(*partition_));
    if (found == nullptr) return refuse(fmt::format("there is no partition {}", *partition_));
  } else if (table.kind == PartitionTable::Kind::none) {
    return DiskWindow{.at = 0, .length = size};
  } else if (table.partitions.size() == 1) {
    found = &table.partitions.front();
  } else {
    std::string list;
    for (const auto& one : table.partitions)
      list +=
          fmt::format("{}{} ({})", list.empty() ? "" : ", ", one.number, human_size(one.length));
    return refuse("--partition is needed, one of: " + (list.empty() ? "none" : list));
  }
  ready_.partition = found->number;
  return DiskWindow{.at = found->at.value, .length = found->length};
}

std::optional<DiskWindow> MountVerb::choose_window(Console& console, ParallelDisk& disk) {
  const auto& geometry = disk.geometry();
  if (!partition_ && !file_system_) return DiskWindow{.at = 0, .length = geometry.virtual_size};
  TableSource source;
  source.size = geometry.virtual_size;
  source.sector = geometry.logical_sector_size;
  source.read = [&](openvhd::VirtualOffset at, std::span<std::byte> into) {
    return disk.read(at, into);
  };
  const auto table = read_partition_table(source);
  if (!table) {
    static_cast<void>(
        console.fail(failure_of(table.error(), {.files = disk.files(), .notes = {}}, image_)));
    return std::nullopt;
  }
  return choose_partition(console, *table, geometry.virtual_size);
}

/// Opens, mounts, says so, serves until the end and closes.
ExitCode MountVerb::serve(Console& console, int ready, bool detached) {
  openvhd::OpenReport report_of_open;
  open_.report = &report_of_open;
  auto disk = ParallelDisk::open(image_, open_);
  open_.report = nullptr;
  if (!disk) return console.fail(failure_of(disk.error(), report_of_open, image_));
  console.notes(report_of_open.notes);
  const auto window = choose_window(console, *disk);
  if (!window) return ExitCode::refused;
  std::string problem;
  auto mounted = FuseDisk::mount(*disk, *window, fuse_folder_,
                                 {.image = image_, .read_only = read_only_}, problem);
  if (!mounted) return broken(console, fuse_folder_ + ": " + problem);
  ready_.length = window->length;
  ready_.pid = ::getpid();
  if (!file_system_) report(console, ready_);
  if (ready >= 0) {
    if (::write(ready, &ready_, sizeof ready_) != sizeof ready_) return ExitCode::io;
    ::close(ready);
  }
  if (detached) detach();
  const bool good = mounted->serve();
  mounted.reset();
  const auto closed = disk->close();
  if (!closed)
    return console.fail(failure_of(closed.error(), {.files = disk->files(), .notes = {}}, image_));
  return good ? ExitCode::ok : broken(console, fuse_folder_ + ": libfuse stopped");
}

ExitCode MountVerb::in_a_process_of_its_own(Console& console) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return broken(console, std::strerror(errno));
  const pid_t server = ::fork();
  if (server < 0) return broken(console, std::strerror(errno));
  if (server == 0) {
    ::close(ends[0]);
    // The terminal's signals are for the one who was started by hand.
    if (foreground_) ::setpgid(0, 0);
    const auto code = serve(console, ends[1], !foreground_);
    ::_exit(static_cast<int>(console.finish(code)));
  }
  ::close(ends[1]);
  ssize_t got = 0;
  do {
    got = ::read(ends[0], &ready_, sizeof ready_);
  } while (got < 0 && errno == EINTR && !interrupted());
  ::close(ends[0]);
  if (got != sizeof ready_) {
    int status = 0;
    while (::waitpid(server, &status, 0) < 0 && errno == EINTR) {
    }
    // It has said why.
    return WIFEXITED(status) && WEXITSTATUS(status) != 0
               ? static_cast<ExitCode>(WEXITSTATUS(status))
               : broken(console, "the serving process was killed");
  }
  if (!file_system_) return ExitCode::ok;
  return mount_file_system(console, server);
}

ExitCode MountVerb::mount_file_system(Console& console, pid_t server) {
  const auto ran = run_program({program_path("mount"), "-o", read_only_ ? "loop,ro" : "loop", "--",
                                fuse_folder_ + '/' + kDiskFile, folder_});
  if (ran.exit_code != 0) {
    const auto problem = stop_fuse_mount(fuse_folder_);
    const auto why = ran.exit_code == 127 ? "mount(8) cannot be run" : ran.output;
    if (!problem.text.empty()) console.note(problem.text);
    return refused(console, why.substr(0, why.find('\n')));
  }
  report(console, ready_);
  if (!foreground_) return ExitCode::ok;
  return wait_for_the_end(console, server, folder_);
}

ExitCode MountVerb::wait_for_the_end(Console& console, pid_t server, const std::string& folder) {
  int status = 0;
  while (!interrupted() && ::waitpid(server, &status, WNOHANG) == 0) ::usleep(50'000);
  if (!interrupted()) return ExitCode::ok;
  const auto problem = stop_mount(folder);
  if (problem.text.empty()) return ExitCode::ok;
  return console.fail("mount: " + problem.text, problem.busy ? "busy" : "io",
                      problem.busy ? ExitCode::busy : ExitCode::io);
}

void MountVerb::report(Console& console, const Ready& ready) const {
  const std::string file = fuse_folder_ + '/' + kDiskFile;
  if (json_) {
    console.print_json({{"schema", kJsonSchema},
                        {"image", image_},
                        {"mountpoint", folder_},
                        {"file", file},
                        {"partition", ready.partition == 0 ? Json(nullptr) : Json(ready.partition)},
                        {"length", ready.length},
                        {"read_only", read_only_},
                        {"pid", ready.pid}});
  } else {
    console.print(printable(file_system_ ? folder_ : file) + '\n');
  }
  console.flush();
}

}  // namespace

std::unique_ptr<Verb> mount_verb() { return std::make_unique<MountVerb>(); }

}  // namespace vhdtool
