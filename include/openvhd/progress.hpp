/// How long work tells how far it is, and is told to stop.
#pragma once

#include <cstdint>

namespace openvhd {

/// Whom long work tells how far it is. Derived from by the caller.
class Progress {
 public:
  virtual ~Progress() = default;
  /// `done` of `total` bytes; called often, from the thread that does the work. False: stop with
  /// Errc::cancelled at the next safe point.
  virtual bool update(std::uint64_t done, std::uint64_t total) noexcept = 0;
};

}  // namespace openvhd
