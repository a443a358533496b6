/// How fast work beside requests may go.
#pragma once

#include <chrono>
#include <cstdint>
#include <thread>

#include "image/disk_state.hpp"

namespace openvhd::snapshot {

/// Work comes in pieces; between them it rests. With a rate, as long as that asks for. Without, as
/// long as leaves requests four fifths of the time, while there are any: a piece that shares the
/// medium with them takes at most what it takes alone.
class Pace {
 public:
  Pace(const detail::DiskState& disk, std::uint64_t bytes_per_second) noexcept
      : disk_{disk}, rate_{bytes_per_second} {}

  void begin() noexcept {
    begun_ = Clock::now();
    served_ = disk_.requests_served();
    busy_ = disk_.has_transfers();
    if (due_ < begun_) due_ = begun_;
  }
  /// After `bytes` were moved since begin().
  void end(std::uint64_t bytes) noexcept {
    const auto now = Clock::now();
    if (rate_ != 0) {
      due_ += std::chrono::nanoseconds{
          static_cast<std::int64_t>(static_cast<double>(bytes) * 1e9 / static_cast<double>(rate_))};
      if (due_ > now) std::this_thread::sleep_until(due_);
      return;
    }
    if (!busy_ && !disk_.has_transfers() && disk_.requests_served() == served_) return;
    std::this_thread::sleep_for((now - begun_) * kRest);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr int kRest = 5;

  const detail::DiskState& disk_;
  std::uint64_t rate_;
  Clock::time_point begun_{};
  Clock::time_point due_{};
  std::uint64_t served_ = 0;
  bool busy_ = false;
};

}  // namespace openvhd::snapshot
