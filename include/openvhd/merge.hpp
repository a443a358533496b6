/// Merging the images of a chain: a child into one of its parents, or parents into their child.
#pragma once

#include <cstdint>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <openvhd/progress.hpp>
#include <string>
#include <vector>

namespace openvhd {

/// What is merged into what, and how.
struct MergeOptions {
  std::string child{};  ///< The image that is merged, or that takes its parents in.
  /// An image of the child's chain. Merging: the one that takes in all above it; the parent when
  /// empty. Pulling: the one that stays the child's parent; none when empty, and the child then
  /// becomes a dynamic image.
  std::string into{};
  /// Pulls what the parents hold into the child, and changes no parent.
  bool pull = false;
  /// Keeps what was merged: the child goes on as an image over the merged one.
  bool keep = false;
  /// Merges although other images have one of the changed parents for theirs; they cannot be
  /// used afterwards.
  bool force_siblings = false;
  ParentPolicy parents{};  ///< Where parents may be.
  /// Directories, beside those of the chain, in which children of its images may lie.
  std::vector<std::string> child_dirs{};
  bool reflink = true;                        ///< Share extents where the host file system can.
  bool direct = true;                         ///< Bypass the page cache where the host allows.
  DriverKind driver = DriverKind::automatic;  ///< See there.
  std::uint32_t depth = 8;                    ///< Transfers on their way at once.
  Progress* progress = nullptr;               ///< Borrowed; may be null.
  OpenReport* report = nullptr;               ///< Borrowed; may be null.
};

/// What a merge did.
struct MergeResult {
  std::string disk{};                     ///< The image that now holds what the child read as.
  std::uint64_t copied_bytes = 0;         ///< Read and written.
  std::uint64_t cloned_bytes = 0;         ///< Shared, not moved.
  std::uint64_t cleared_bytes = 0;        ///< Made zero.
  bool resumed = false;                   ///< An interrupted merge was finished.
  std::vector<std::string> removed{};     ///< Images that are gone: what was merged.
  std::vector<std::string> reparented{};  ///< Children that have another parent now.
  std::vector<std::string> notes{};       ///< What the caller should know.
};

/// Merges `child` into its parent, or into an ancestor with all images in between, or pulls.
///
/// Every file that changes is locked alone for the whole time, so that nothing is merged that
/// somebody has open. While it runs, and wherever it is cut off, the child reads as before; a
/// record beside the target ("TARGET.merge") names what is to be done, opens tell of it, and
/// resume_merge(), or the same call, finishes it. Afterwards `disk` reads as the child did, the
/// child's own children are told of it, and what was merged is removed.
///
/// VHDX: the lowest merged image names the id that the target is about to get as parent_linkage2
/// before the target changes ([MS-VHDX] 2.6.2.6.3). Pulling needs no record: it may be stopped
/// and done again.
///
/// Errors: invalid (no parent, `into` is not in the chain, another merge is unfinished), mismatch
/// (the sizes of child and target differ: pull instead), denied (siblings), busy, no_space, io,
/// cancelled (resume finishes it), and those of opening.
Result<MergeResult> merge(const MergeOptions& options);

/// Finishes the merge that was interrupted while it changed `target`. Of `options` the child, the
/// direction and `keep` do not count: they are in the record. Errors: not_found (there is no
/// record), corrupt (the record), and those of merge().
Result<MergeResult> resume_merge(const std::string& target, const MergeOptions& options);

/// True when a record beside `path` says that a merge into it was interrupted: what it reads as is
/// between two disks until resume_merge(). Of anything that is no such image, false. Any thread.
bool merge_is_unfinished(const std::string& path);

}  // namespace openvhd
