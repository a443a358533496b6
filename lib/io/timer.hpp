/// A timer with a descriptor, and one descriptor that stands for two.
#pragma once

#include <cstdint>

#include "base/fd.hpp"

namespace openvhd {

class Timer {
 public:
  Timer() noexcept;
  explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
  /// Readable `ns` nanoseconds from now, 1 at least; replaces what was set.
  void set(std::uint64_t ns) noexcept;
  /// Not readable until it is set again.
  void clear() noexcept;
  int descriptor() const noexcept { return fd_.get(); }

 private:
  Fd fd_;
};

/// Readable while either descriptor is; invalid when the host has none left, or one is negative.
Fd either_readable(int one, int other) noexcept;

}  // namespace openvhd
