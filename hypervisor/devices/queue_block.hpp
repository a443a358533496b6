/// A disk of the library behind a controller: one queue and the thread that owns it.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <openvhd/disk.hpp>
#include <openvhd/queue.hpp>
#include <thread>
#include <vector>

#include "base/fd.hpp"
#include "devices/block.hpp"

namespace openvhd::vmm {

class QueueBlock : public Block {
 public:
  /// Starts the thread. `disk` and `machine`, the lock under which requests complete, outlive it.
  /// Errors: unsupported (sectors that are not 512 bytes), those of Queue::open.
  static Result<std::unique_ptr<QueueBlock>> open(Disk& disk, std::mutex& machine,
                                                  const std::string& serial);
  /// Waits for what is under way, with the lock not held; each `done` runs.
  ~QueueBlock() override;

  const BlockShape& shape() const noexcept override { return shape_; }
  void submit(BlockRequest& request) noexcept override;

 private:
  struct Key {};
  static constexpr std::size_t kDepth = 64;
  struct Slot : IoRequest {
    QueueBlock* owner = nullptr;
    BlockRequest* request = nullptr;
    Slot* next = nullptr;
    Status status = Ok{};
  };
  void serve(Queue& queue) noexcept;
  void start(Queue& queue, BlockRequest& request) noexcept;
  static void ended(IoRequest& request, Status status) noexcept;
  bool deliver() noexcept;
  void wake() noexcept;

 public:
  QueueBlock(Key, std::mutex& machine, Fd event);

 private:
  BlockShape shape_;
  std::mutex* machine_;
  Fd event_;
  std::mutex inbox_lock_;
  std::vector<BlockRequest*> inbox_;  // under inbox_lock_
  bool stop_ = false;                 // under inbox_lock_
  std::array<Slot, kDepth> slots_{};
  Slot* free_ = nullptr;
  Slot* ended_ = nullptr;
  std::vector<BlockRequest*> waiting_;  // taken from the inbox, without a slot yet
  std::thread thread_;
};

}  // namespace openvhd::vmm
