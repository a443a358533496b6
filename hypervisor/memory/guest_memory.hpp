/// The guest's RAM, and the only way from a guest-physical address to host memory.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <openvhd/error.hpp>
#include <openvhd/types.hpp>
#include <span>

#include "base/fd.hpp"

namespace openvhd::vmm {

using GuestAddress = Position<struct InGuest>;  ///< Guest-physical.

inline constexpr std::uint64_t kLowMemoryEnd = 0xC000'0000;  ///< PCI windows follow.
inline constexpr std::uint64_t kHighMemory = 0x1'0000'0000;  ///< RAM beyond the windows.
inline constexpr std::uint64_t kLegacyHole = 0xA'0000;       ///< Video: never RAM here.
inline constexpr std::uint64_t kShadowStart = 0xC'0000;      ///< What PAM switches...
inline constexpr std::uint64_t kShadowEnd = 0x10'0000;       ///< ...up to 1 MiB.
inline constexpr std::uint64_t kShadowSegment = 0x4000;      ///< Bytes that switch together.
inline constexpr std::uint64_t kMinMemory = 4ULL << 20;      ///< What firmware needs at least.
inline constexpr std::uint64_t kMaxMemory = 1ULL << 40;      ///< 1 TiB: a bound, not a goal.

/// What a segment between 0xC0000 and 1 MiB answers with; i440FX calls the register PAM.
struct Shadow {
  bool read_ram = false;   ///< Else ROM or nothing.
  bool write_ram = false;  ///< Else the write is lost.
  friend bool operator==(const Shadow&, const Shadow&) = default;
};

struct MemoryOptions {
  std::uint64_t bytes = 0;  ///< A multiple of 2 MiB, kMinMemory to kMaxMemory.
  bool huge_pages = false;  ///< From the host's pool of 2 MiB pages; it fails where none are left.
};

/// RAM at [0, kLowMemoryEnd) and, when there is more, from kHighMemory on; one memfd. The legacy
/// hole, PCI windows and ROM are nobody's here: a range that touches them is refused, and so is
/// one that wraps. Thread: any, all calls; the guest writes at the same time, so that a byte is to
/// be read once and judged in the copy.
class GuestMemory {
 public:
  enum class Use : std::uint8_t { read, write };

  /// Errors: invalid (size), io (memfd, mmap, sealing), no_space (no huge pages).
  static Result<GuestMemory> create(const MemoryOptions& options);

  GuestMemory(GuestMemory&& other) noexcept;
  GuestMemory& operator=(GuestMemory&&) = delete;
  ~GuestMemory();

  std::uint64_t bytes() const noexcept { return bytes_; }
  std::uint64_t low_bytes() const noexcept;   ///< Below kLowMemoryEnd.
  std::uint64_t high_bytes() const noexcept;  ///< From kHighMemory on.

  /// Host memory of a range that is RAM for `use` in whole: for transfers that the kernel makes.
  /// It is not to be kept beyond the request that asked. Errors: out_of_range, with the address.
  Result<std::span<std::byte>> slice(GuestAddress at, std::uint64_t length, Use use) noexcept;
  /// Copies out, each byte once. Errors: as slice; `into` is then unchanged.
  Status read(GuestAddress at, std::span<std::byte> into) noexcept;
  /// Errors: as slice; nothing is then written.
  Status write(GuestAddress at, std::span<const std::byte> from) noexcept;

  /// Host memory of the low `low_bytes()` or of the high part, whatever PAM says: for mapping it
  /// into a VM and for loaders that run before the guest does.
  std::span<std::byte> low() noexcept;
  std::span<std::byte> high() noexcept;

  static constexpr std::size_t kShadowSegments = (kShadowEnd - kShadowStart) / kShadowSegment;
  Shadow shadow(std::size_t segment) const noexcept;
  void set_shadow(std::size_t segment, Shadow shadow) noexcept;

 private:
  GuestMemory(Fd file, std::span<std::byte> map) noexcept;
  bool shadow_allows(std::uint64_t at, std::uint64_t length, Use use) const noexcept;

  Fd file_;
  std::byte* base_ = nullptr;
  std::uint64_t bytes_ = 0;
  std::array<std::atomic<std::uint8_t>, kShadowSegments> shadow_{};
};

}  // namespace openvhd::vmm
