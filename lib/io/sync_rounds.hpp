/// Flushes of a file that is nothing but bytes: writes that completed, and syncs that cover them.
#pragma once

#include <atomic>
#include <cstdint>
#include <openvhd/error.hpp>
#include <optional>

#include "io/layer.hpp"

namespace openvhd {

/// One sync serves all who asked before it was issued; a flush with nothing to make durable still
/// waits for a sync on its way. A failed one poisons: it is never tried again (RELIABILITY e.2).
class SyncRounds {
 public:
  /// A write has completed. Any thread.
  void wrote() noexcept {
    // After the write on the host; flush() has the other half.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!unsynced_.load(std::memory_order_relaxed))
      unsynced_.store(true, std::memory_order_release);
  }
  /// Any thread.
  bool poisoned() const noexcept { return poisoned_.load(std::memory_order_acquire); }

  /// Why nothing may be written any more.
  std::optional<Error> refusal() const noexcept;
  /// Layer::flush(). The command's token is `token`.
  Step<Ok> flush(FlushTicket& ticket, std::uint64_t token) noexcept;
  /// The result of the command that flush() gave.
  void complete(std::int32_t result) noexcept;

 private:
  // Cleared before a sync is issued, with full fences on both sides: either that sync covers a
  // write, or whoever made it finds this clear and sets it again.
  std::atomic<bool> unsynced_{false};
  std::atomic<bool> poisoned_{false};
  std::uint64_t started_ = 0;
  std::uint64_t finished_ = 0;
  std::optional<Error> failure_;  // until somebody has been told
};

}  // namespace openvhd
