#include "io/event.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>

#include "io/readiness.hpp"

namespace openvhd {

Event::Event() noexcept : fd_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {}

void Event::announce() noexcept { announce_event(fd_); }

bool Event::take() noexcept { return take_event(fd_); }

void announce_event(const Fd& event) noexcept {
  const std::uint64_t one = 1;
  // Fails only when it has been announced 2^64 - 2 times and nobody has looked.
  if (::write(event.get(), &one, sizeof one) < 0) return;
}

bool take_event(const Fd& event) noexcept {
  std::uint64_t count = 0;
  return ::read(event.get(), &count, sizeof count) > 0;
}

void Event::wait() noexcept {
  const Readiness on{.descriptor = fd_.get(), .events = POLLIN};
  wait_ready({&on, 1}, -1);
}

std::uint64_t monotonic_ns() noexcept {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

}  // namespace openvhd
