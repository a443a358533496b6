/// Merging a layer of a disk in use into its parent.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "image/convert/buffers.hpp"
#include "image/live/write_notes.hpp"
#include "snapshot/merge_run.hpp"
#include "snapshot/online/layer_in_use.hpp"
#include "snapshot/online/pace.hpp"

namespace openvhd::snapshot {

/// The target becomes a layer that is written to, beside the chain's reads: at each place it gets
/// what is read there anyhow, and nothing that it has moves. A leaf is copied while writes are
/// noted, then what was noted, round by round, and the rest in a still moment.
class MergeInUse final : public MergeSide {
 public:
  MergeInUse(const Workshop& shop, detail::DiskState& disk, Format format, std::size_t index,
             const Pace& pace);

  Status still(const Step& step) override { return disk_.still(step); }
  Status tell(const HeldFile& child, const ParentChange& change) override;
  Status copy(HeldFile& target, const Guid& id, const Milestone& milestone,
              MovedBytes& moved) override;
  Status settle(const Tail& tail) override;

 private:
  bool is_leaf() const noexcept { return index_ == 0; }
  Status open_target(HeldFile& target, const Guid& id);
  Status copy_all(const Milestone& milestone, MovedBytes& moved);
  Status copy_noted(MovedBytes& moved);
  Status copy_run(VirtualOffset at, std::uint64_t length, bool paced, MovedBytes& moved);
  Status copy_entry(const MapEntry& entry, bool paced, MovedBytes& moved);
  Status switch_leaf(const Tail& tail);
  Status drop_middle(const Tail& tail);
  void let_go() noexcept;

  const Workshop& shop_;
  detail::DiskState& disk_;
  Format format_;
  std::size_t index_;
  Pace pace_;
  AlignedBuffer memory_;
  std::optional<LayerInUse> source_;
  std::optional<LayerInUse> target_;
  std::shared_ptr<File> target_file_;
  std::shared_ptr<WriteNotes> notes_;
  std::vector<WriteNotes::Run> rest_;
  MovedBytes late_;  // in the still moment
};

/// Merges layer `layer` of a disk that nobody else changes meanwhile. Errors: see openvhd::merge().
Result<MergeResult> merge_in_use(const Workshop& shop, detail::DiskState& disk, Format format,
                                 std::size_t layer, const std::vector<std::string>& child_dirs,
                                 const Pace& pace);

}  // namespace openvhd::snapshot
