/// The port bus: who answers which port.
#pragma once

#include <cstdint>
#include <vector>

namespace openvhd::vmm {

/// How a device answers an access.
enum class Answer : std::uint8_t { ok, no_register, bad_width };

/// A device with registers on the port bus. `offset` counts from where it was attached. One call
/// at a time: the machine's lock is held.
class PortDevice {
 public:
  virtual ~PortDevice() = default;
  /// `width` is 1, 2 or 4. `value` counts only with Answer::ok.
  virtual Answer read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept = 0;
  virtual Answer write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept = 0;
};

constexpr std::uint32_t all_ones(std::uint32_t width) noexcept {
  return width >= 4 ? 0xffff'ffff : (1U << (width * 8)) - 1;
}

/// Devices by port. Where two ranges overlap the one attached first answers. Not thread-safe.
class PortBus {
 public:
  /// `device` outlives the bus.
  void attach(std::uint16_t first, std::uint16_t count, PortDevice& device);
  /// Takes all ranges of a device away.
  void detach(const PortDevice& device) noexcept;

  /// What no device answers reads as all ones, and a write to it is lost; both are counted.
  std::uint32_t read(std::uint16_t port, std::uint32_t width) noexcept;
  void write(std::uint16_t port, std::uint32_t width, std::uint32_t value) noexcept;

  std::uint64_t unanswered() const noexcept { return unanswered_; }

 private:
  struct Range {
    std::uint16_t first, count;
    PortDevice* device;
  };
  const Range* find(std::uint16_t port, std::uint32_t width) const noexcept;
  std::vector<Range> ranges_;
  std::uint64_t unanswered_ = 0;
};

}  // namespace openvhd::vmm
