/// Merging on files whose names are known: what the public calls and the checkpoints share.
#pragma once

#include <openvhd/merge.hpp>
#include <string>
#include <vector>

#include "snapshot/chain_files.hpp"

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
