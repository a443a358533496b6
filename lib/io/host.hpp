/// What the library takes from its surroundings besides files, so that tests can fix it.
#pragma once

#include <cstdint>
#include <openvhd/types.hpp>

namespace openvhd {

/// Entropy and wall-clock time. Implementations are thread safe.
class Host {
 public:
  virtual ~Host() = default;
  /// A version 4 GUID from the kernel's random source.
  virtual Guid random_guid() noexcept = 0;
  /// Seconds since 1970-01-01 UTC.
  virtual std::int64_t now_unix() noexcept = 0;
};

/// The real surroundings; stateless.
Host& system_host() noexcept;

}  // namespace openvhd
