/// Memory-mapped registers: who answers where the guest has no RAM.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "chipset/bus.hpp"
#include "memory/guest_memory.hpp"

namespace openvhd::vmm {

/// A device with registers in memory. `offset` counts from where it was attached; `width` is 1 to
/// 8. One call at a time: the machine's lock is held.
class MemoryDevice {
 public:
  virtual ~MemoryDevice() = default;
  /// `value` counts only with Answer::ok.
  virtual Answer read(std::uint64_t offset, std::uint32_t width, std::uint64_t& value) noexcept = 0;
  virtual Answer write(std::uint64_t offset, std::uint32_t width, std::uint64_t value) noexcept = 0;
};

/// Devices by address. Where two ranges overlap the one attached first answers. Not thread-safe.
class MemoryBus {
 public:
  /// `device` outlives the bus; the range does not wrap.
  void attach(GuestAddress first, std::uint64_t bytes, MemoryDevice& device);
  void detach(const MemoryDevice& device) noexcept;

  /// What no device answers reads as all ones; a write to it is lost.
  void read(GuestAddress at, std::span<std::byte> into) noexcept;
  void write(GuestAddress at, std::span<const std::byte> from) noexcept;

 private:
  struct Range {
    std::uint64_t first, bytes;
    MemoryDevice* device;
  };
  const Range* find(std::uint64_t at, std::size_t width) const noexcept;
  std::vector<Range> ranges_;
};

}  // namespace openvhd::vmm
