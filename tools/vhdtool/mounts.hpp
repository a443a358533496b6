/// What is mounted where, and taking our own mounts away.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vhdtool {

struct Mount {
  std::string folder = {};
  std::string type = {};
  std::string source = {};

  friend bool operator==(const Mount&, const Mount&) = default;
};

/// The lines of /proc/self/mountinfo, later ones above earlier ones.
std::vector<Mount> parse_mounts(std::string_view text);

/// What lies on top at a folder.
std::optional<Mount> mount_at(const std::string& folder);

/// A folder's name from the root, also where what is mounted there no longer answers.
std::string absolute_folder(const std::string& folder);

/// The file behind "/dev/loop0"; empty where it is no loop device, or a free one.
std::string loop_file(const std::string& device);

/// Where mounts go that nobody gave a place, and the FUSE mounts below file systems.
std::string run_folder();
/// True for a folder that was made by us in there, not by somebody's hand.
bool in_run_folder(const std::string& folder);

/// What went wrong, and which of the two kinds it was; nothing where `text` is empty.
struct MountProblem {
  std::string text = {};
  bool busy = false;
};

/// Unmounts a folder of any type. As root by itself, else by fusermount3.
MountProblem unmount(const std::string& folder);

/// Takes a mount of ours away: what was written is durable, the image is closed and the process
/// that served it has ended when this returns. A server that was killed leaves a mount that goes,
/// too.
MountProblem stop_fuse_mount(const std::string& folder);

/// The same for what lies at `folder`: a disk, or a file system on one.
MountProblem stop_mount(const std::string& folder);

}  // namespace vhdtool
