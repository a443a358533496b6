/// Where a disk is written to while somebody copies it.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <openvhd/types.hpp>
#include <optional>
#include <vector>

#include "base/checked.hpp"

namespace openvhd {

/// Granules of a disk that a write has begun in since they were taken the last time. Writers note
/// a range before anything of it changes. Who takes a granule in a still moment therefore knows
/// that every write noted in it so far is over, and that later ones are noted again.
class WriteNotes {
 public:
  explicit WriteNotes(std::uint64_t disk_bytes)
      : shift_{shift_for(disk_bytes)},
        disk_bytes_{disk_bytes},
        words_(div_ceil(div_ceil(disk_bytes, granule_bytes()), kBits)) {}

  std::uint64_t granule_bytes() const noexcept { return std::uint64_t{1} << shift_; }

  /// Any thread; no lock, no allocation. The range lies inside the disk.
  void note(VirtualOffset at, std::uint64_t length) noexcept {
    if (length == 0) return;
    const std::uint64_t last = (at.value + length - 1) >> shift_;
    for (std::uint64_t granule = at.value >> shift_; granule <= last; ++granule) {
      std::atomic<std::uint64_t>& word = words_[granule / kBits];
      const std::uint64_t bit = std::uint64_t{1} << granule % kBits;
      // Mostly it is set: then the cache line stays where it is.
      if ((word.load(std::memory_order_relaxed) & bit) == 0)
        word.fetch_or(bit, std::memory_order_relaxed);
    }
  }

  struct Run {
    VirtualOffset at{};
    std::uint64_t length = 0;
  };
  /// All that is noted, in ascending order; nothing is noted afterwards. In a still moment.
  std::vector<Run> take() {
    std::vector<Run> out;
    for (std::uint64_t i = 0; i < words_.size(); ++i) {
      for (std::uint64_t word = words_[i].exchange(0, std::memory_order_relaxed); word != 0;
           word &= word - 1) {
        add(out, i * kBits + static_cast<unsigned>(std::countr_zero(word)));
      }
    }
    return out;
  }

 private:
  static constexpr std::uint64_t kBits = 64;
  static constexpr unsigned kLeastShift = 16;
  static constexpr std::uint64_t kMostGranules = std::uint64_t{1} << 24;

  static unsigned shift_for(std::uint64_t disk_bytes) noexcept {
    unsigned shift = kLeastShift;
    while (disk_bytes >> shift > kMostGranules) ++shift;
    return shift;
  }
  void add(std::vector<Run>& runs, std::uint64_t granule) const {
    const std::uint64_t begin = granule << shift_;
    const std::uint64_t end = std::min(begin + granule_bytes(), disk_bytes_);
    if (!runs.empty() && runs.back().at.value + runs.back().length == begin) {
      runs.back().length += end - begin;
    } else {
      runs.push_back({{begin}, end - begin});
    }
  }

  unsigned shift_;
  std::uint64_t disk_bytes_;
  std::vector<std::atomic<std::uint64_t>> words_;
};

}  // namespace openvhd
