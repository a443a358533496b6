/// Checkpoints of a disk: states that it can go back to.
#pragma once

#include <cstdint>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <openvhd/progress.hpp>
#include <optional>
#include <string>
#include <vector>

namespace openvhd {

/// A state that the disk can go back to.
struct Checkpoint {
  Guid id{};                      ///< Given once, and kept.
  std::string name{};             ///< What people call it; not empty.
  std::string file{};             ///< The image that holds the state; it does not change any more.
  std::optional<Guid> parent{};   ///< The checkpoint before it.
  std::int64_t created_unix = 0;  ///< Seconds since 1970, UTC.
  /// Deleted, but several states are over it: it goes when one of them is left.
  bool hidden = false;
};

/// All checkpoints of a disk.
struct CheckpointTree {
  std::string catalogue{};  ///< The file that keeps names and order: "disk.vhdx.checkpoints".
  /// The image that is the disk now: the one to be opened.
  std::string current{};
  std::optional<Guid> current_parent{};   ///< The checkpoint that it goes on from.
  std::vector<Checkpoint> checkpoints{};  ///< Parents before their children.
  std::vector<std::string> notes{};       ///< What was rebuilt, is left over, or is unfinished.
};

/// How a call goes about its work.
struct CheckpointOptions {
  Progress* progress = nullptr;  ///< Of merging; borrowed, may be null.
  OpenReport* report = nullptr;  ///< Borrowed; may be null.
};

/// Every call takes any image of the disk: the one that it began with, a checkpoint's, or the
/// current one. As with Hyper-V, the current image becomes the checkpoint's and a new one of the
/// same name and a GUID ("disk_GUID.avhdx") the disk; who opens it asks for `current`. All files
/// lie in one directory. The catalogue is written by rename and can be lost: it is rebuilt from
/// what the images say of their parents, without the names.
///
/// Calls that change something first finish what an earlier one left unfinished. At every moment
/// the disk and every checkpoint read as they should. An image that somebody has open is busy.
///
/// Common errors: not_found (the image, the checkpoint), busy, corrupt (catalogue, images),
/// denied (others are children of these images), no_space, io, and those of opening.

Result<CheckpointTree> list_checkpoints(const std::string& image, const CheckpointOptions& options);

/// Keeps the state of now under `name`; empty: a name with the time. Errors also: invalid (name).
Result<CheckpointTree> create_checkpoint(const std::string& image, const std::string& name,
                                         const CheckpointOptions& options);

/// Goes back to the state of a checkpoint, named by its name or id. The state of now becomes a
/// checkpoint of its own, unless it is discarded.
Result<CheckpointTree> apply_checkpoint(const std::string& image, const std::string& which,
                                        bool discard, const CheckpointOptions& options);

/// Gives up the state of a checkpoint; all others stay. What its image holds of them is merged.
/// Errors also: cancelled; a later call goes on.
Result<CheckpointTree> delete_checkpoint(const std::string& image, const std::string& which,
                                         const CheckpointOptions& options);

/// Gives a checkpoint, named by its name or id, another name. Errors also: invalid (name).
Result<CheckpointTree> rename_checkpoint(const std::string& image, const std::string& which,
                                         const std::string& name, const CheckpointOptions& options);

}  // namespace openvhd
