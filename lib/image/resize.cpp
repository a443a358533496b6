#include "vhd/resize.hpp"

#include <algorithm>
#include <openvhd/resize.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "base/try.hpp"
#include "image/edit_file.hpp"
#include "image/open.hpp"
#include "image/partitions.hpp"
#include "image/resize_request.hpp"
#include "image/smallest_size.hpp"
#include "io/host.hpp"
#include "vhdx/resize.hpp"

namespace openvhd {
namespace {

Error too_small(const SmallestSize& smallest) {
  Error error{.code = Errc::out_of_range};
  switch (smallest.basis) {
    case SizeBasis::gpt:
      error.what = "the size would cut off a partition, or the room for the backup of the GPT";
      break;
    case SizeBasis::mbr:
      error.what = "the size would cut off a partition of the MBR";
      break;
    case SizeBasis::data:
      error.what = "the size would cut off data";
      break;
    case SizeBasis::parent:
      error.what = "the disk would be smaller than its parent (C01)";
      break;
  }
  return error;
}

/// The GPT of a disk, where it has one.
Result<std::optional<Gpt>> gpt_of(Disk& disk) {
  const Geometry& geometry = disk.geometry();
  OVHD_TRY(PartitionTable table,
           read_partitions(reads_of(disk), geometry.virtual_size, geometry.logical_sector_size));
  return std::move(table.gpt);
}

Result<ResizeRequest> decide(const std::string& path, const ResizeOptions& options,
                             ResizeResult& out) {
  OVHD_TRY(Disk disk, look_inside(path, options.parents, options.report));
  OVHD_TRY(const ResizeRequest request, decide_resize(disk, options, out));
  OVHD_CHECK(disk.close());
  return request;
}

/// The backup of the GPT, at the end of a disk of `size`, which the disk has now or will have.
Status move_backup(const std::string& path, const ResizeOptions& options, const Gpt& gpt,
                   std::uint64_t size) {
  OVHD_TRY(Disk disk, Disk::open(path, {.access = Access::read_write,
                                        .parents = options.parents,
                                        .driver = DriverKind::blocking,
                                        .report = options.report}));
  OVHD_CHECK(move_gpt(gpt, size, disk.geometry().logical_sector_size, writes_of(disk),
                      [&disk] { return disk.flush(); }));
  return disk.close();
}

}  // namespace

Result<GptState> gpt_state(Disk& disk) {
  OVHD_TRY(const std::optional<Gpt> gpt, gpt_of(disk));
  if (!gpt) return GptState::none;
  if (gpt->from_backup) return GptState::first_damaged;
  return gpt->backup_valid ? GptState::whole : GptState::backup_elsewhere;
}

Result<ResizeRequest> decide_resize(Disk& disk, const ResizeOptions& options, ResizeResult& out) {
  // An unfinished merge rests on the sizes and the ids of the chain.
  OVHD_TRY(const DiskInfo info, disk.info(false));
  std::vector<std::string> paths;
  for (const LayerInfo& layer : info.layers) paths.push_back(layer.path);
  OVHD_CHECK(expect_no_pending_merge(paths));
  out.old_size = disk.geometry().virtual_size;
  ResizeRequest request{.size = options.size};
  if (auto gpt = gpt_of(disk)) {
    request.gpt = *std::move(gpt);
  } else if (options.fix_gpt || gpt.error().code != Errc::corrupt) {
    return gpt.error();
  }
  const bool smaller = options.minimum || options.size < out.old_size;
  if (!smaller) return request;
  auto smallest = smallest_of(disk, options.progress);
  OVHD_TRY(const std::uint64_t parent, parent_size_of(disk));
  if (smallest) {
    out.smallest = *smallest;
  } else if (!options.force || options.minimum || smallest.error().code != Errc::corrupt) {
    return smallest.error();
  }
  if (options.minimum) request.size = out.smallest.bytes;
  if (request.size < parent) return too_small({.bytes = parent, .basis = SizeBasis::parent});
  if (smallest && request.size < smallest->bytes && !options.force) return too_small(*smallest);
  return request;
}

Status change_size(Format format, File& file, std::uint64_t size, Host& host, Progress* progress,
                   ResizeResult& out) {
  if (format == Format::vhd) {
    OVHD_TRY(auto plan, vhd::plan_resize(file, size));
    out.table_moved = plan.table_moved;
    return run_steps(std::move(plan.steps), plan.file_bytes, file, progress);
  }
  OVHD_TRY(auto plan, vhdx::plan_resize(file, size, host));
  out.table_moved = plan.table_moved;
  return run_steps(std::move(plan.steps), plan.file_bytes, file, progress);
}

bool gpt_fits(const Gpt& gpt, const ResizeResult& sizes) {
  if (sizes.new_size != sizes.old_size || gpt.from_backup) return false;
  return gpt.backup_valid;
}

Result<ResizeResult> resize(const std::string& path, const ResizeOptions& options) {
  ResizeResult out;
  OVHD_TRY(EditedFile edited, open_for_edit(path));
  OVHD_TRY(out.file_size_before, edited.file->size());
  OVHD_TRY(ResizeRequest request, decide(path, options, out));
  out.new_size = request.size;
  out.has_gpt = request.gpt.has_value();
  const bool fix = options.fix_gpt && out.has_gpt && !gpt_fits(*request.gpt, out);
  if (fix && (out.new_size < out.old_size || request.gpt->from_backup)) {
    // First, so that no cut leaves a table whose backup is gone and which does not know it, nor one
    // whose only copy is not at the end of the disk, where it would be looked for.
    edited.file.reset();
    OVHD_CHECK(move_backup(path, options, *request.gpt, std::min(out.new_size, out.old_size)));
    if (std::exchange(request.gpt->from_backup, false)) request.gpt->array_lba = 2;
    OVHD_TRY(edited, open_for_edit(path));
    OVHD_TRY(const Disk disk, look_inside(path, options.parents, options.report));
    if (disk.geometry().virtual_size != out.old_size) {
      return Error{.code = Errc::busy, .what = "somebody else has changed the size meanwhile"};
    }
  }
  OVHD_CHECK(
      change_size(edited.format, *edited.file, out.new_size, system_host(), options.progress, out));
  OVHD_TRY(out.file_size_after, edited.file->size());
  edited.file.reset();
  if (fix && out.new_size >= out.old_size) {
    OVHD_CHECK(move_backup(path, options, *request.gpt, out.new_size));
    OVHD_TRY(const auto file, open_host_file(path, Access::read_only, false));
    OVHD_TRY(out.file_size_after, file->size());
  }
  out.gpt_moved = fix;
  out.gpt_must_move = out.has_gpt && !fix && !gpt_fits(*request.gpt, out);
  return out;
}

}  // namespace openvhd
