/// Checkpoints in one directory: the steps behind the public calls.
#pragma once

#include <openvhd/checkpoint.hpp>
#include <string>
#include <vector>

#include "snapshot/catalogue.hpp"
#include "snapshot/chain_files.hpp"
#include "snapshot/family.hpp"
#include "snapshot/online/pace.hpp"

namespace openvhd::snapshot {

/// "checkpoint 2026-01-31 23:59:59", in UTC.
std::string name_with_time(std::int64_t unix_seconds);

class CheckpointRun {
 public:
  /// `image` is any image of the disk.
  CheckpointRun(const Workshop& shop, Format format, std::string image)
      : shop_{shop}, format_{format}, image_{std::move(image)} {}

  Result<CheckpointTree> list();
  Result<CheckpointTree> create(const std::string& name);
  Result<CheckpointTree> apply(const std::string& which, bool discard);
  Result<CheckpointTree> remove(const std::string& which);
  Result<CheckpointTree> rename(const std::string& which, const std::string& name);

  // Of a disk in use, whose leaf `image` is (online/checkpoint_online.cpp).
  Result<CheckpointTree> create_online(detail::DiskState& disk, const std::string& name);
  Result<CheckpointTree> remove_online(detail::DiskState& disk, const std::string& which,
                                       const Pace& pace);

 private:
  Status begin_online(detail::DiskState& disk);
  Result<std::string> make_leaf_online(const detail::DiskState& disk, const ChildSpec& spec,
                                       const std::optional<Guid>& next_id);
  Status put_leaf_online(detail::DiskState& disk, const std::string& leaf, const std::string& name,
                         const std::optional<Guid>& next_id);
  Status seal_parent_online(detail::DiskState& disk, std::uint32_t known);
  Result<std::size_t> layer_over_online(detail::DiskState& disk, const std::string& file);
  Status finish_online(detail::DiskState& disk, const Pace& pace);

  // Finding what there is (checkpoint_load.cpp).
  Status find_root();
  Status load();
  Status rebuild(const Catalogue& known);
  Result<Family> family();
  bool all_there() const;
  /// Whether a file has a name that this disk's checkpoints get.
  bool is_ours(const std::string& leaf) const;
  /// Whether `leaf` has a name that checkpoints of the disk that began with `root` get.
  static bool is_checkpoint_of(const std::string& leaf, const std::string& root);

  // Changing it.
  Status begin();  // finds, loads, locks, and finishes what is unfinished
  Status lock_root();
  Status commit();
  Status finish_merge_under_way();
  Status expect_no_other_merge();
  void merge_in_tree();
  Status empty_trash();
  Status drop_orphans();
  Result<bool> may_merge(const std::string& target, const std::string& child);
  Status drop_hidden();
  Result<bool> drop_one_hidden();
  Status merge_away(const std::string& target, const std::string& child);
  Result<std::string> make_leaf(const std::string& over);
  std::string new_leaf_name() const;
  Result<std::size_t> index_of(const std::string& which) const;
  Result<std::vector<std::string>> children_of(const std::string& file);
  Status expect_depth(const std::string& leaf);
  Status judge_name(const std::string& name) const;
  CheckpointTree tree() const;

  std::string path_of(const std::string& leaf) const { return beside(root_, leaf); }

  const Workshop& shop_;
  Format format_;
  std::string image_;
  std::string root_;  // the image that the disk began with
  Catalogue catalogue_;
  std::optional<std::string> parent_file_;  // of the current image, where it is one of ours
  HeldFile root_lock_;
  std::vector<std::string> notes_;
};

}  // namespace openvhd::snapshot
