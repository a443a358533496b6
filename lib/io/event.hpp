/// An event that one thread waits for and any thread announces, and a clock.
#pragma once

#include <cstdint>

#include "base/fd.hpp"

namespace openvhd {

class Event {
 public:
  Event() noexcept;
  explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
  void announce() noexcept;
  /// True when it had been announced; takes that back.
  bool take() noexcept;
  /// Waits until it is announced, or a signal arrives.
  void wait() noexcept;
  int descriptor() const noexcept { return fd_.get(); }

 private:
  Fd fd_;
};

/// The same for an eventfd that something else waits on.
void announce_event(const Fd& event) noexcept;
bool take_event(const Fd& event) noexcept;

/// Nanoseconds of a clock that only goes forward.
std::uint64_t monotonic_ns() noexcept;

}  // namespace openvhd
