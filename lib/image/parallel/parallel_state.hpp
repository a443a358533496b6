/// What is behind a ParallelDisk.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <openvhd/parallel_disk.hpp>
#include <vector>

#include "image/parallel/door.hpp"
#include "image/parallel/range_gate.hpp"

namespace openvhd::detail {

class ParallelState : public std::enable_shared_from_this<ParallelState> {
  struct Key {};

 public:
  static Result<std::shared_ptr<ParallelState>> open(const std::string& path,
                                                     const OpenOptions& options);
  ParallelState(Key, Disk disk) noexcept;
  static ParallelState& of(const ParallelDisk& disk) noexcept { return *disk.state_; }

  const Disk& disk() const noexcept { return disk_; }
  Disk& disk() noexcept { return disk_; }

  Status read(VirtualOffset at, std::span<std::byte> into) noexcept;
  Status write(VirtualOffset at, std::span<const std::byte> from, bool durable) noexcept;
  Status zero(VirtualOffset at, std::uint64_t length, bool durable) noexcept;
  Status trim(VirtualOffset at, std::uint64_t length, bool durable) noexcept;
  Status flush() noexcept;
  Result<MapEntry> map(VirtualOffset at, std::uint64_t length) noexcept;
  Result<DiskInfo> info(bool count_blocks) noexcept;
  Result<Queue> open_queue(const QueueOptions& options) noexcept;
  Status close() noexcept;

  /// The calling thread ends; `door` is its own, from when this state had that number.
  void retire(std::uint64_t number, const Door& door) noexcept;

 private:
  enum class Kind : std::uint8_t { read, write, zero, trim, flush };
  /// Of whole sectors, but for what a Disk does itself.
  struct Call {
    Kind kind{};
    VirtualOffset at{};
    std::byte* bytes = nullptr;
    std::uint64_t length = 0;
    bool durable = false;
  };

  /// The calling thread's door, made when it first calls; null where the Disk itself must answer.
  Door* my_door() noexcept;
  Door* add_door() noexcept;
  Status run(const Call& call) noexcept;
  Status run_in_turn(const Call& call) noexcept;
  Status check_range(VirtualOffset at, std::uint64_t length) const noexcept;
  RangeGate::Passage passage(VirtualOffset at, std::uint64_t length) const noexcept;
  /// A range of which the first and the last sector may be parts.
  Status change(const Call& call) noexcept;
  Status patch(const Call& part) noexcept;

  Disk disk_;
  /// By which threads know their doors here; another one once these are gone.
  std::uint64_t number_;
  std::mutex mutex_;  // of the Disk's own calls, and of what follows
  std::vector<std::unique_ptr<Door>> doors_;
  std::size_t slots_ = 0;  // of doors_, that have one
  RangeGate gate_;
};

}  // namespace openvhd::detail
