/// The sector bitmap of one block in memory: one bit for each sector that the image holds.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace openvhd::vhd {

/// How the file has bits in a byte: the most significant first (VHD 1.0), or last (images of
/// tapdisk 0.1).
enum class BitOrder : std::uint8_t { msb_first, lsb_first };

/// Bits that are all alike.
struct BitRun {
  bool set = false;
  std::uint32_t length = 0;  ///< Sectors.
};

/// The bits of one block from when it was given its place, or they were loaded, until it loses
/// that or they leave memory: clear ones become set, and never the other way. Its owner changes
/// them; look-ups on other threads may be going on from when it has been shown to them.
class alignas(64) SectorBits {
 public:
  /// All clear. `start` is where the bitmap lies, in sectors; `bytes` a multiple of 512.
  SectorBits(std::uint32_t start, std::uint32_t bytes)
      : start_{start}, count_{bytes / 8}, words_{new std::atomic<std::uint64_t>[count_] {}} {}

  std::uint32_t start() const noexcept { return start_; }

  /// The run that begins at `first`, cut off after `count` sectors (at least 1). Any thread.
  BitRun run(std::uint32_t first, std::uint32_t count) const noexcept {
    const std::uint32_t end = first + count;
    std::uint32_t at = first;
    // Each word is looked at once: it may change, and a run of nothing is no answer.
    std::uint64_t word = words_[at / 64].load(std::memory_order_acquire);
    const bool set = (word >> (at % 64) & 1) != 0;
    for (;;) {
      // Ones where a bit differs from the run's; what lies before `at` is shifted out.
      const std::uint64_t other = (set ? ~word : word) >> (at % 64);
      if (other != 0) {
        at += static_cast<std::uint32_t>(std::countr_zero(other));
        break;
      }
      at += 64 - at % 64;
      if (at >= end) break;
      word = words_[at / 64].load(std::memory_order_acquire);
    }
    return {set, (at < end ? at : end) - first};
  }
  bool all_set(std::uint32_t first, std::uint32_t count) const noexcept {
    const BitRun found = run(first, count);
    return found.set && found.length == count;
  }

  /// A look-up has used it; for the cache. Any thread.
  void note_use() const noexcept {
    if (!used_.load(std::memory_order_relaxed)) used_.store(true, std::memory_order_relaxed);
  }
  bool take_use() noexcept { return used_.exchange(false, std::memory_order_relaxed); }

  // The owner's.

  void set(std::uint32_t first, std::uint32_t count) noexcept;
  /// Memory to load the bitmap into; then loaded() makes bits of what is there. Before anybody
  /// else is shown it.
  std::span<std::byte> memory() noexcept;
  void loaded(BitOrder order) noexcept;
  /// The bitmap as it is in the file.
  std::vector<std::byte> bytes(BitOrder order) const;

 private:
  std::uint32_t start_;
  std::uint32_t count_;  // of words
  // Sector n is bit n % 64, the lowest first, of word n / 64.
  std::unique_ptr<std::atomic<std::uint64_t>[]> words_;
  mutable std::atomic<bool> used_{false};
};

}  // namespace openvhd::vhd
