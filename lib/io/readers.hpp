/// Threads that look things up in structures that one owner changes: how the owner learns that
/// nobody can still be looking at, or transferring to, what it has taken out of sight.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <span>

namespace openvhd {

/// A bounded number of reader threads beside one owner. A reader announces a look-up, and a
/// transfer that rests on what it found, with plain stores and one fence: no lock, no loop. The
/// owner takes something out of sight first, then asks here when it may be used again:
///  - memory that look-ups go through: once passed(retire()) holds;
///  - file space that transfers go to: once advance() has succeeded twice.
/// Neither ever waits for a reader.
class Readers {
 public:
  static constexpr std::size_t kMost = 64;

  /// One reader's. All calls but the owner's belong to the reader's thread.
  class alignas(64) Slot {
   public:
    /// Begins a transfer: either the owner sees that from here on, or whatever the reader loads
    /// next is what the owner did before it looked. The answer goes to end_transfer().
    unsigned begin_transfer() noexcept {
      const auto side =
          static_cast<unsigned>(owner_->transfers_.load(std::memory_order_relaxed)) & 1;
      in_flight_[side].store(in_flight_[side].load(std::memory_order_relaxed) + 1,
                             std::memory_order_relaxed);
      std::atomic_thread_fence(std::memory_order_seq_cst);
      return side;
    }
    /// Begins a look-up through memory that the owner may take away, in the same way.
    void begin_look_up() noexcept {
      looking_.store(owner_->look_ups_.load(std::memory_order_relaxed), std::memory_order_relaxed);
      std::atomic_thread_fence(std::memory_order_seq_cst);
    }
    /// Begins a look-up, and a transfer that may follow from it.
    unsigned begin() noexcept {
      const unsigned side = begin_transfer();
      begin_look_up();
      return side;
    }
    void end_look_up() noexcept { looking_.store(kIdle, std::memory_order_release); }
    void end_transfer(unsigned side) noexcept {
      std::atomic<std::uint32_t>& count = in_flight_[side & 1];
      count.store(count.load(std::memory_order_relaxed) - 1, std::memory_order_release);
    }

   private:
    friend class Readers;
    static constexpr std::uint64_t kIdle = std::numeric_limits<std::uint64_t>::max();

    std::atomic<std::uint64_t> looking_{kIdle};  // the owner's count when the look-up began
    std::array<std::atomic<std::uint32_t>, 2> in_flight_{};
    const Readers* owner_ = nullptr;
    std::atomic<bool> taken_{false};
  };

  Readers() noexcept {
    for (Slot& slot : slots_) slot.owner_ = this;
  }
  Readers(const Readers&) = delete;
  Readers& operator=(const Readers&) = delete;

  /// A slot for a new reader; null when all are taken. Any thread.
  Slot* join() noexcept;
  /// Gives a slot back; no look-up and no transfer of it is under way. Any thread.
  void leave(Slot& slot) noexcept { slot.taken_.store(false, std::memory_order_release); }

  // The owner's.

  /// What was taken out of sight before this call is seen by no look-up any more once passed()
  /// says so of the answer.
  std::uint64_t retire() noexcept { return look_ups_.fetch_add(1, std::memory_order_seq_cst); }
  bool passed(std::uint64_t retired) const noexcept;

  /// Transfers are counted on one of two sides. Moves new ones to the other side, if that one is
  /// empty. After two moves both have been empty since, and all that began before is over.
  bool advance() noexcept;
  /// Whether there is a transfer at this moment. Any thread.
  bool any_transfer() const noexcept;
  static constexpr unsigned kMovesUntilOver = 2;

 private:
  std::span<const Slot> used() const noexcept {
    return {slots_.data(), used_.load(std::memory_order_acquire)};
  }

  std::array<Slot, kMost> slots_{};
  std::atomic<std::size_t> used_{0};  // slots that anybody ever had
  alignas(64) std::atomic<std::uint64_t> look_ups_{0};
  std::atomic<std::uint64_t> transfers_{0};
};

}  // namespace openvhd
