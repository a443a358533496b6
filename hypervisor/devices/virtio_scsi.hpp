/// A virtio SCSI host (virtio 1.2, 5.6) in front of a SCSI target: one request queue, target 0,
/// units 0 to 63. Missing: more request queues, protection information, asynchronous notifications.
/// A command that is under way cannot be called back: task management waits for it.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "devices/virtio_pci.hpp"
#include "scsi_target.hpp"

namespace openvhd::vmm {

inline constexpr std::uint32_t kVirtioScsiConfigBytes = 36;
inline constexpr auto kVirtioScsi =
    virtio_registers(0x1048'1af4, 0x01'0000, kVirtioScsiConfigBytes);

class VirtioScsi : public VirtioPci {
 public:
  static constexpr std::size_t kMostCommands = 256;  ///< Under way at once.

  /// All parts outlive it.
  VirtioScsi(const VirtioParts& parts, scsi::ScsiTarget& target);

  /// Where the units' commands find their disks. The port's requests end with lock() held.
  scsi::ScsiPort& port() noexcept { return port_; }

  /// With lock() held: starts what the driver has made available and tells it what has ended, as
  /// much as is good to do at once. True: there is more to do.
  bool serve() noexcept;
  /// With lock() held: no command is under way.
  bool is_idle() const noexcept { return under_way_ == 0; }
  /// A unit has another size: the driver is told, if it wants to know. Thread: any.
  void unit_changed(std::uint16_t lun) noexcept;

 protected:
  std::uint32_t read_config(std::uint64_t offset) const noexcept override;
  void write_config(std::uint64_t offset, std::uint32_t width,
                    std::uint32_t value) noexcept override;
  bool reset_begins() noexcept override;

 private:
  struct Slot : scsi::ScsiRequest {
    VirtioScsi* owner = nullptr;
    VirtioChain chain;
    std::vector<iovec> response;  // the pieces that the answer goes to
    std::uint64_t asked = 0;      // bytes of data that the driver has room for, or sent
    std::uint64_t guest_tag = 0;
    bool busy = false;
    Slot* next = nullptr;
  };
  struct Management;

  bool start_command() noexcept;
  bool read_command(Slot& slot) noexcept;
  static void ended(scsi::ScsiRequest& request) noexcept;
  void answer(Slot& slot, std::uint8_t code) noexcept;
  void release(Slot& slot) noexcept;
  bool serve_control() noexcept;
  void manage(const Management& what) noexcept;
  bool is_under_way(std::uint16_t lun, const std::uint64_t* tag) const noexcept;
  void end_control(std::span<const std::byte> bytes) noexcept;
  void send_event(std::uint16_t lun, std::uint32_t event, std::uint32_t reason) noexcept;

  scsi::ScsiTarget* target_;
  scsi::ScsiPort port_;
  std::vector<std::unique_ptr<Slot>> slots_;  // as many as were ever under way at once
  Slot* free_ = nullptr;
  std::size_t under_way_ = 0;
  std::uint32_t sense_bytes_ = 96, cdb_bytes_ = 32;
  VirtioChain control_;  // what is being answered
  bool waits_ = false;   // control_ is task management that waits for commands
  std::uint64_t waits_tag_ = 0;
  std::uint16_t waits_lun_ = 0;
  bool waits_for_tag_ = false;
  bool event_missed_ = false;
};

}  // namespace openvhd::vmm
