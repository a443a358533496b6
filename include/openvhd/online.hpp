/// Checkpoints, merging and compaction of a disk that is in use: see Disk::resize() for its size.
#pragma once

#include <cstdint>
#include <openvhd/checkpoint.hpp>
#include <openvhd/compact.hpp>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <openvhd/merge.hpp>
#include <openvhd/parallel_disk.hpp>
#include <openvhd/progress.hpp>
#include <string>
#include <vector>

namespace openvhd {

/// How a call goes about its work beside requests.
struct OnlineOptions {
  /// Most bytes per second that are moved; 0: as fast as it goes with at least four fifths of the
  /// time left to requests while there are any.
  std::uint64_t bytes_per_second = 0;
  /// Merging: directories, beside those of the chain, in which children of its images may lie.
  std::vector<std::string> child_dirs{};
  Progress* progress = nullptr;  ///< Borrowed; may be null.
  OpenReport* report = nullptr;  ///< Borrowed; may be null.
};

/// Every call here changes the layers of a disk that is open for writing, while requests of its
/// queues, and of a ParallelDisk's threads, go on. Where layers change hands requests wait: for
/// what has been started before, and for the syncs that are named below. The calls block, minutes
/// where much is to be moved: they belong into a thread of their own, which has no request under
/// way in any queue. On a Disk no other call is under way, but for its queues; a ParallelDisk has
/// no such rule. One such call at a time.
///
/// Common errors: read_only (not open for writing), busy (layers are being changed already, or a
/// queue's thread does not take back for seconds what has completed), unsupported (raw disks),
/// and those of the closed forms. The disk goes on as before, unless the host has failed so late
/// that nobody can tell the old from the new: then it is poisoned, and reads as it should when it
/// is opened again.

/// Keeps the state of now, as create_checkpoint(image): the image that is written becomes the
/// checkpoint's, and all queues write to a new one over it. Requests wait for one flush, that has
/// little to do: most is flushed before they stop. Files and catalogue are durable before
/// the first request writes to the new image (C04). The disk is the current one of its checkpoints.
Result<CheckpointTree> create_checkpoint(Disk& disk, const std::string& name,
                                         const OnlineOptions& options);
/// The same.
Result<CheckpointTree> create_checkpoint(ParallelDisk& disk, const std::string& name,
                                         const OnlineOptions& options);

/// Gives up the state of a checkpoint, as delete_checkpoint(image): what its image, or the one over
/// it, holds is merged as merge() does. Only where one image is over it and both belong to this
/// disk: of others, denied. What was not finished goes on with the next change of checkpoints, of
/// the closed disk too.
Result<CheckpointTree> delete_checkpoint(Disk& disk, const std::string& which,
                                         const OnlineOptions& options);
/// The same.
Result<CheckpointTree> delete_checkpoint(ParallelDisk& disk, const std::string& which,
                                         const OnlineOptions& options);

/// Merges the image of layer `layer` (0 is the leaf) into its parent, as merge(path) does and with
/// the same record beside the target: after a kill at any moment resume_merge() finishes it. A
/// leaf's data is copied while it is written to; what was written meanwhile is copied again, and at
/// last, with requests waiting, what is left of that. From then on the disk is the parent's file.
///
/// Errors also: out_of_range (no such layer, or it has no parent), cancelled (resume_merge() of the
/// closed disk finishes it, or the same call again).
Result<MergeResult> merge(Disk& disk, std::uint32_t layer, const OnlineOptions& options);
/// The same.
Result<MergeResult> merge(ParallelDisk& disk, std::uint32_t layer, const OnlineOptions& options);

/// Makes the file of a dynamic or differencing VHDX shorter, as compact(path) with
/// CompactMode::quick does: blocks from its end move into holes one by one. A block is read where
/// it was until it is elsewhere; changes of it wait for as long as it takes to copy it. At last,
/// with requests waiting for some syncs, the file is cut off. A crash keeps what has been moved
/// durably.
///
/// Errors also: unsupported (VHD, fixed disks), cancelled (compacted in part).
Result<CompactResult> compact(Disk& disk, const OnlineOptions& options);
/// The same.
Result<CompactResult> compact(ParallelDisk& disk, const OnlineOptions& options);

}  // namespace openvhd
