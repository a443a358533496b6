/// A source of which only some ranges are still to be copied.
#pragma once

#include <vector>

#include "image/convert/endpoint.hpp"

namespace openvhd {

/// A range of a disk.
struct DiskRange {
  VirtualOffset at{};
  std::uint64_t length = 0;
};

/// Calls everything zero that lies outside `ranges`, so that it is left alone; the rest is the
/// other endpoint's. `ranges` ascend, do not touch, and are borrowed.
class MaskedEndpoint final : public Endpoint {
 public:
  MaskedEndpoint(Endpoint& source, const std::vector<DiskRange>& ranges) noexcept
      : source_{source}, ranges_{ranges} {}

  const EndpointTraits& traits() const noexcept override { return source_.traits(); }
  Result<EndpointRun> map(VirtualOffset at, std::uint64_t length) noexcept override;
  void start(Transfer& transfer) noexcept override { source_.start(transfer); }
  Transfer* reap() noexcept override { return source_.reap(); }
  Readiness readiness() const noexcept override { return source_.readiness(); }
  Status finish() noexcept override { return source_.finish(); }

 private:
  Endpoint& source_;
  const std::vector<DiskRange>& ranges_;
};

}  // namespace openvhd
