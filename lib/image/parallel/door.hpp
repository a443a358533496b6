/// One thread's way to a disk, with calls that block.
#pragma once

#include <cstdint>
#include <memory>
#include <openvhd/error.hpp>
#include <openvhd/types.hpp>
#include <optional>
#include <span>

#include "base/checked.hpp"
#include "image/disk_state.hpp"
#include "image/queue/job.hpp"
#include "io/readers.hpp"

namespace openvhd::detail {

/// What a Queue is for many requests at once, for one at a time: mapped bytes move in the calling
/// thread with one system call, which is less than a ring takes, and waits for nobody; everything
/// else is the owner's. What goes otherwise than expected is the owner's, too, who repeats it and
/// judges. Errors of the calls: those of Disk.
///
/// Thread: one, until it is destroyed, which any may do.
class Door {
  struct Key {};

 public:
  /// Errors: busy (64 doors and queues), invalid (a closed disk).
  static Result<std::unique_ptr<Door>> open(std::shared_ptr<DiskState> disk);
  /// For one thread too many: everything is the owner's, who is there.
  static std::unique_ptr<Door> open_to_owner(std::shared_ptr<DiskState> disk);
  Door(Key, std::shared_ptr<DiskState> disk, Readers::Slot* slot) noexcept
      : disk_{std::move(disk)}, slot_{slot} {}
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;
  ~Door() {
    if (slot_ != nullptr) disk_->leave_queue(*slot_);
  }

  bool has_slot() const noexcept { return slot_ != nullptr; }

  // Whole sectors of a range that is on the disk.

  Status read(VirtualOffset at, std::span<std::byte> into) noexcept;
  /// Of a writable disk.
  Status write(VirtualOffset at, std::span<const std::byte> from, bool durable) noexcept;
  /// zero, trim or flush of a writable disk.
  Status change(Job::Kind kind, VirtualOffset at, std::uint64_t length, bool durable) noexcept;

 private:
  /// Inside a transfer: layers and files are there as long as it lasts. The disk may have become
  /// smaller since the range was judged; the owner then says so.
  bool may_look(VirtualOffset at, std::uint64_t length) const noexcept {
    return disk_->generation() % 2 == 0 && range_fits(at.value, length, disk_->virtual_size());
  }
  Status hand_over(Job::Kind kind, VirtualOffset at, std::span<std::byte> bytes,
                   bool durable) noexcept;
  std::uint64_t read_mapped(VirtualOffset at, std::span<std::byte> into) noexcept;
  std::uint64_t write_mapped(VirtualOffset at, std::span<std::byte> from) noexcept;
  bool transfer(IoCommand::Kind kind, std::uint32_t layer, FileOffset at,
                std::span<std::byte> bytes) noexcept;

  std::shared_ptr<DiskState> disk_;
  Readers::Slot* slot_;
};

}  // namespace openvhd::detail
