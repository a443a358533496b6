#include <openvhd/online.hpp>

#include "base/try.hpp"
#include "image/parallel/parallel_state.hpp"
#include "io/image_store.hpp"
#include "snapshot/checkpoint_run.hpp"
#include "snapshot/online/compact_in_use.hpp"
#include "snapshot/online/merge_in_use.hpp"

namespace openvhd {
namespace {

using detail::DiskState;
using snapshot::Pace;
using snapshot::Workshop;

/// Runs `work` where the files of `disk` are.
template <class Work>
auto beside(DiskState& disk, const OnlineOptions& options, Work work)
    -> decltype(work(std::declval<const Workshop&>())) {
  if (disk.format() == Format::raw) {
    return Error{.code = Errc::unsupported, .what = "neither VHD nor VHDX (X01, V01)"};
  }
  if (const Status owned = disk.ensure_owner(); !owned) return owned.error();
  PosixStore store{disk.direct()};
  const Workshop shop{.store = store,
                      .host = system_host(),
                      .progress = options.progress,
                      .report = options.report};
  return work(shop);
}

Result<CheckpointTree> create_on(DiskState& disk, const std::string& name,
                                 const OnlineOptions& options) {
  return beside(disk, options, [&](const Workshop& shop) {
    snapshot::CheckpointRun run{shop, disk.format(), {}};
    const auto given = name.empty() ? snapshot::name_with_time(shop.host.now_unix()) : name;
    return run.create_online(disk, given);
  });
}

Result<CheckpointTree> delete_on(DiskState& disk, const std::string& which,
                                 const OnlineOptions& options) {
  return beside(disk, options, [&](const Workshop& shop) {
    snapshot::CheckpointRun run{shop, disk.format(), {}};
    return run.remove_online(disk, which, Pace{disk, options.bytes_per_second});
  });
}

Result<MergeResult> merge_on(DiskState& disk, std::uint32_t layer, const OnlineOptions& options) {
  return beside(disk, options, [&](const Workshop& shop) -> Result<MergeResult> {
    OVHD_TRY(const auto change, disk.begin_change());
    return snapshot::merge_in_use(shop, disk, disk.format(), layer, options.child_dirs,
                                  Pace{disk, options.bytes_per_second});
  });
}

Result<CompactResult> compact_on(DiskState& disk, const OnlineOptions& options) {
  return beside(disk, options, [&](const Workshop& shop) -> Result<CompactResult> {
    OVHD_TRY(const auto change, disk.begin_change());
    return snapshot::compact_in_use(shop, disk, Pace{disk, options.bytes_per_second});
  });
}

DiskState& state_of(ParallelDisk& disk) {
  return DiskState::of(detail::ParallelState::of(disk).disk());
}

}  // namespace

Result<CheckpointTree> create_checkpoint(Disk& disk, const std::string& name,
                                         const OnlineOptions& options) {
  return create_on(DiskState::of(disk), name, options);
}
Result<CheckpointTree> create_checkpoint(ParallelDisk& disk, const std::string& name,
                                         const OnlineOptions& options) {
  return create_on(state_of(disk), name, options);
}

Result<CheckpointTree> delete_checkpoint(Disk& disk, const std::string& which,
                                         const OnlineOptions& options) {
  return delete_on(DiskState::of(disk), which, options);
}
Result<CheckpointTree> delete_checkpoint(ParallelDisk& disk, const std::string& which,
                                         const OnlineOptions& options) {
  return delete_on(state_of(disk), which, options);
}

Result<CompactResult> compact(Disk& disk, const OnlineOptions& options) {
  return compact_on(DiskState::of(disk), options);
}
Result<CompactResult> compact(ParallelDisk& disk, const OnlineOptions& options) {
  return compact_on(state_of(disk), options);
}

Result<MergeResult> merge(Disk& disk, std::uint32_t layer, const OnlineOptions& options) {
  return merge_on(DiskState::of(disk), layer, options);
}
Result<MergeResult> merge(ParallelDisk& disk, std::uint32_t layer, const OnlineOptions& options) {
  return merge_on(state_of(disk), layer, options);
}

}  // namespace openvhd
