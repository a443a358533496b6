/// The SCSI controller of a machine with its disks: the virtio device, the target behind it, and
/// the thread that serves its queues without the machine's lock.
#pragma once

#include <memory>
#include <openvhd/disk.hpp>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.hpp"
#include "devices/virtio_scsi.hpp"
#include "scsi_target.hpp"

namespace openvhd::vmm {

struct ScsiDrive {
  Disk* disk = nullptr;
  bool cd = false;
  std::string serial;
};

class ScsiController {
  struct Key {};

 public:
  /// Drives become units 0, 1 and so on. Starts the thread; disks and parts outlive it. `ring` is
  /// an eventfd that the doorbell signals. Errors: invalid (too many), those of Queue::open.
  static Result<std::unique_ptr<ScsiController>> open(std::span<const ScsiDrive> drives,
                                                      const VirtioParts& parts, const Fd& ring);
  ScsiController(Key, const VirtioParts& parts, const Fd& ring)
      : device_{parts, target_}, ring_{&ring} {}
  /// Waits for what is under way. The guest does not run any more.
  ~ScsiController();

  VirtioScsi& device() noexcept { return device_; }
  /// Tells the guest that the disk of a unit has another size. Thread: any.
  void resized(std::uint16_t lun, std::uint64_t bytes) noexcept;

 private:
  Status add_unit(std::uint16_t lun, const ScsiDrive& drive);
  Status open_queues(std::span<const ScsiDrive> drives);
  void serve() noexcept;
  void wait() noexcept;

  scsi::ScsiTarget target_;
  VirtioScsi device_;
  const Fd* ring_;
  std::atomic<bool> stop_ = false;
  std::vector<std::array<std::uint8_t, 16>> names_;           // of the units
  std::vector<Queue> queues_;                                 // the thread's
  std::vector<std::unique_ptr<scsi::ScsiBackend>> backends_;  // the thread's
  std::thread thread_;
};

}  // namespace openvhd::vmm
