/// A stream as the target of a copy: everything in order, zeros written.
#pragma once

#include "image/convert/endpoint.hpp"
#include "io/stream.hpp"

namespace openvhd {

/// Writes `size` bytes to a stream. start() waits for the reader; while it does, the reads of the
/// other side go on in the kernel.
class StreamTarget final : public Endpoint {
 public:
  StreamTarget(Stream stream, std::uint64_t size) noexcept
      : stream_{stream}, traits_{.size = size, .zeros = ZeroPolicy::write, .ordered = true} {}

  const EndpointTraits& traits() const noexcept override { return traits_; }
  Result<EndpointRun> map(VirtualOffset, std::uint64_t length) noexcept override {
    return EndpointRun{.length = length};
  }
  void start(Transfer& transfer) noexcept override;
  Transfer* reap() noexcept override { return ended_.pop(); }
  Readiness readiness() const noexcept override { return {}; }
  Status finish() noexcept override { return stream_.sync(); }

 private:
  Stream stream_;
  EndpointTraits traits_;
  std::uint64_t written_ = 0;
  TransferQueue ended_;
};

}  // namespace openvhd
