/// A disk in files as one side of a copy: operations on a driver.
#pragma once

#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "image/convert/endpoint.hpp"
#include "image/disk_state.hpp"
#include "image/ops/clear_op.hpp"
#include "image/ops/read_op.hpp"
#include "image/ops/write_op.hpp"
#include "io/driver.hpp"

namespace openvhd {

class DiskEndpoint final : public Endpoint {
  struct Key {};

 public:
  struct Use {
    ZeroPolicy zeros = ZeroPolicy::leave;  ///< Of a target: leave where the image is new.
    std::uint32_t depth = 8;
    DriverKind driver = DriverKind::automatic;
  };

  /// `disk` is borrowed; nobody else uses it while transfers are on their way.
  static Result<std::unique_ptr<DiskEndpoint>> open(detail::DiskState& disk, const Use& use);
  DiskEndpoint(Key, detail::DiskState& disk, const Use& use, std::unique_ptr<Driver> driver);

  const EndpointTraits& traits() const noexcept override { return traits_; }
  Result<EndpointRun> map(VirtualOffset at, std::uint64_t length) noexcept override;
  /// The same to the sector, and with who answers: what a merge has to know.
  Result<MapEntry> look(VirtualOffset at, std::uint64_t length) noexcept;
  void start(Transfer& transfer) noexcept override;
  Transfer* reap() noexcept override;
  Readiness readiness() const noexcept override;
  /// Closes the disk, durably.
  Status finish() noexcept override;

 private:
  struct Work {
    std::variant<std::monostate, ReadOp, WriteOp, ClearOp> operation;
    iovec buffer{};
    Transfer* transfer = nullptr;

    Operation* current() noexcept;
  };

  Operation& prepare(Work& work, Transfer& transfer) noexcept;
  /// Submits what there is to do and collects what has finished.
  void pump() noexcept;
  void ended(const Operation& operation) noexcept;
  void ended(Work& work, std::optional<Error> failure) noexcept;
  Status run_map(Operation& map) noexcept;

  detail::DiskState& disk_;
  EndpointTraits traits_;
  std::unique_ptr<Driver> driver_;
  std::vector<Work> works_;
  TransferQueue ended_;
};

}  // namespace openvhd
