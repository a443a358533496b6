/// Wires, clocks and sinks for devices that run without a VM.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "chipset/bus.hpp"
#include "chipset/lines.hpp"

namespace openvhd::vmm::test {

class FakeLine : public InterruptLine {
 public:
  void set(bool now) noexcept override {
    if (now && !level) ++rises;
    level = now;
  }
  bool level = false;
  unsigned rises = 0;
};

class FakeClock : public Clock {
 public:
  std::uint64_t monotonic_ns() noexcept override { return ns; }
  std::int64_t unix_seconds() noexcept override { return seconds; }
  std::uint64_t ns = 0;
  std::int64_t seconds = 1'700'000'000;  // 2023-11-14 22:13:20, a Tuesday
};

class FakeEvents : public MachineEvents {
 public:
  void request(MachineEvent event) noexcept override { seen.push_back(event); }
  std::vector<MachineEvent> seen;
};

class TextSink : public ByteSink {
 public:
  void put(std::span<const std::byte> bytes) noexcept override {
    for (const auto byte : bytes) text += static_cast<char>(byte);
  }
  std::string text;
};

/// Reads a register that must be there.
inline std::uint32_t in(PortDevice& device, std::uint16_t offset, std::uint32_t width = 1) {
  std::uint32_t value = 0xbad;
  return device.read(offset, width, value) == Answer::ok ? value & all_ones(width) : 0xbadbad;
}
inline void out(PortDevice& device, std::uint16_t offset, std::uint32_t value,
                std::uint32_t width = 1) {
  static_cast<void>(device.write(offset, width, value));
}

}  // namespace openvhd::vmm::test
