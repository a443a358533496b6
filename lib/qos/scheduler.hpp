/// Who may begin next among all that use a host: mClock, with token buckets as its upper limits.
#pragma once

#include <atomic>
#include <mutex>
#include <openvhd/qos.hpp>

#include "qos/tree.hpp"

namespace openvhd::detail {

/// Any thread that visits decides for all. What it decides for others is granted: paid for, and
/// left in their lines for them to fetch. Each decision takes O(log n) of groups, flows and lines.
class QosScheduler {
 public:
  /// Long waits are cut into such pieces: nobody depends on another thread for longer.
  static constexpr std::uint64_t kLongestWaitNs = 100'000'000;
  /// A clock that goes back by less only waits.
  static constexpr std::uint64_t kBackNs = 1'000'000'000;
  /// Reservations that could not be met are caught up on for so long.
  static constexpr std::uint64_t kArrearsNs = 1'000'000'000;

  QosScheduler(const QosHostLimits& limits, const QosClock& clock) noexcept;
  QosScheduler(const QosScheduler&) = delete;
  QosScheduler& operator=(const QosScheduler&) = delete;

  // Takes no lock.

  /// Somebody waits for the host: nobody may go on without asking.
  bool contended() const noexcept { return contended_.load(std::memory_order_relaxed); }
  /// One more is under way on the host, if that may be.
  bool take_slot() noexcept {
    if (in_flight_.fetch_add(1) < slots_.load(std::memory_order_relaxed)) return true;
    in_flight_.fetch_sub(1);
    return false;
  }
  /// So many are under way no more.
  void give_back_slots(std::uint32_t count) noexcept {
    in_flight_.fetch_sub(count);
    if (contended_.load()) dispatch_now();
  }

  // The thread of the line's queue.

  /// True: begins now, and is paid for. False: it waits in its line.
  bool submit(QosLine& line, QosHeld& held) noexcept;
  /// Takes over the limits of now. What it had goes back.
  void refresh(QosLine& line) noexcept;
  /// Decides, and takes what the line has been granted.
  QosHeldList collect(QosLine& line) noexcept;
  /// Everything that waits, paid for.
  QosHeldList drain(QosLine& line) noexcept;
  /// Will be woken: when something is granted, when it is this line's turn to look, or after
  /// kLongestWaitNs.
  void sleep(QosLine& line) noexcept;
  std::uint64_t now_ns() const noexcept { return clock_.now_ns(clock_.context); }

  // Any thread.

  void add(QosGroup& group);
  void remove(QosGroup& group) noexcept;
  void add(QosFlowNode& flow);
  /// What it has done is added to `past`.
  void remove(QosFlowNode& flow, QosTotals& past) noexcept;
  void add(QosLine& line);
  void remove(QosLine& line) noexcept;
  void set_limits(const QosHostLimits& limits) noexcept;
  void set_limits(QosGroup& group, const QosLimits& limits) noexcept;
  QosHostLimits limits() const noexcept;
  QosStatus status() const noexcept;
  QosStatus status(QosFlowNode& flow) const noexcept;
  /// Of a group's flows, added to `sum`.
  void add_status(QosGroup& group, QosStatus& sum) const noexcept;
  static void add_totals(const QosTotals& totals, QosStatus& sum) noexcept;

 private:
  std::uint64_t look() noexcept;
  void rebase(std::uint64_t now) noexcept;
  void settle(QosLine& line, std::uint64_t now) noexcept;
  void enlist(QosLine& line, std::uint64_t now) noexcept;
  void delist(QosLine& line) noexcept;
  void place(QosGroup& group, std::uint64_t now, std::uint64_t arrears) noexcept;
  void unplace(QosGroup& group, std::uint64_t now) noexcept;
  bool host_admits(std::uint64_t now, bool& slot) noexcept;
  std::uint64_t host_ready_at(std::uint64_t now) const noexcept;
  void grant(QosGroup& group, bool reserved, bool slot, std::uint64_t now) noexcept;
  void grant_all(std::uint64_t now) noexcept;
  void dispatch(std::uint64_t now) noexcept;
  void dispatch_now() noexcept;
  void name_leader(std::uint64_t now) noexcept;
  void fall_asleep(QosLine& line) noexcept;
  void rouse(QosLine& line) noexcept;
  static QosLine& next_line(const QosGroup& group) noexcept;
  std::uint64_t last_known(std::uint64_t now) const noexcept;

  const QosClock clock_;
  std::atomic<std::uint32_t> slots_;
  alignas(64) std::atomic<std::uint32_t> in_flight_{0};
  alignas(64) std::atomic<bool> contended_{false};

  mutable std::mutex mutex_;  // of what follows
  QosHostLimits limits_;
  std::uint64_t last_ns_;
  QosBuckets host_;
  std::vector<QosGroup*> groups_;
  QosTotals past_;  // of flows that are no more

  Shares shares_;  // groups that only the host holds back
  Heap<QosGroup, &QosGroup::reserved_at, &QosGroup::reserved_place> reserved_;  // of those
  Heap<QosGroup, &QosGroup::ready_at, &QosGroup::delayed_place> delayed_;
  std::uint64_t last_grant_ns_ = 0;  // while somebody waits for the host
  std::uint64_t last_share_ns_ = 0;  // likewise, not by reservation
  QosLine* first_asleep_ = nullptr;
  QosLine* last_asleep_ = nullptr;
  const QosLine* leader_ = nullptr;  // of those: it wakes for all
  std::uint64_t leader_at_ = 0;
};

}  // namespace openvhd::detail
