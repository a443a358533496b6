/// A token bucket in exact arithmetic, driven by whatever clock its caller has.
#pragma once

#include <cstdint>
#include <limits>

namespace openvhd {

/// For all t0 <= t1 of its clock: taken(t0, t1) <= burst + rate x (t1 - t0) + one operation, plus
/// the one-time burst. Fractions of a token are kept, so that nothing is lost by being asked often.
/// A clock that goes back gives nothing until it has passed where it was.
class TokenBucket {
 public:
  static constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

  struct Limit {
    std::uint64_t rate = 0;      ///< Tokens per second; 0: unlimited.
    std::uint64_t burst = 1;     ///< Tokens that may collect, 1 at least.
    std::uint64_t one_time = 0;  ///< Tokens above the burst at the start, never refilled.
  };

  TokenBucket() noexcept = default;
  TokenBucket(const Limit& limit, std::uint64_t now_ns) noexcept;

  /// Takes over another limit. What was taken too much is still owed; what had collected stays, as
  /// far as the new burst admits it; there is no other one-time burst.
  void change(const Limit& limit, std::uint64_t now_ns) noexcept;

  /// Takes in what time has brought.
  void refill(std::uint64_t now_ns) noexcept;
  /// Something is there: an operation may begin, however large it is.
  bool ready(std::uint64_t now_ns) noexcept;
  /// Takes `tokens`, of which not all need be there: what is missing is owed.
  void take(std::uint64_t tokens) noexcept;
  /// Takes `tokens` out for a cache if they are there and less than half of the burst is out.
  bool lend(std::uint64_t tokens) noexcept;
  /// A cache of `lent` tokens is done with; `left` of them were not used. Refilled just before:
  /// until now they were among what may collect.
  void give_back(std::uint64_t lent, std::uint64_t left) noexcept;
  /// The clock went back, and goes on from `now_ns`: worth nothing now.
  void rebase(std::uint64_t now_ns) noexcept { now_ns_ = now_ns; }
  /// The time at which ready() will be true, if nobody else takes anything.
  std::uint64_t ready_at(std::uint64_t now_ns) const noexcept;

  bool limited() const noexcept { return limit_.rate != 0; }
  const Limit& limit() const noexcept { return limit_; }

 private:
  // Billionths of a token: 2^64 of them in 64 bits' worth of tokens need the width.
  __extension__ using Wide = __int128;
  __extension__ using Unsigned = unsigned __int128;
  static constexpr std::uint64_t kParts = 1'000'000'000;

  static Wide parts(std::uint64_t tokens) noexcept { return Wide{tokens} * kParts; }

  Limit limit_;
  Wide level_ = 0;          // below 0: owed
  std::uint64_t lent_ = 0;  // in caches; what they hold counts as collected
  std::uint64_t now_ns_ = 0;
};

}  // namespace openvhd
