#include "progress_bar.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "signals.hpp"
#include "size.hpp"

namespace vhdtool {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kTail = 52;

unsigned terminal_columns() noexcept {
  struct winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

// Progress is about: no mark for what was rounded.
std::string about(std::uint64_t bytes) {
  auto text = human_size(bytes);
  if (text.starts_with('~')) text.erase(0, 1);
  return text;
}

std::string clock_text(std::uint64_t seconds) {
  if (seconds >= 3600)
    return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
  return fmt::format("{}:{:02}", seconds / 60, seconds % 60);
}

}  // namespace

std::string progress_text(const ProgressLine& line) {
  const auto done = std::min(line.done, line.total);
  const double share =
      line.total == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(line.total);
  const double seconds = std::max(0.001, static_cast<double>(line.elapsed.count()) / 1000);
  const double rate = static_cast<double>(done) / seconds;
  auto tail = fmt::format("  {:3}%  {} of {}", static_cast<unsigned>(share * 100), about(done),
                          about(line.total));
  if (rate >= 1) {
    tail += fmt::format("  {}/s", about(static_cast<std::uint64_t>(rate)));
    const double left = static_cast<double>(line.total - done) / rate;
    if (left < 100 * 3600) tail += "  " + clock_text(static_cast<std::uint64_t>(left)) + " left";
  }
  // Room for the longest tail, so that the bar keeps its width.
  const auto taken = line.title.size() + 4 + std::max<std::size_t>(tail.size(), kTail) + 1;
  if (line.columns < taken + 5)
    return (line.title + tail).substr(0, std::max(line.columns, 1U) - 1);
  const auto width = std::min<std::size_t>(line.columns - taken, 40);
  const auto full = static_cast<std::size_t>(share * static_cast<double>(width));
  return fmt::format("{}  [{}{}]{}", line.title, std::string(full, '#'),
                     std::string(width - full, '.'), tail);
}

ProgressBar::ProgressBar(std::string title)
    : title_{std::move(title)},
      terminal_{::isatty(STDERR_FILENO) == 1},
      next_draw_{start_ + milliseconds{333}} {}

ProgressBar::~ProgressBar() {
  if (!drawn_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
}

bool ProgressBar::update(std::uint64_t done, std::uint64_t total) noexcept {
  if (interrupted()) return false;
  if (!terminal_) return true;
  const auto now = Clock::now();
  if (now < next_draw_) return true;
  next_draw_ = now + milliseconds{100};
  drawn_ = true;
  const auto text =
      progress_text({.title = title_,
                     .done = done,
                     .total = total,
                     .elapsed = std::chrono::duration_cast<milliseconds>(now - start_),
                     .columns = terminal_columns()});
  std::fprintf(stderr, "\r%s\033[K", text.c_str());
  std::fflush(stderr);
  return true;
}

}  // namespace vhdtool
