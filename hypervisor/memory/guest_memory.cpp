#include "memory/guest_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/checked.hpp"

namespace openvhd::vmm {
namespace {

constexpr std::uint64_t kUnit = 2 * kMiB;
constexpr unsigned kHuge2MiB = 21U << 26;  // MFD_HUGE_2MB, which glibc does not declare
constexpr std::uint8_t kReadRam = 1;
constexpr std::uint8_t kWriteRam = 2;

Error refused(GuestAddress at, const char* why) noexcept {
  return Error{.code = Errc::out_of_range, .where = {at.value}, .what = why};
}

Error failed(const char* what) noexcept {
  return Error{.code = errno == ENOMEM || errno == ENOSPC ? Errc::no_space : Errc::io,
               .sys_errno = errno,
               .what = what};
}

}  // namespace

Result<GuestMemory> GuestMemory::create(const MemoryOptions& options) {
  if (options.bytes < kMinMemory || options.bytes > kMaxMemory ||
      !is_multiple(options.bytes, kUnit))
    return Error{.code = Errc::invalid, .what = "memory: 4 MiB to 1 TiB, in units of 2 MiB"};
  const unsigned huge = options.huge_pages ? MFD_HUGETLB | kHuge2MiB : 0U;
  Fd file{::memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING | huge)};
  if (!file) return failed("memory: memfd_create");
  if (::ftruncate(file.get(), static_cast<off_t>(options.bytes)) != 0)
    return failed("memory: ftruncate");
  // A file that shrinks under a mapping turns accesses into SIGBUS.
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return failed("memory: seals");
  const int reserve = options.huge_pages ? 0 : MAP_NORESERVE;
  void* map =
      ::mmap(nullptr, options.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | reserve, file.get(), 0);
  if (map == MAP_FAILED) return failed("memory: mmap");
  return GuestMemory{std::move(file), {static_cast<std::byte*>(map), options.bytes}};
}

GuestMemory::GuestMemory(Fd file, std::span<std::byte> map) noexcept
    : file_{std::move(file)}, base_{map.data()}, bytes_{map.size()} {}

// Before anybody else knows it; the shadow state of a fresh memory is all zero.
GuestMemory::GuestMemory(GuestMemory&& other) noexcept
    : file_{std::move(other.file_)},
      base_{std::exchange(other.base_, nullptr)},
      bytes_{std::exchange(other.bytes_, 0)} {
  for (std::size_t i = 0; i < kShadowSegments; ++i) shadow_[i] = other.shadow_[i].load();
}

GuestMemory::~GuestMemory() {
  if (base_ != nullptr) ::munmap(base_, bytes_);
}

std::uint64_t GuestMemory::low_bytes() const noexcept { return std::min(bytes_, kLowMemoryEnd); }
std::uint64_t GuestMemory::high_bytes() const noexcept { return bytes_ - low_bytes(); }
std::span<std::byte> GuestMemory::low() noexcept { return {base_, low_bytes()}; }
std::span<std::byte> GuestMemory::high() noexcept { return {base_ + low_bytes(), high_bytes()}; }

Shadow GuestMemory::shadow(std::size_t segment) const noexcept {
  const auto bits = shadow_.at(segment).load(std::memory_order_relaxed);
  return {.read_ram = (bits & kReadRam) != 0, .write_ram = (bits & kWriteRam) != 0};
}

void GuestMemory::set_shadow(std::size_t segment, Shadow shadow) noexcept {
  const auto bits = (shadow.read_ram ? kReadRam : 0U) | (shadow.write_ram ? kWriteRam : 0U);
  shadow_.at(segment).store(static_cast<std::uint8_t>(bits), std::memory_order_relaxed);
}

bool GuestMemory::shadow_allows(std::uint64_t at, std::uint64_t length, Use use) const noexcept {
  const std::uint64_t begin = std::max(at, kShadowStart);
  const std::uint64_t end = std::min(at + length, kShadowEnd);
  for (std::uint64_t s = align_down(begin, kShadowSegment); s < end; s += kShadowSegment) {
    const auto state = shadow((s - kShadowStart) / kShadowSegment);
    if (use == Use::read ? !state.read_ram : !state.write_ram) return false;
  }
  return true;
}

Result<std::span<std::byte>> GuestMemory::slice(GuestAddress at, std::uint64_t length,
                                                Use use) noexcept {
  const auto end = checked_add(at.value, length);
  if (!end) return refused(at, "guest memory: the range wraps (G04)");
  if (at.value >= kHighMemory) {
    if (!range_fits(at.value - kHighMemory, length, high_bytes()))
      return refused(at, "guest memory: beyond its end (G04)");
    return high().subspan(at.value - kHighMemory, length);
  }
  if (*end > low_bytes()) return refused(at, "guest memory: not RAM (G04)");
  if (length > 0 && at.value < kShadowStart && *end > kLegacyHole)
    return refused(at, "guest memory: the video hole (G04)");
  if (!shadow_allows(at.value, length, use))
    return refused(at, "guest memory: ROM, or RAM that is switched off (G04)");
  return low().subspan(at.value, length);
}

Status GuestMemory::read(GuestAddress at, std::span<std::byte> into) noexcept {
  const auto from = slice(at, into.size(), Use::read);
  if (!from) return from.error();
  if (!into.empty()) std::memcpy(into.data(), from->data(), into.size());
  return Ok{};
}

Status GuestMemory::write(GuestAddress at, std::span<const std::byte> from) noexcept {
  const auto into = slice(at, from.size(), Use::write);
  if (!into) return into.error();
  if (!from.empty()) std::memcpy(into->data(), from.data(), from.size());
  return Ok{};
}

}  // namespace openvhd::vmm
