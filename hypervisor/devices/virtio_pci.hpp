/// A virtio device on PCI (virtio 1.2, 4.1), modern interface only: registers in one memory BAR,
/// MSI-X. Missing: the legacy interface, the interrupt pin, resetting one queue.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>

#include "chipset/memory_bus.hpp"
#include "chipset/pci.hpp"
#include "devices/virtio_ring.hpp"

namespace openvhd::vmm {

/// Message-signalled interrupts. Thread: any.
class MessageSink {
 public:
  virtual ~MessageSink() = default;
  virtual void send(std::uint64_t address, std::uint32_t data) noexcept = 0;
};

/// Tells whoever serves the queues that there is something to do. Thread: any.
class Doorbell {
 public:
  static constexpr std::uint64_t kStride = 4;  ///< Bytes between the registers of two queues.
  virtual ~Doorbell() = default;
  virtual void ring() noexcept = 0;
  /// The registers of `queues` queues are at `first` now; empty: nowhere. Writes to them need not
  /// come to the device as long as they ring.
  virtual void place(std::optional<GuestAddress> first, unsigned queues) noexcept = 0;
};

struct VirtioParts {
  GuestMemory& memory;
  MemoryBus& bus;
  MessageSink& messages;
  Doorbell& doorbell;
};

/// Registers take the machine's lock, then lock(); whoever serves the queues takes lock() alone.
class VirtioPci : public PciFunction, public MemoryDevice {
 public:
  static constexpr unsigned kMostQueues = 3;
  static constexpr std::uint32_t kBarBytes = 0x8000;
  static constexpr std::uint16_t kNoVector = 0xffff;

  Answer read(std::uint64_t offset, std::uint32_t width, std::uint64_t& value) noexcept override;
  Answer write(std::uint64_t offset, std::uint32_t width, std::uint64_t value) noexcept override;

  std::mutex& lock() noexcept { return lock_; }
  /// A register is waited for: whoever holds lock() often lets go of it for a moment.
  bool is_wanted() const noexcept { return wanted_.load(std::memory_order_relaxed) > 0; }

 protected:
  enum StatusBit : std::uint8_t { kDriverOk = 4, kFeaturesOk = 8, kNeedsReset = 0x40 };

  /// All parts outlive it. `features`: beside those of the transport.
  VirtioPci(std::span<const PciRegister> registers, const VirtioParts& parts,
            std::uint64_t features) noexcept;

  // With lock() held.
  virtual std::uint32_t read_config(std::uint64_t offset) const noexcept = 0;
  virtual void write_config(std::uint64_t offset, std::uint32_t width,
                            std::uint32_t value) noexcept = 0;
  /// The driver resets the device. True: nothing is under way, done; else reset_ended() comes.
  virtual bool reset_begins() noexcept = 0;
  void reset_ended() noexcept;

  bool serving() const noexcept { return (status_ & (kDriverOk | kNeedsReset)) == kDriverOk; }
  bool resetting() const noexcept { return resetting_; }
  bool has_feature(unsigned bit) const noexcept { return (accepted_ >> bit & 1) != 0; }
  VirtioRing& ring(unsigned queue) noexcept { return queues_.at(queue).ring; }
  /// The driver broke a rule: it is told, and nothing more is served until it resets.
  void broken() noexcept;
  /// Interrupts for what ring(queue) was given, if the driver wants that.
  void signal(unsigned queue) noexcept;

  void reading(std::uint8_t offset, std::uint32_t width) noexcept override;
  void written(std::uint8_t offset, std::uint32_t width) noexcept override;

 private:
  struct Queue {
    VirtioRing ring;
    VirtioRingPlace place{.size = VirtioRing::kMostSize};
    std::uint16_t vector = kNoVector;
    bool enabled = false;
  };
  struct Vector {
    std::uint64_t address = 0;
    std::uint32_t data = 0, control = 1;  // masked
  };
  static constexpr unsigned kVectors = kMostQueues + 1;

  std::uint64_t read_bar(std::uint64_t offset, std::uint32_t width) noexcept;
  void write_bar(std::uint64_t offset, std::uint32_t width, std::uint64_t value) noexcept;
  std::uint64_t read_common(std::uint64_t offset) const noexcept;
  void write_common(std::uint64_t offset, std::uint32_t width, std::uint32_t value) noexcept;
  void write_queue(std::uint64_t offset, std::uint32_t value) noexcept;
  void write_status(std::uint8_t value) noexcept;
  std::uint32_t read_vector(std::uint64_t offset) const noexcept;
  void write_vector(std::uint64_t offset, std::uint32_t value) noexcept;
  void move_bar() noexcept;
  void interrupt(std::uint16_t vector) noexcept;
  void deliver_pending() noexcept;
  std::uint16_t checked_vector(std::uint32_t value) const noexcept;

  /// lock(), as registers take it.
  class RegisterLock {
   public:
    explicit RegisterLock(VirtioPci& device) noexcept : device_{&device} {
      ++device.wanted_;
      device.lock_.lock();
      --device.wanted_;
    }
    RegisterLock(const RegisterLock&) = delete;
    RegisterLock& operator=(const RegisterLock&) = delete;
    ~RegisterLock() { device_->lock_.unlock(); }

   private:
    VirtioPci* device_;
  };

  std::mutex lock_;
  std::atomic<unsigned> wanted_ = 0;
  VirtioParts parts_;
  std::uint64_t offered_;
  std::uint64_t accepted_ = 0;
  std::uint32_t offered_half_ = 0, accepted_half_ = 0;  // which 32 bits the registers show
  std::uint8_t status_ = 0;
  std::uint8_t isr_ = 0;
  std::uint8_t generation_ = 0;
  bool resetting_ = false;
  std::uint16_t config_vector_ = kNoVector;
  std::uint16_t selected_ = 0;
  std::array<Queue, kMostQueues> queues_{};
  std::array<Vector, kVectors> vectors_{};
  std::uint32_t pending_ = 0;  // a bit for each vector that waits for being unmasked
  bool messages_on_ = false, masked_ = false;
  std::uint32_t bar_ = 0;  // where the BAR is on the bus; 0: nowhere
};

/// Registers of a function with the modern interface: `ids` is vendor and device, `config_bytes`
/// the length of the device's own structure. The rest is the same for all.
constexpr std::array<PciRegister, 34> virtio_registers(std::uint32_t ids, std::uint32_t class_code,
                                                       std::uint32_t config_bytes) noexcept {
  constexpr std::uint32_t kId = 0x09;
  const auto head = [](std::uint32_t next, std::uint32_t bytes, std::uint32_t kind) {
    return kId | next << 8 | bytes << 16 | kind << 24;
  };
  return {
      PciRegister{0x00, 4, ids, 0},
      PciRegister{0x04, 2, 0x0000, 0x0406},             // command: memory, bus master, no pin
      PciRegister{0x06, 2, 0x0010, 0},                  // status: there is a list of capabilities
      PciRegister{0x08, 4, class_code << 8 | 0x01, 0},  // revision 1: modern
      PciRegister{0x10, 4, 0, 0xffff'ffff - VirtioPci::kBarBytes + 1},
      PciRegister{0x2c, 4, 0x1100'1af4, 0},
      PciRegister{0x34, 1, 0x40, 0},
      PciRegister{0x3c, 1, 0x00, 0xff},  // interrupt line: remembered
      // Common configuration.
      PciRegister{0x40, 4, head(0x50, 16, 1), 0},
      PciRegister{0x44, 4, 0, 0},
      PciRegister{0x48, 4, 0x0000, 0},
      PciRegister{0x4c, 4, 56, 0},
      // Interrupt status.
      PciRegister{0x50, 4, head(0x60, 16, 3), 0},
      PciRegister{0x54, 4, 0, 0},
      PciRegister{0x58, 4, 0x1000, 0},
      PciRegister{0x5c, 4, 1, 0},
      // The device's own.
      PciRegister{0x60, 4, head(0x70, 16, 4), 0},
      PciRegister{0x64, 4, 0, 0},
      PciRegister{0x68, 4, 0x2000, 0},
      PciRegister{0x6c, 4, config_bytes, 0},
      // Notifications.
      PciRegister{0x70, 4, head(0x84, 20, 2), 0},
      PciRegister{0x74, 4, 0, 0},
      PciRegister{0x78, 4, 0x3000, 0},
      PciRegister{0x7c, 4, VirtioPci::kMostQueues * Doorbell::kStride, 0},
      PciRegister{0x80, 4, Doorbell::kStride, 0},
      // The same registers through configuration space.
      PciRegister{0x84, 4, head(0x98, 20, 5), 0},
      PciRegister{0x88, 4, 0, 0xff},
      PciRegister{0x8c, 4, 0, 0xffff'ffff},
      PciRegister{0x90, 4, 0, 0xffff'ffff},
      PciRegister{0x94, 4, 0, 0xffff'ffff},
      // MSI-X: four vectors at 4000h, pending bits at 5000h.
      PciRegister{0x98, 2, 0x0011, 0},
      PciRegister{0x9a, 2, VirtioPci::kMostQueues, 0xc000},
      PciRegister{0x9c, 4, 0x4000, 0},
      PciRegister{0xa0, 4, 0x5000, 0},
  };
}

}  // namespace openvhd::vmm
