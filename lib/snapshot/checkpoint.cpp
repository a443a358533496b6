#include <openvhd/checkpoint.hpp>

#include "base/try.hpp"
#include "snapshot/checkpoint_run.hpp"
#include "snapshot/resolve.hpp"

namespace openvhd {
namespace {

using snapshot::CheckpointRun;

/// Runs `step` on the checkpoints of `image`.
template <class Step>
Result<CheckpointTree> on_checkpoints(const std::string& image, const CheckpointOptions& options,
                                      Step step) {
  PosixStore store{true};
  OVHD_TRY(const Format format, snapshot::format_of(image, options.report));
  const snapshot::Workshop shop{.store = store,
                                .host = system_host(),
                                .progress = options.progress,
                                .report = options.report};
  CheckpointRun run{shop, format, image};
  return step(run);
}

}  // namespace

std::string snapshot::name_with_time(std::int64_t unix_seconds) {
  // Civil from days, after the proleptic Gregorian calendar, with eras of 400 years.
  const std::int64_t days = unix_seconds / 86400 + 719468;
  const std::int64_t era = days / 146097;
  const std::int64_t day_of_era = days % 146097;
  const std::int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const std::int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t shifted = (5 * day_of_year + 2) / 153;  // from March
  const std::int64_t day = day_of_year - (153 * shifted + 2) / 5 + 1;
  const std::int64_t month = shifted < 10 ? shifted + 3 : shifted - 9;
  const std::int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  const auto two = [](std::int64_t number) {
    return (number < 10 ? "0" : "") + std::to_string(number);
  };
  const std::int64_t second = unix_seconds % 86400;
  return "checkpoint " + std::to_string(year) + "-" + two(month) + "-" + two(day) + " " +
         two(second / 3600) + ":" + two(second / 60 % 60) + ":" + two(second % 60);
}

Result<CheckpointTree> list_checkpoints(const std::string& image,
                                        const CheckpointOptions& options) {
  return on_checkpoints(image, options, [](CheckpointRun& run) { return run.list(); });
}

Result<CheckpointTree> create_checkpoint(const std::string& image, const std::string& name,
                                         const CheckpointOptions& options) {
  const std::string given =
      name.empty() ? snapshot::name_with_time(system_host().now_unix()) : name;
  return on_checkpoints(image, options, [&](CheckpointRun& run) { return run.create(given); });
}

Result<CheckpointTree> apply_checkpoint(const std::string& image, const std::string& which,
                                        bool discard, const CheckpointOptions& options) {
  return on_checkpoints(image, options,
                        [&](CheckpointRun& run) { return run.apply(which, discard); });
}

Result<CheckpointTree> delete_checkpoint(const std::string& image, const std::string& which,
                                         const CheckpointOptions& options) {
  return on_checkpoints(image, options, [&](CheckpointRun& run) { return run.remove(which); });
}

Result<CheckpointTree> rename_checkpoint(const std::string& image, const std::string& which,
                                         const std::string& name,
                                         const CheckpointOptions& options) {
  return on_checkpoints(image, options,
                        [&](CheckpointRun& run) { return run.rename(which, name); });
}

}  // namespace openvhd
