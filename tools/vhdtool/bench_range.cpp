#include "bench_range.hpp"

#include <algorithm>
#include <numeric>

namespace vhdtool {
namespace {

// a * b mod m, for any numbers.
std::uint64_t multiply(std::uint64_t a, std::uint64_t b, std::uint64_t m) noexcept {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(Wide{a} * b % m);
}

// A step that leads through all of `units` before it comes back, far from its neighbours.
std::uint64_t shuffling_step(std::uint64_t units) noexcept {
  constexpr double kGolden = 0.6180339887498949;
  auto step =
      std::max<std::uint64_t>(1, static_cast<std::uint64_t>(static_cast<double>(units) * kGolden));
  while (std::gcd(step, units) != 1) ++step;
  return step % units;
}

}  // namespace

void BenchRange::add(std::uint64_t at, std::uint64_t length) {
  const bool continues = at == end_ && length != 0 && end_ != begin_;
  if (!continues) {
    begin_ = at;
    units_before_ = units_;
  }
  end_ = at + length;
  const auto first = (begin_ + unit_ - 1) / unit_ * unit_;
  if (end_ < first || end_ - first < unit_) return;
  if (units_ == units_before_) runs_.push_back({.at = first, .first = units_});
  units_ = units_before_ + (end_ - first) / unit_;
}

std::uint64_t BenchRange::at_of_many(std::uint64_t index) const noexcept {
  const auto behind =
      std::upper_bound(runs_.begin(), runs_.end(), index,
                       [](std::uint64_t wanted, const Run& run) { return wanted < run.first; });
  const auto& run = *(behind - 1);
  return run.at + (index - run.first) * unit_;
}

BenchRandom::BenchRandom(std::uint64_t seed) noexcept : state_{seed + 0x9e3779b97f4a7c15ULL} {
  // Seeds that differ by one must not give sequences that look alike (splitmix64).
  state_ = (state_ ^ (state_ >> 30)) * 0xbf58476d1ce4e5b9ULL;
  state_ = (state_ ^ (state_ >> 27)) * 0x94d049bb133111ebULL;
  state_ ^= state_ >> 31;
  if (state_ == 0) state_ = 1;
}

BenchWalk::BenchWalk(const BenchRange& range, Order order, Share share, std::uint64_t seed) noexcept
    : range_{range}, order_{order}, random_{seed * share.workers + share.worker} {
  const auto units = range.units();
  left_ = share.worker < units ? (units - share.worker - 1) / share.workers + 1 : 0;
  const bool shuffled = order == Order::shuffled;
  const auto step = shuffled ? shuffling_step(units) : 1;
  const auto start = shuffled ? BenchRandom{seed}.below(units) : 0;
  position_ = (start + multiply(step, share.worker % units, units)) % units;
  stride_ = multiply(step, share.workers % units, units);
}

std::uint64_t BenchWalk::next_in_turn() noexcept {
  if (order_ != Order::sequential) {
    if (left_ == 0) return kEnd;
    --left_;
  }
  const auto at = range_.at(position_);
  const auto room = range_.units() - position_;
  position_ = stride_ < room ? position_ + stride_ : stride_ - room;
  return at;
}

}  // namespace vhdtool
