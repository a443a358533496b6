#include "vhd/compact.hpp"

#include <openvhd/compact.hpp>
#include <optional>
#include <utility>

#include "base/try.hpp"
#include "image/edit_file.hpp"
#include "image/open.hpp"
#include "io/host.hpp"
#include "vhdx/compact.hpp"
#include "vhdx/load.hpp"

namespace openvhd {
namespace {

/// One bar over several batches.
class BatchProgress : public Progress {
 public:
  BatchProgress(Progress* below, std::uint64_t total) noexcept : below_{below}, total_{total} {}

  bool update(std::uint64_t done, std::uint64_t) noexcept override {
    last_ = done;
    return below_ == nullptr || below_->update(before_ + done, total_);
  }
  void next_batch() noexcept {
    before_ += last_;
    last_ = 0;
  }

 private:
  Progress* below_;
  std::uint64_t total_;
  std::uint64_t before_ = 0;
  std::uint64_t last_ = 0;
};

template <class Spec>
Spec spec_of(const CompactOptions& options) {
  Spec spec;
  spec.find_zeros = options.mode != CompactMode::quick;
  spec.move = options.mode != CompactMode::zeroes;
  if (options.progress != nullptr) {
    spec.progress = [progress = options.progress](std::uint64_t done, std::uint64_t total) {
      return progress->update(done, total);
    };
  }
  return spec;
}

template <class Summary>
CompactResult result_of(const Summary& summary) {
  return {.file_size_before = summary.file_bytes,
          .file_size_after = summary.file_bytes_after,
          .zero_blocks = summary.zero_blocks,
          .released_bytes = summary.released_bytes,
          .moved_blocks = summary.moved_blocks,
          .moved_bytes = summary.moved_bytes};
}

/// Executes a plan, batch by batch.
template <class Plan>
Result<CompactResult> carry_out(Plan plan, File& file, const CompactOptions& options) {
  CompactResult out = result_of(plan.summary());
  OVHD_CHECK(plan.begin(system_host()));
  BatchProgress progress{options.progress, out.moved_bytes};
  for (;;) {
    if (!progress.update(0, 0)) {
      return Error{.code = Errc::cancelled, .what = "stopped on request: compacted in part"};
    }
    OVHD_TRY(auto steps, plan.next(file));
    if (!steps) break;
    OVHD_CHECK(run_steps(*std::move(steps), plan.file_bytes(), file, &progress));
    progress.next_batch();
  }
  OVHD_TRY(out.file_size_after, file.size());
  return out;
}

Result<CompactResult> compact_vhdx(std::unique_ptr<File> file, const CompactOptions& options) {
  OVHD_TRY(vhdx::LoadedImage loaded,
           vhdx::load_image(std::move(file), !options.dry_run, system_host()));
  OVHD_TRY(auto plan, vhdx::Compactor::plan(*loaded.file, std::move(loaded.image),
                                            spec_of<vhdx::CompactSpec>(options)));
  if (options.dry_run) return result_of(plan.summary());
  return carry_out(std::move(plan), *loaded.file, options);
}

}  // namespace

Result<CompactResult> compact(const std::string& path, const CompactOptions& options) {
  if (!options.dry_run) OVHD_CHECK(expect_no_pending_merge({&path, 1}));
  const Access access = options.dry_run ? Access::read_only : Access::read_write;
  OVHD_TRY(auto file, open_host_file(path, access, false));
  OVHD_TRY(const auto format, probe(*file));
  if (!format) {
    return Error{.code = Errc::unsupported, .what = "neither VHD nor VHDX (X01, V01)"};
  }
  if (*format == Format::vhdx) return compact_vhdx(std::move(file), options);
  OVHD_TRY(auto plan,
           vhd::Compactor::plan(*file, !options.dry_run, spec_of<vhd::CompactSpec>(options)));
  if (options.dry_run) return result_of(plan.summary());
  return carry_out(std::move(plan), *file, options);
}

}  // namespace openvhd
