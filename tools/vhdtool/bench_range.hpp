/// Where `vhdtool bench` sends its requests: which parts of a disk, and in which order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace vhdtool {

/// Units of one size, at multiples of that size, out of some stretches of a disk.
class BenchRange {
 public:
  /// `unit_bytes` is not 0.
  explicit BenchRange(std::uint64_t unit_bytes) noexcept : unit_{unit_bytes} {}

  /// One more stretch, behind those before; one that continues the last is one with it.
  void add(std::uint64_t at, std::uint64_t length);

  /// How many units lie whole inside what was added.
  std::uint64_t units() const noexcept { return units_; }
  std::uint64_t unit_bytes() const noexcept { return unit_; }
  /// Where a unit begins. `index` is below units().
  std::uint64_t at(std::uint64_t index) const noexcept {
    if (runs_.size() == 1) return runs_.data()->at + index * unit_;
    return at_of_many(index);
  }

 private:
  struct Run {
    std::uint64_t at = 0;     // of its first unit
    std::uint64_t first = 0;  // the index of that
  };

  std::uint64_t at_of_many(std::uint64_t index) const noexcept;

  std::uint64_t unit_;
  std::uint64_t units_ = 0;
  std::uint64_t begin_ = 0;  // of the last stretch
  std::uint64_t end_ = 0;
  std::uint64_t units_before_ = 0;  // the last stretch
  std::vector<Run> runs_;
};

/// A small random generator (xorshift64*): a few instructions, the same sequence everywhere.
class BenchRandom {
 public:
  explicit BenchRandom(std::uint64_t seed) noexcept;
  std::uint64_t next() noexcept {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1dULL;
  }
  /// 0 to `limit` - 1.
  std::uint64_t below(std::uint64_t limit) noexcept {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((Wide{next()} * limit) >> 64);
  }

 private:
  std::uint64_t state_;
};

/// The units that one worker goes to, of several that share a range.
class BenchWalk {
 public:
  enum class Order : std::uint8_t {
    random,      ///< Any unit, again and again.
    shuffled,    ///< Each unit once, in an order that jumps about.
    sequential,  ///< Each unit in order, from the first one again after the last.
    once,        ///< Each unit once, in order.
  };
  struct Share {
    std::uint64_t worker = 0;
    std::uint64_t workers = 1;
  };

  /// `range` is borrowed and not empty.
  BenchWalk(const BenchRange& range, Order order, Share share, std::uint64_t seed) noexcept;

  static constexpr std::uint64_t kEnd = ~std::uint64_t{0};
  /// Where the next unit begins; kEnd when each has been there once.
  std::uint64_t next() noexcept { return order_ == Order::random ? anywhere() : next_in_turn(); }
  /// Where some unit begins.
  std::uint64_t anywhere() noexcept { return range_.at(random_.below(range_.units())); }
  Order order() const noexcept { return order_; }
  BenchRandom& random() noexcept { return random_; }

 private:
  std::uint64_t next_in_turn() noexcept;

  const BenchRange& range_;
  Order order_;
  BenchRandom random_;
  std::uint64_t left_;      // units of this worker that have not had their turn
  std::uint64_t position_;  // of the next unit
  std::uint64_t stride_;    // to the one after it, modulo the range
};

}  // namespace vhdtool
