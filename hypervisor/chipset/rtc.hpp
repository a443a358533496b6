/// MC146818 clock and CMOS memory. Missing: alarms, the periodic interrupt, setting the clock (what
/// is written to a time register is lost; guests keep the host's UTC time).
#pragma once

#include <array>
#include <cstdint>

#include "chipset/bus.hpp"
#include "chipset/lines.hpp"

namespace openvhd::vmm {

/// Attached at port 70h: index at offset 0, data at 1.
class Rtc : public PortDevice {
 public:
  static constexpr std::uint16_t kPorts = 2;
  explicit Rtc(Clock& clock) noexcept;
  Answer read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept override;
  Answer write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept override;

  /// Memory sizes and processors where firmware looks for them.
  void describe_machine(std::uint64_t low_bytes, std::uint64_t high_bytes,
                        std::uint32_t processors) noexcept;

 private:
  std::uint8_t time_register(std::uint8_t index) noexcept;
  void set16(std::uint8_t index, std::uint64_t value) noexcept;

  Clock* clock_;
  std::uint8_t index_ = 0;
  std::array<std::uint8_t, 128> cells_{};
};

}  // namespace openvhd::vmm
