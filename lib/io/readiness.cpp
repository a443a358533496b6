#include "io/readiness.hpp"

#include <poll.h>

#include <array>
#include <cstddef>

namespace openvhd {

void wait_ready(std::span<const Readiness> on, int timeout_ms) noexcept {
  std::array<pollfd, 8> entries{};
  std::size_t count = 0;
  for (const Readiness& one : on) {
    if (one.descriptor < 0 || count == entries.size()) continue;
    entries[count++] = {.fd = one.descriptor, .events = one.events, .revents = 0};
  }
  if (count != 0) ::poll(entries.data(), count, timeout_ms);
}

}  // namespace openvhd
