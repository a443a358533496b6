#include "qos/token_bucket.hpp"

#include <algorithm>

namespace openvhd {

TokenBucket::TokenBucket(const Limit& limit, std::uint64_t now_ns) noexcept
    : limit_{limit}, level_{parts(limit.burst) + parts(limit.one_time)}, now_ns_{now_ns} {}

void TokenBucket::change(const Limit& limit, std::uint64_t now_ns) noexcept {
  const bool was_limited = limited();
  refill(now_ns);
  limit_ = limit;
  lent_ = 0;
  level_ = was_limited ? std::min(level_, parts(limit.burst)) : parts(limit.burst);
  now_ns_ = std::max(now_ns_, now_ns);
}

void TokenBucket::refill(std::uint64_t now_ns) noexcept {
  if (now_ns <= now_ns_) return;
  const Unsigned gain = Unsigned{limit_.rate} * (now_ns - now_ns_);  // 64 x 64 bits: never over
  now_ns_ = now_ns;
  const Wide most = parts(limit_.burst - std::min(limit_.burst, lent_));
  if (level_ >= most) return;  // what is left of a one-time burst stays
  const auto room = static_cast<Unsigned>(most - level_);
  level_ = gain >= room ? most : level_ + static_cast<Wide>(gain);
}

bool TokenBucket::ready(std::uint64_t now_ns) noexcept {
  if (!limited()) return true;
  refill(now_ns);
  return level_ > 0;
}

void TokenBucket::take(std::uint64_t tokens) noexcept {
  if (limited()) level_ -= parts(tokens);
}

bool TokenBucket::lend(std::uint64_t tokens) noexcept {
  if (tokens > limit_.burst / 2 || lent_ > limit_.burst / 2 - tokens) return false;
  if (level_ < parts(tokens)) return false;
  level_ -= parts(tokens);
  lent_ += tokens;
  return true;
}

void TokenBucket::give_back(std::uint64_t lent, std::uint64_t left) noexcept {
  lent_ -= std::min(lent, lent_);
  level_ += parts(left);
}

std::uint64_t TokenBucket::ready_at(std::uint64_t now_ns) const noexcept {
  if (!limited() || level_ > 0) return now_ns;
  const auto missing = static_cast<Unsigned>(1 - level_);
  const Unsigned wait = (missing + limit_.rate - 1) / limit_.rate;
  if (wait > kNever - now_ns_) return kNever;
  return now_ns_ + static_cast<std::uint64_t>(wait);
}

}  // namespace openvhd
