/// A SCSI target device: up to 64 logical units, and what an initiator asks of a whole target
/// (SPC-4, SAM-5). Transports bring commands; nothing here knows which.
#pragma once

#include <array>
#include <memory>

#include "scsi_unit.hpp"

namespace openvhd::scsi {

class ScsiTarget {
 public:
  static constexpr std::uint16_t kMostUnits = 64;

  /// Before the first command. Errors: invalid (a number beyond the last, or taken).
  Status attach(std::uint16_t lun, std::unique_ptr<ScsiUnit> unit) noexcept;
  /// Null where there is none.
  ScsiUnit* unit(std::uint16_t lun) const noexcept;
  /// The highest number that is taken; 0 without units.
  std::uint16_t last() const noexcept;
  /// All units: a reset of the bus.
  void reset() noexcept;

 private:
  std::array<std::unique_ptr<ScsiUnit>, kMostUnits> units_{};
};

/// One thread's way into a target.
class ScsiPort {
 public:
  /// The target outlives it.
  explicit ScsiPort(ScsiTarget& target) noexcept : target_{&target} {}
  /// Where the unit's commands of this port find their disk; it outlives the port.
  void connect(std::uint16_t lun, ScsiBackend& backend) noexcept;

  ScsiTarget& target() noexcept { return *target_; }

  /// Ends in `request.done`, exactly once, perhaps before it returns. A unit that is not there
  /// answers INQUIRY (as SPC-4 6.6.2 says), REPORT LUNS and REQUEST SENSE, and fails the rest.
  void execute(ScsiRequest& request) noexcept;

 private:
  void report_luns(ScsiRequest& request) noexcept;
  void absent(ScsiRequest& request) noexcept;
  ScsiTarget* target_;
  std::array<ScsiBackend*, ScsiTarget::kMostUnits> backends_{};
};

}  // namespace openvhd::scsi
