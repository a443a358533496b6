/// Waiting for several descriptors at once.
#pragma once

#include <span>

namespace openvhd {

/// What to wait for: a descriptor and poll(2) events. A negative descriptor: nothing.
struct Readiness {
  int descriptor = -1;
  short events = 0;
};

/// Blocks until one is ready, a signal arrives, or `timeout_ms` have passed; at most 8 are looked
/// at. Returns at once when no descriptor is given. A failure to wait counts as ready: whoever
/// looks then finds out what is wrong.
void wait_ready(std::span<const Readiness> on, int timeout_ms) noexcept;

}  // namespace openvhd
