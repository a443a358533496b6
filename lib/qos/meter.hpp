/// Rates over the last second or more.
#pragma once

#include <cstdint>

namespace openvhd::detail {

/// Of a count that only grows; looked at when somebody asks or serves.
class Meter {
 public:
  static constexpr std::uint64_t kWindowNs = 1'000'000'000;

  bool is_due(std::uint64_t now_ns) const noexcept {
    return now_ns < begin_ns_ || now_ns - begin_ns_ >= kWindowNs;
  }
  /// Ends a window. Returns how long it was; 0 where the clock went back.
  std::uint64_t roll(std::uint64_t now_ns, std::uint64_t count) noexcept {
    __extension__ using Wide = unsigned __int128;
    const std::uint64_t length = now_ns > begin_ns_ ? now_ns - begin_ns_ : 0;
    counted_ = count - before_;
    if (length != 0) rate_ = static_cast<std::uint64_t>(Wide{counted_} * kWindowNs / length);
    begin_ns_ = now_ns;
    before_ = count;
    return length;
  }
  void start(std::uint64_t now_ns) noexcept { begin_ns_ = now_ns; }
  std::uint64_t begin_ns() const noexcept { return begin_ns_; }
  std::uint64_t rate() const noexcept { return rate_; }
  /// In the window that ended last.
  std::uint64_t counted() const noexcept { return counted_; }

 private:
  std::uint64_t begin_ns_ = 0;
  std::uint64_t before_ = 0;
  std::uint64_t counted_ = 0;
  std::uint64_t rate_ = 0;
};

}  // namespace openvhd::detail
