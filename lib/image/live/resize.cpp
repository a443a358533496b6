// Another size for a disk that is in use: the closed form, in a still moment.
#include <openvhd/parallel_disk.hpp>
#include <openvhd/resize.hpp>

#include "base/try.hpp"
#include "image/disk_state.hpp"
#include "image/parallel/parallel_state.hpp"
#include "image/resize_request.hpp"

namespace openvhd {
namespace {

// Between the decision and the change nobody writes: what is cut off is what was looked at.
Status resize_still(Disk& disk, const ResizeOptions& options, ResizeResult& out) {
  detail::DiskState& state = detail::DiskState::of(disk);
  OVHD_TRY(out.file_size_before, state.files().front()->size());
  OVHD_TRY(const ResizeRequest request, decide_resize(disk, options, out));
  out.new_size = request.size;
  out.has_gpt = request.gpt.has_value();
  const auto change = [&](File& file) -> Status {
    OVHD_TRY(out.file_size_before, file.size());
    OVHD_CHECK(change_size(state.format(), file, request.size, system_host(), nullptr, out));
    OVHD_TRY(out.file_size_after, file.size());
    return Ok{};
  };
  OVHD_CHECK(state.edit_leaf(change));
  out.gpt_must_move = out.has_gpt && !gpt_fits(*request.gpt, out);
  return Ok{};
}

}  // namespace

Result<ResizeResult> Disk::resize(const ResizeOptions& options) noexcept {
  if (options.fix_gpt) {
    return Error{.code = Errc::invalid,
                 .what = "whoever uses the disk moves the backup of its GPT, nobody else"};
  }
  if (format() == Format::raw) {
    return Error{.code = Errc::unsupported, .what = "neither VHD nor VHDX (X01, V01)"};
  }
  OVHD_TRY(const auto change, state_->begin_change());
  ResizeResult out;
  const auto action = [&] { return resize_still(*this, options, out); };
  OVHD_CHECK(state_->still(action));
  return out;
}

Result<ResizeResult> ParallelDisk::resize(const ResizeOptions& options) noexcept {
  // Other threads may make their doors while this goes on.
  OVHD_CHECK(detail::DiskState::of(state_->disk()).ensure_owner());
  return state_->disk().resize(options);
}

}  // namespace openvhd
