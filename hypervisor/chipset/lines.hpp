/// What a device is given of the machine around it; tests give it something of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace openvhd::vmm {

/// One wire to the interrupt chips. Called with the machine's lock held.
class InterruptLine {
 public:
  virtual ~InterruptLine() = default;
  virtual void set(bool level) noexcept = 0;
};

/// Time, as devices see it.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::uint64_t monotonic_ns() noexcept = 0;
  virtual std::int64_t unix_seconds() noexcept = 0;
};

/// What a guest asks of its machine.
enum class MachineEvent : std::uint8_t { reset, power_off, panic };
class MachineEvents {
 public:
  virtual ~MachineEvents() = default;
  /// Only notes it: the machine acts when the access has ended.
  virtual void request(MachineEvent event) noexcept = 0;
};

/// Where what a guest prints goes.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual void put(std::span<const std::byte> bytes) noexcept = 0;
};

}  // namespace openvhd::vmm
