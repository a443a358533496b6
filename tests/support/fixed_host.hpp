/// Surroundings that answer the same in every run.
#pragma once

#include <cstdint>

#include "io/host.hpp"

namespace openvhd::test {

class FixedHost : public Host {
 public:
  explicit FixedHost(std::uint64_t seed = 1) : state_{seed} {}

  /// Version 4, all different, the same sequence for the same seed.
  Guid random_guid() noexcept override;
  std::int64_t now_unix() noexcept override { return now; }

  std::int64_t now = 1'600'000'000;  ///< 2020-09-13 12:26:40 UTC.

 private:
  std::uint64_t state_;
};

}  // namespace openvhd::test
