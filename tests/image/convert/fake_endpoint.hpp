/// An endpoint in memory that completes out of order, checks its callers and fails on request.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <vector>

#include "image/convert/endpoint.hpp"

namespace openvhd::test {

class FakeEndpoint final : public Endpoint {
 public:
  explicit FakeEndpoint(std::vector<std::byte> bytes);

  const EndpointTraits& traits() const noexcept override { return traits_; }
  Result<EndpointRun> map(VirtualOffset at, std::uint64_t length) noexcept override;
  void start(Transfer& transfer) noexcept override;
  Transfer* reap() noexcept override;
  Readiness readiness() const noexcept override { return {}; }
  Status finish() noexcept override { return Ok{}; }

  EndpointTraits& traits() noexcept { return traits_; }
  std::vector<std::byte>& bytes() noexcept { return bytes_; }
  /// From this offset to the next one given, the map says zero or not.
  void map_as(std::uint64_t from, bool zero) { runs_[from] = zero; }
  /// The n-th transfer from now fails, counted from 0.
  void fail_after(unsigned transfers, Error error) {
    failure_ = error;
    fail_at_ = started_ + transfers;
  }

  unsigned started() const noexcept { return started_; }
  std::size_t most_in_flight() const noexcept { return most_in_flight_; }
  std::size_t in_flight() const noexcept { return pending_.size(); }
  const std::vector<std::uint64_t>& write_starts() const noexcept { return write_starts_; }
  std::uint64_t bytes_read() const noexcept { return bytes_read_; }
  std::uint64_t bytes_zeroed() const noexcept { return bytes_zeroed_; }
  std::uint64_t bytes_written() const noexcept { return bytes_written_; }
  /// Transfers that broke the rules of traits().
  unsigned violations() const noexcept { return violations_; }

 private:
  void execute(Transfer& transfer);

  std::vector<std::byte> bytes_;
  EndpointTraits traits_;
  std::map<std::uint64_t, bool> runs_;
  std::vector<Transfer*> pending_;
  std::mt19937_64 random_{7};
  std::optional<Error> failure_;
  unsigned fail_at_ = std::numeric_limits<unsigned>::max();
  unsigned started_ = 0;
  unsigned quiet_ = 0;
  unsigned violations_ = 0;
  std::size_t most_in_flight_ = 0;
  std::vector<std::uint64_t> write_starts_;
  std::uint64_t bytes_read_ = 0;
  std::uint64_t bytes_zeroed_ = 0;
  std::uint64_t bytes_written_ = 0;
};

/// `size` bytes that differ everywhere and depend on `seed`.
std::vector<std::byte> pattern(std::size_t size, std::uint64_t seed);

}  // namespace openvhd::test
