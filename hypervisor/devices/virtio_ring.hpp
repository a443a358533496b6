/// A split virtqueue (virtio 1.2, 2.7) as the device sees it. Missing: packed rings, in-order use.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <openvhd/error.hpp>
#include <vector>

#include "memory/guest_memory.hpp"

namespace openvhd::vmm {

/// Where the driver put a queue.
struct VirtioRingPlace {
  std::uint16_t size = 0;  ///< A power of two.
  GuestAddress descriptors{}, driver{}, device{};
};

/// A buffer of the driver's: what the device reads, then what it writes. Host memory, each piece
/// a checked slice.
struct VirtioChain {
  std::uint16_t head = 0;
  std::vector<iovec> readable, writable;
};

/// Thread: one at a time.
class VirtioRing {
 public:
  static constexpr std::uint16_t kMostSize = 256;
  static constexpr std::size_t kMostPieces = 1024;  ///< Of one chain.

  /// False: the place is not one that the standard allows. `event_index`: as negotiated.
  bool start(GuestMemory& memory, const VirtioRingPlace& place, bool event_index) noexcept;
  void stop() noexcept { memory_ = nullptr; }
  bool running() const noexcept { return memory_ != nullptr; }

  enum class Taken : std::uint8_t {
    chain,
    none,
    broken,  ///< The driver broke a rule: the queue is of no use until it is reset.
  };
  /// The next buffer that the driver has made available; each byte of its description is read once.
  Taken take(VirtioChain& into) noexcept;
  /// Ask to be told of the next buffer; true: one has come meanwhile.
  bool ask_notification() noexcept;
  /// Gives a buffer back, of which `written` bytes were written. False: broken.
  bool give(std::uint16_t head, std::uint32_t written) noexcept;
  /// Whether the driver wants to be told of what was given since the last call.
  bool wants_interrupt() noexcept;

 private:
  struct Walk;
  bool follow(Walk& walk, VirtioChain& into) noexcept;
  bool add_piece(std::uint64_t at, std::uint32_t bytes, bool writable, VirtioChain& into) noexcept;
  bool load16(std::uint64_t at, std::uint16_t& value) noexcept;
  bool store16(std::uint64_t at, std::uint16_t value) noexcept;

  GuestMemory* memory_ = nullptr;
  VirtioRingPlace place_{};
  bool event_index_ = false;
  std::uint16_t next_available_ = 0;  // counts on, as the indices in memory do
  std::uint16_t used_ = 0, told_ = 0;
};

}  // namespace openvhd::vmm
