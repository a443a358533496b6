#include "image/convert/convert_target.hpp"

#include <algorithm>
#include <utility>

#include "base/try.hpp"
#include "image/convert/convert_sparse.hpp"
#include "image/convert/disk_side.hpp"
#include "image/convert/endpoint_disk.hpp"
#include "image/convert/endpoint_nbd.hpp"
#include "image/convert/endpoint_stream.hpp"
#include "image/create_target.hpp"
#include "io/host.hpp"
#include "vhd/vhd.hpp"

namespace openvhd {
namespace {

/// Refuses to write to what is being read, by whatever name it comes.
Status refuse_source(const std::string& target, detail::DiskState& source) {
  const auto existing = PosixFile::open(target, {});
  if (!existing) return Ok{};  // whoever creates it will tell
  const FileIdentity identity = (*existing)->identity();
  if (std::ranges::any_of(source.files(),
                          [&](const File* file) { return file->identity() == identity; })) {
    return Error{.code = Errc::invalid, .what = "the target is the source, or one of its parents"};
  }
  return Ok{};
}

}  // namespace

ConvertTarget::~ConvertTarget() {
  endpoint_.reset();
  // What was not committed is thrown away: nothing more is written to it.
  if (disk_) disk_->abandon();
}

Status ConvertTarget::open_file(const ConvertOptions& options, const ConvertPlan& plan) {
  OVHD_TRY(NewFile file, NewFile::create(options.target, {.overwrite = options.create.overwrite,
                                                          .direct = options.direct}));
  file_.emplace(std::move(file));
  ZeroPolicy zeros = plan.write_zeros ? ZeroPolicy::write : ZeroPolicy::leave;
  if (file_->file().is_block_device()) {
    if (plan.format != Format::raw) {
      return Error{.code = Errc::invalid, .what = "a block device takes the disk itself: raw"};
    }
    zeros = ZeroPolicy::clear;  // it holds what it held
  } else {
    OVHD_CHECK(create_in(file_->file(), options.target, plan.create, system_host()));
  }
  OVHD_TRY(disk_, disk_in(file_->file(), options.target, plan.format, true));
  OVHD_TRY(endpoint_, DiskEndpoint::open(*disk_, {.zeros = zeros, .depth = options.depth}));
  return Ok{};
}

Status ConvertTarget::open_export(const ConvertOptions& options, const ConvertPlan&) {
  std::string why;
  auto endpoint = NbdEndpoint::open(
      options.target,
      {.write = true, .keep_full = options.create.no_sparse, .depth = options.depth}, why);
  if (!endpoint) {
    if (options.report != nullptr && !why.empty()) options.report->notes.push_back(why);
    return endpoint.error();
  }
  endpoint_ = *std::move(endpoint);
  return Ok{};
}

Status ConvertTarget::open_stream(const ConvertPlan& plan) {
  Stream out = Stream::standard_output();
  if (out.is_terminal()) {
    return Error{.code = Errc::invalid, .what = "standard output is a terminal"};
  }
  out.ask(progress_, plan.total);
  footer_follows_ = plan.format == Format::vhd;
  endpoint_ = std::make_unique<StreamTarget>(out, plan.total);
  return Ok{};
}

Result<ConvertTarget> ConvertTarget::open(const ConvertOptions& options, const ConvertPlan& plan,
                                          detail::DiskState* source) {
  ConvertTarget target;
  target.create_ = plan.create;
  target.progress_ = options.progress;
  switch (target_kind(options.target)) {
    case TargetKind::file:
      if (source != nullptr) OVHD_CHECK(refuse_source(options.target, *source));
      OVHD_CHECK(target.open_file(options, plan));
      break;
    case TargetKind::nbd:
      OVHD_CHECK(target.open_export(options, plan));
      break;
    case TargetKind::stream:
      OVHD_CHECK(target.open_stream(plan));
      break;
  }
  if (target.endpoint_->traits().size < plan.total) {
    return Error{.code = Errc::no_space, .what = "the target is smaller than the disk"};
  }
  return target;
}

Status ConvertTarget::commit() {
  if (footer_follows_) {
    const vhd::CreateSpec spec{.type = DiskType::fixed,
                               .geometry = {.virtual_size = create_.virtual_size},
                               .identifier = create_.identifier};
    Stream out = Stream::standard_output();
    out.ask(progress_, create_.virtual_size);
    OVHD_CHECK(out.write_all(vhd::fixed_footer(spec, system_host())));
  }
  OVHD_CHECK(endpoint_->finish());
  endpoint_.reset();
  const bool sparse = disk_ != nullptr && create_.type == DiskType::dynamic && !create_.no_sparse;
  disk_.reset();
  if (!file_) return Ok{};
  if (sparse) OVHD_CHECK(give_back_unwritten(file_->file()));
  OVHD_CHECK(file_->commit());
  return Ok{};
}

}  // namespace openvhd
