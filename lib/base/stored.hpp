/// Bytes on disk and on the wire: byte order is part of a field's type.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace openvhd {

template <std::unsigned_integral T>
constexpr T byteswap(T v) noexcept {
  auto bytes = std::bit_cast<std::array<std::byte, sizeof(T)>>(v);
  std::ranges::reverse(bytes);
  return std::bit_cast<T>(bytes);
}

/// An integer in a fixed byte order, aligned to 1: a struct of these has no padding to pack away.
template <std::unsigned_integral T, std::endian Order>
class Stored {
 public:
  constexpr Stored() = default;
  constexpr explicit Stored(T v) noexcept : raw_{std::bit_cast<Raw>(ordered(v))} {}
  constexpr Stored& operator=(T v) noexcept {
    raw_ = std::bit_cast<Raw>(ordered(v));
    return *this;
  }
  constexpr operator T() const noexcept { return ordered(std::bit_cast<T>(raw_)); }
  constexpr T value() const noexcept { return *this; }

 private:
  using Raw = std::array<std::byte, sizeof(T)>;
  static constexpr T ordered(T v) noexcept {
    return Order == std::endian::native ? v : byteswap(v);
  }
  Raw raw_{};
};

using Le16 = Stored<std::uint16_t, std::endian::little>;  // Le: VHDX, VMBus.
using Le32 = Stored<std::uint32_t, std::endian::little>;
using Le64 = Stored<std::uint64_t, std::endian::little>;
using Be16 = Stored<std::uint16_t, std::endian::big>;  // Be: VHD, SCSI.
using Be32 = Stored<std::uint32_t, std::endian::big>;
using Be64 = Stored<std::uint64_t, std::endian::big>;

/// A struct that may be copied to and from a disk: its layout is what its fields say.
template <class T, std::size_t Size>
concept OnDisk = sizeof(T) == Size && alignof(T) == 1 &&
                 std::conjunction_v<std::is_standard_layout<T>, std::is_trivially_copyable<T>,
                                    std::has_unique_object_representations<T>>;

/// Copies a T out of the first bytes of `from`, which the caller has made long enough.
template <class T>
  requires(alignof(T) == 1 && std::is_trivially_copyable_v<T>)
T load(std::span<const std::byte> from) noexcept {
  T out;
  std::memcpy(&out, from.first(sizeof(T)).data(), sizeof(T));
  return out;
}

/// Copies `value` to the first bytes of `to`, which the caller has made long enough.
template <class T>
  requires(alignof(T) == 1 && std::is_trivially_copyable_v<T>)
void store(std::span<std::byte> to, const T& value) noexcept {
  std::memcpy(to.first(sizeof(T)).data(), &value, sizeof(T));
}

}  // namespace openvhd
