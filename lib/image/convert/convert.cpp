#include <algorithm>
#include <openvhd/convert.hpp>
#include <utility>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "image/convert/convert_pipeline.hpp"
#include "image/convert/convert_plan.hpp"
#include "image/convert/convert_reflink.hpp"
#include "image/convert/convert_spool.hpp"
#include "image/convert/convert_target.hpp"
#include "image/convert/disk_side.hpp"
#include "image/create_target.hpp"
#include "io/zero_fill.hpp"

namespace openvhd {
namespace {

Error invalid(const char* what) noexcept { return {.code = Errc::invalid, .what = what}; }

/// Passes progress on, and never backwards: sharing extents and copying the rest are two passes.
class Forward final : public Progress {
 public:
  explicit Forward(Progress* to) noexcept : to_{to} {}
  bool update(std::uint64_t done, std::uint64_t total) noexcept override {
    furthest_ = std::max(furthest_, done);
    return to_ == nullptr || to_->update(std::min(furthest_, total), total);
  }

 private:
  Progress* to_;
  std::uint64_t furthest_ = 0;
};

/// From here on errors are about the source.
void blame_source(const ConvertOptions& options) {
  if (options.report != nullptr) options.report->files = {options.source};
}

/// From here on errors are about the target.
void blame_target(const ConvertOptions& options) {
  if (options.report != nullptr) options.report->files = {options.target};
}

std::uint32_t depth_of(const ConvertOptions& options) noexcept {
  return std::clamp(options.depth, 1u, kMaxCopyDepth);
}

Result<ConvertResult> copy(const ConvertOptions& options, DiskSide& source) {
  OVHD_CHECK(check_part(options, source.facts));
  const std::vector<std::string> source_files =
      options.report != nullptr ? options.report->files : std::vector<std::string>{};
  blame_target(options);
  OVHD_TRY(ConvertPlan plan, plan_conversion(options, source.facts));
  OVHD_TRY(ConvertTarget target, ConvertTarget::open(options, plan, source.disk.get()));
  Forward progress{options.progress};
  ConvertResult result{.virtual_size = plan.total};
  result.notes = std::move(plan.notes);
  std::vector<DiskRange> rest{{options.offset, plan.length}};
  const bool fresh = target.endpoint().traits().zeros == ZeroPolicy::leave;
  if (options.reflink && fresh && source.disk != nullptr && target.disk() != nullptr) {
    OVHD_TRY(Cloned cloned, clone_extents(*source.disk, *target.disk(),
                                          {.source_at = options.offset,
                                           .length = plan.length,
                                           .total = plan.total,
                                           .progress = &progress}));
    result.cloned_bytes = cloned.bytes;
    rest = std::move(cloned.rest);
  }
  MaskedEndpoint masked{*source.endpoint, rest};
  CopyPipeline pipeline{masked,
                        target.endpoint(),
                        {.source_at = options.offset,
                         .length = plan.length,
                         .total = plan.total,
                         .depth = depth_of(options),
                         .progress = &progress}};
  const auto copied = pipeline.run();
  if (!copied) {
    if (pipeline.source_failed() && options.report != nullptr) options.report->files = source_files;
    return copied.error();
  }
  const CopyCounts& counts = *copied;
  OVHD_CHECK(target.commit());
  result.copied_bytes = counts.copied_bytes;
  result.skipped_bytes = counts.skipped_bytes - std::min(counts.skipped_bytes, result.cloned_bytes);
  result.zero_bytes = counts.zero_bytes;
  return result;
}

/// The plan for a stream, as far as it can be judged before its length is known.
Result<ConvertPlan> plan_blind(const ConvertOptions& options) {
  const std::uint64_t part = options.length                     ? *options.length
                             : options.create.virtual_size != 0 ? options.create.virtual_size
                                                                : 20 * kMiB;
  const auto size = checked_add(options.offset.value, part);
  if (!size) return Error{.code = Errc::out_of_range, .what = "the part to copy"};
  return plan_conversion(options, {.size = *size});
}

Result<Spooled> spool_input(const ConvertOptions& options, File& file, bool sparse) {
  bool stream_failed = false;
  auto spooled = spool(Stream::standard_input(), file,
                       {.sparse = sparse,
                        .images_too = options.source_format.has_value(),
                        .progress = options.progress},
                       stream_failed);
  if (stream_failed) blame_source(options);
  return spooled;
}

/// A pipe becomes a raw file as it comes.
Result<ConvertResult> spool_to_raw(const ConvertOptions& options) {
  OVHD_TRY(NewFile file, NewFile::create(options.target, {.overwrite = options.create.overwrite,
                                                          .direct = options.direct}));
  const bool device = file.file().is_block_device();
  const bool sparse = !options.create.no_sparse && !device;
  OVHD_TRY(const Spooled done, spool_input(options, file.file(), sparse));
  OVHD_TRY(ConvertPlan plan, plan_conversion(options, {.size = done.length}));
  // What a device held before does not fill up the last sector.
  OVHD_CHECK(device ? fill_with_zeros(file.file(), {{done.length}, plan.total - done.length},
                                      options.progress)
                    : file.file().set_size(plan.total));
  OVHD_CHECK(file.commit());
  ConvertResult result{.virtual_size = plan.total};
  result.copied_bytes = done.length - done.zero_bytes;
  result.zero_bytes = done.zero_bytes;
  result.skipped_bytes = plan.total - done.length;
  result.notes = std::move(plan.notes);
  return result;
}

/// A pipe becomes an image by way of a file beside it, since an image begins with its size.
Result<ConvertResult> spool_and_copy(const ConvertOptions& options) {
  OVHD_TRY(NewFile file, NewFile::create(options.target + ".stdin", {}));
  OVHD_TRY(const Spooled done, spool_input(options, file.file(), true));
  OVHD_CHECK(file.file().set_size(done.length));
  OVHD_TRY(auto disk, disk_in(file.file(), options.source, Format::raw, false));
  OVHD_TRY(DiskSide source, side_of(std::move(disk), depth_of(options)));
  blame_source(options);
  return copy(options, source);
}

Result<ConvertResult> convert_pipe(const ConvertOptions& options) {
  if (Stream::standard_input().is_terminal()) return invalid("standard input is a terminal");
  if (options.source_format.value_or(Format::raw) != Format::raw) {
    return invalid("a pipe is read as raw: VHD and VHDX need a file");
  }
  if (target_kind(options.target) != TargetKind::file) {
    return invalid("a pipe can be converted into a file only");
  }
  blame_target(options);
  OVHD_TRY(const ConvertPlan plan, plan_blind(options));
  const bool whole = options.offset.value == 0 && !options.length;
  if (plan.format == Format::raw && whole) return spool_to_raw(options);
  return spool_and_copy(options);
}

}  // namespace

Result<ConvertResult> convert(const ConvertOptions& options) {
  if (options.source == "-" && !Stream::standard_input().is_whole_file()) {
    return convert_pipe(options);
  }
  OVHD_TRY(DiskSide source, open_side({.name = options.source,
                                       .format = options.source_format,
                                       .parents = options.source_parents,
                                       .depth = depth_of(options),
                                       .direct = options.direct,
                                       .report = options.report}));
  return copy(options, source);
}

}  // namespace openvhd
