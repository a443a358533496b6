/// Arithmetic on numbers that come from a file or a guest: every overflow is seen.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

namespace openvhd {

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;
inline constexpr std::uint64_t kTiB = 1024 * kGiB;

template <std::unsigned_integral T>
constexpr std::optional<T> checked_add(T a, std::type_identity_t<T> b) noexcept {
  T out{};
  if (__builtin_add_overflow(a, b, &out)) return std::nullopt;
  return out;
}

template <std::unsigned_integral T>
constexpr std::optional<T> checked_mul(T a, std::type_identity_t<T> b) noexcept {
  T out{};
  if (__builtin_mul_overflow(a, b, &out)) return std::nullopt;
  return out;
}

/// True when [at, at + length) lies in [0, end), without overflow. An empty range may end there.
constexpr bool range_fits(std::uint64_t at, std::uint64_t length, std::uint64_t end) noexcept {
  return at <= end && length <= end - at;
}

/// True when two half-open ranges share a byte. The ends must not overflow: check them before.
constexpr bool ranges_overlap(std::uint64_t a, std::uint64_t a_length, std::uint64_t b,
                              std::uint64_t b_length) noexcept {
  return a < b + b_length && b < a + a_length;
}

constexpr bool is_multiple(std::uint64_t value, std::uint64_t unit) noexcept {
  return value % unit == 0;
}

/// `unit` is not zero.
constexpr std::uint64_t div_ceil(std::uint64_t value, std::uint64_t unit) noexcept {
  return value / unit + (value % unit != 0 ? 1 : 0);
}

constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t unit) noexcept {
  return value - value % unit;
}

/// Saturates at the highest multiple that fits.
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t unit) noexcept {
  const std::uint64_t rest = value % unit;
  if (rest == 0) return value;
  const auto up = checked_add(value, unit - rest);
  return up ? *up : align_down(std::numeric_limits<std::uint64_t>::max(), unit);
}

/// Narrows a number that is known to fit; a value that does not is our own mistake, and ends the
/// process rather than continue with another number.
template <std::unsigned_integral To, std::unsigned_integral From>
constexpr To narrow(From value) noexcept {
  if (!std::in_range<To>(value)) __builtin_trap();
  return static_cast<To>(value);
}

}  // namespace openvhd
