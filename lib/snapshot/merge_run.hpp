/// Merging on files whose names are known: what the public calls and the checkpoints share.
#pragma once

#include <functional>
#include <openvhd/merge.hpp>
#include <string>
#include <vector>

#include "snapshot/chain_files.hpp"
#include "snapshot/merge_copy.hpp"

namespace openvhd::snapshot {

struct MergeTask {
  Format format{};
  /// The child first, the target last: two at least.
  std::vector<std::string> paths{};
  /// Of those files when their names were looked up; or empty.
  std::vector<FileIdentity> identities{};
  /// Directories, beside theirs, in which children may lie.
  std::vector<std::string> child_dirs{};
  bool keep = false;
  bool force_siblings = false;
};

/// Merges all of `paths` into the last of them; see openvhd::merge().
Result<MergeResult> run_merge(const Workshop& shop, const MergeTask& task);

/// What a merge leaves to somebody else where its images are layers of a disk in use.
class MergeSide {
 public:
  using Step = std::function<Status()>;
  /// Runs `step` while nobody writes to the disk.
  virtual Status still(const Step& step) = 0;
  /// Tells an image, which may be the leaf of the disk, of its parent.
  virtual Status tell(const HeldFile& child, const ParentChange& change) = 0;
  /// Moves what the merged image holds into the target, which is known by `id` then.
  virtual Status copy(HeldFile& target, const Guid& id, const Milestone& milestone,
                      MovedBytes& moved) = 0;
  /// Runs `tail` with all of it moved and durable, and has the disk go on without the merged image.
  /// The tail is given the image's id; `past` is set once the record says that it is not needed.
  using Tail = std::function<Status(const Guid& id, bool& past)>;
  virtual Status settle(const Tail& tail) = 0;

 protected:
  ~MergeSide() = default;
};

/// run_merge(), of one image into its parent, or finish_merge() where there is a record of that.
Result<MergeResult> run_merge(const Workshop& shop, const MergeTask& task, MergeSide& side);

/// Finishes what the record beside `target` says.
Result<MergeResult> finish_merge(const Workshop& shop, Format format, const std::string& target,
                                 const std::vector<std::string>& child_dirs);

struct PullTask {
  Format format{};
  /// The child first, then those whose data it takes, then the one that stays its parent, if any.
  std::vector<std::string> paths{};
  std::vector<FileIdentity> identities{};
  bool detach = false;  ///< All of `paths` are taken in, none stays.
};

Result<MergeResult> run_pull(const Workshop& shop, const PullTask& task);

}  // namespace openvhd::snapshot
