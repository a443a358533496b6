/// The driver over io_uring: commands of many operations in flight in one ring.
#pragma once

#include <liburing.h>

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "base/fd.hpp"
#include "io/driver.hpp"
#include "io/operation_set.hpp"

namespace openvhd {

/// Maps each command to one request, where the file gives a descriptor for it, and submits them
/// together. What the kernel does not take (kinds that a file system lacks, descriptors that
/// refuse) goes through File::execute(), which knows what to do instead.
class UringDriver final : public Driver {
  struct Key {};

 public:
  /// Whether this process may use io_uring; `reason` is a literal and says why not.
  struct Support {
    bool available = false;
    const char* reason = "";
  };
  static Support probe() noexcept;

  /// Errors: unsupported, with the reason; invalid depth.
  static Result<std::unique_ptr<UringDriver>> create(std::uint32_t depth);

  UringDriver(Key, std::uint32_t depth);
  ~UringDriver() override;

  Status start(Operation& operation, std::span<File* const> files) noexcept override;
  Operation* reap() noexcept override;
  Operation* wait() noexcept override;
  Operation* wait_or_wake() noexcept override;
  void wake() noexcept override;
  int descriptor() noexcept override;
  std::uint32_t under_way() const noexcept override { return operations_.under_way(); }
  const char* name() const noexcept override { return "io_uring"; }

  /// io_uring_enter calls that submitted something, and requests submitted.
  struct Counts {
    std::uint64_t submissions = 0;
    std::uint64_t requests = 0;
    std::uint64_t executed = 0;  ///< Commands that went through File::execute().
  };
  const Counts& counts() const noexcept { return counts_; }

 private:
  /// A command in the ring. Its index is the request's user data.
  struct InFlight {
    IoCommand command;
    OperationSet::Place* place = nullptr;
  };

  Status open_ring() noexcept;
  void close_ring() noexcept;
  Status settle_in_thread() noexcept;
  bool pump() noexcept;
  bool pump_one(OperationSet::Place& place) noexcept;
  io_uring_sqe* next_sqe() noexcept;
  void arm_wake() noexcept;
  void queue(OperationSet::Place& place, const IoCommand& command, int descriptor) noexcept;
  bool take_completions() noexcept;
  void complete(std::uint32_t index, std::int32_t result) noexcept;
  void submit(bool wait_for_one) noexcept;
  void step() noexcept;
  void check_not_stuck() const noexcept;
  bool drain_event() noexcept;

  OperationSet operations_;
  std::vector<InFlight> table_;
  std::vector<std::uint32_t> free_;  // of table_
  std::uint32_t in_flight_ = 0;
  std::uint32_t unsubmitted_ = 0;
  bool ask_all_ = false;  // something has changed since all operations were asked
  bool open_ = false;
  std::thread::id thread_;
  Fd event_;
  Fd wake_event_;
  std::uint64_t wake_count_ = 0;  // what the armed read of wake_event_ fills
  bool wake_armed_ = false;
  bool woken_ = false;
  io_uring ring_{};
  Counts counts_;
};

}  // namespace openvhd
