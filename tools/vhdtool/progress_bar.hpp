/// A line on a terminal that tells how far long work is, and the way SIGINT reaches the library.
#pragma once

#include <chrono>
#include <cstdint>
#include <openvhd/progress.hpp>
#include <string>

namespace vhdtool {

struct ProgressLine {
  std::string title;
  std::uint64_t done = 0;
  std::uint64_t total = 0;
  std::chrono::milliseconds elapsed{};
  unsigned columns = 80;  ///< Of the terminal; the line is one shorter.
};

/// "convert  [#####.....]  50%  1 GiB of 2 GiB  512 MiB/s  0:02 left".
std::string progress_text(const ProgressLine& line);

/// Draws on standard error where that is a terminal, from a third of a second on and at most ten
/// times a second. One thread.
class ProgressBar : public openvhd::Progress {
 public:
  explicit ProgressBar(std::string title);
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  ~ProgressBar() override;

  /// False once SIGINT or SIGTERM came.
  bool update(std::uint64_t done, std::uint64_t total) noexcept override;

 private:
  using Clock = std::chrono::steady_clock;

  std::string title_;
  bool terminal_;
  bool drawn_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point next_draw_;
};

}  // namespace vhdtool
