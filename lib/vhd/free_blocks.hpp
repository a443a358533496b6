/// Space of blocks that were given back: when it may be used again.
#pragma once

#include <cstdint>
#include <vector>

namespace openvhd::vhd {

/// A freed block waits until the table without it is durable, and until every operation, and
/// every transfer of another thread, that could have seen it there is over (ActiveOperations).
/// Then it is usable; what it holds is anything.
class FreeBlocks {
 public:
  /// `start` in sectors; `serial` is the youngest operation that may use it still.
  void freed(std::uint32_t start, std::uint64_t serial) { waiting_.push_back({start, 0, serial}); }
  /// Space that nothing refers to, on disk or in memory: `count` blocks, one every `stride`
  /// sectors.
  void unused(std::uint32_t start, std::uint32_t count = 1, std::uint32_t stride = 0) {
    usable_.push_back({start, count, stride});
  }

  /// The table as it is now is what flush `round` writes.
  void snapshot(std::uint64_t round) noexcept;
  /// Flush `round` is durable.
  void finish_round(std::uint64_t round) noexcept { finished_round_ = round; }

  /// The start of a usable block, taken out of the list; kNone when there is none.
  std::uint32_t take(std::uint64_t oldest_operation);
  /// Takes out what has become usable and was not offered to take() yet.
  std::vector<std::uint32_t> ripen(std::uint64_t oldest_operation);

  static constexpr std::uint32_t kNone = 0xffff'ffff;

 private:
  struct Waiting {
    std::uint32_t start;
    std::uint64_t round;  // 0: not in any yet
    std::uint64_t serial;
  };

  struct Run {
    std::uint32_t first;
    std::uint32_t count;
    std::uint32_t stride;
  };

  std::vector<Waiting> waiting_;
  std::vector<Run> usable_;  // the last is used first
  std::uint64_t finished_round_ = 0;
};

}  // namespace openvhd::vhd
