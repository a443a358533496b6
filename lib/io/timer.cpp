#include "io/timer.hpp"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>

namespace openvhd {

Timer::Timer() noexcept : fd_{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)} {}

void Timer::set(std::uint64_t ns) noexcept {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  ns = std::max<std::uint64_t>(ns, 1);  // 0 would disarm it
  itimerspec when{};
  when.it_value.tv_sec = static_cast<time_t>(ns / kSecond);
  when.it_value.tv_nsec = static_cast<long>(ns % kSecond);
  ::timerfd_settime(fd_.get(), 0, &when, nullptr);
}

void Timer::clear() noexcept {
  const itimerspec never{};
  ::timerfd_settime(fd_.get(), 0, &never, nullptr);  // also takes back what has passed
}

Fd either_readable(int one, int other) noexcept {
  Fd both{one < 0 || other < 0 ? -1 : ::epoll_create1(EPOLL_CLOEXEC)};
  if (!both) return both;
  for (const int descriptor : {one, other}) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = descriptor;
    if (::epoll_ctl(both.get(), EPOLL_CTL_ADD, descriptor, &event) != 0) return Fd{};
  }
  return both;
}

}  // namespace openvhd
