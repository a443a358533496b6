#include "io/host.hpp"

#include <sys/random.h>

#include <cerrno>
#include <ctime>
#include <exception>

namespace openvhd {
namespace {

class SystemHost final : public Host {
 public:
  Guid random_guid() noexcept override {
    Guid guid;
    // Up to 256 bytes come whole once the kernel's pool is ready; before that the call waits and
    // may be interrupted. A GUID that is not random would join images that do not belong
    // together, so nothing stands in for a kernel without the call.
    while (::getrandom(guid.bytes.data(), guid.bytes.size(), 0) !=
           static_cast<ssize_t>(guid.bytes.size())) {
      if (errno != EINTR) std::terminate();
    }
    guid.bytes[6] = static_cast<std::uint8_t>((guid.bytes[6] & 0x0f) | 0x40);  // version 4
    guid.bytes[8] = static_cast<std::uint8_t>((guid.bytes[8] & 0x3f) | 0x80);  // RFC 4122
    return guid;
  }

  std::int64_t now_unix() noexcept override { return std::time(nullptr); }
};

}  // namespace

Host& system_host() noexcept {
  static SystemHost host;  // no state
  return host;
}

}  // namespace openvhd
