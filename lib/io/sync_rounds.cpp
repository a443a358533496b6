#include "io/sync_rounds.hpp"

#include <utility>

#include "io/file.hpp"

namespace openvhd {

std::optional<Error> SyncRounds::refusal() const noexcept {
  if (!poisoned()) return std::nullopt;
  return Error{.code = Errc::poisoned, .what = "an earlier sync failed: reopen the image (e.2)"};
}

Step<Ok> SyncRounds::flush(FlushTicket& ticket, std::uint64_t token) noexcept {
  if (failure_) return *std::exchange(failure_, std::nullopt);
  if (const auto refused = refusal()) return *refused;
  if (ticket.target == 0)
    ticket.target = started_ + (unsynced_.load(std::memory_order_acquire) ? 1 : 0);
  if (finished_ >= ticket.target) return Ok{};
  if (started_ != finished_) return Wait{};
  ++started_;
  unsynced_.store(false, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return IoCommand{.kind = IoCommand::Kind::sync, .token = token};
}

void SyncRounds::complete(std::int32_t result) noexcept {
  finished_ = started_;
  if (result >= 0) return;
  failure_ = host_error(result, {}, "sync (D2)");
  poisoned_.store(true, std::memory_order_release);
}

}  // namespace openvhd
