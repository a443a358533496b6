#include "bench_online.hpp"

#include <chrono>
#include <openvhd/online.hpp>
#include <openvhd/resize.hpp>
#include <string>
#include <thread>

namespace vhdtool {
namespace {

using Clock = std::chrono::steady_clock;
using openvhd::Errc;
using openvhd::Status;

constexpr std::uint64_t kMore = std::uint64_t{64} << 20;
constexpr std::chrono::milliseconds kPause{10};
constexpr std::chrono::seconds kBetweenCheckpoints{1};

/// Stops what is under way at the end of the run.
class UntilOver final : public openvhd::Progress {
 public:
  explicit UntilOver(const std::atomic<bool>& over) noexcept : over_{over} {}
  bool update(std::uint64_t, std::uint64_t) noexcept override { return !over_; }

 private:
  const std::atomic<bool>& over_;
};

void rest(std::chrono::milliseconds time, const std::atomic<bool>& over) {
  for (const auto end = Clock::now() + time; !over && Clock::now() < end;)
    std::this_thread::sleep_for(kPause);
}

Status resize_once(openvhd::Disk& disk, std::uint64_t size) {
  const auto done = disk.resize({.size = size, .force = true});
  return done ? Status{openvhd::Ok{}} : Status{done.error()};
}

Status work_once(openvhd::Disk& disk, OnlineWork work, const openvhd::OnlineOptions& options,
                 std::uint64_t number, OnlineReport& report) {
  switch (work) {
    case OnlineWork::resize: {
      const std::uint64_t size = disk.geometry().virtual_size;
      return resize_once(disk, number % 2 == 0 ? size + kMore : size - kMore);
    }
    case OnlineWork::checkpoint: {
      const auto tree =
          openvhd::create_checkpoint(disk, "bench " + std::to_string(number), options);
      if (!tree) return tree.error();
      return openvhd::Ok{};
    }
    case OnlineWork::merge: {
      // From the middle: the leaf comes last.
      const auto merged = openvhd::merge(disk, disk.files().size() > 2 ? 1 : 0, options);
      if (!merged) return merged.error();
      report.bytes += merged->copied_bytes;
      return openvhd::Ok{};
    }
    case OnlineWork::compact: {
      const auto compacted = openvhd::compact(disk, options);
      if (!compacted) return compacted.error();
      report.bytes += compacted->moved_bytes;
      return openvhd::Ok{};
    }
    case OnlineWork::none:
      break;
  }
  return openvhd::Ok{};
}

bool has_more(const openvhd::Disk& disk, OnlineWork work, std::uint64_t done) {
  if (work == OnlineWork::merge) return disk.files().size() > 1;
  return work != OnlineWork::compact || done == 0;
}

}  // namespace

const char* online_work_name(OnlineWork work) noexcept {
  switch (work) {
    case OnlineWork::none:
      break;
    case OnlineWork::resize:
      return "resize";
    case OnlineWork::checkpoint:
      return "checkpoint";
    case OnlineWork::merge:
      return "merge";
    case OnlineWork::compact:
      return "compact";
  }
  return "none";
}

OnlineReport work_online(openvhd::Disk& disk, OnlineWork work, std::uint64_t rate,
                         const std::atomic<bool>& over) {
  OnlineReport out;
  UntilOver progress{over};
  const openvhd::OnlineOptions options{.bytes_per_second = rate, .progress = &progress};
  while (!over && has_more(disk, work, out.done)) {
    if (work == OnlineWork::checkpoint) rest(kBetweenCheckpoints, over);
    if (work == OnlineWork::resize) rest(kPause, over);
    if (over) break;
    const auto begin = Clock::now();
    const Status done = work_once(disk, work, options, out.done, out);
    out.seconds += std::chrono::duration<double>(Clock::now() - begin).count();
    if (!done) {
      out.cut_short = over && done.error().code == Errc::cancelled;
      if (!out.cut_short) out.error = done.error();
      break;
    }
    ++out.done;
  }
  return out;
}

}  // namespace vhdtool
