#include "machine/memory_map.hpp"

#include <algorithm>

#include "base/try.hpp"

namespace openvhd::vmm {
namespace {

constexpr std::uint32_t kBaseSlot = 0, kLowSlot = 1, kHighSlot = 2, kRomSlot = 3, kFlashSlot = 4,
                        kFirstShadow = 5;
constexpr std::uint64_t kRomWindow = 0xE'0000;

}  // namespace

Status MemoryMap::map_all() noexcept {
  using Mapping = Vm::Mapping;
  const auto low = memory_->low();
  OVHD_CHECK(vm_->map(kBaseSlot, {0}, low.first(kLegacyHole), Mapping::writable));
  OVHD_CHECK(vm_->map(kLowSlot, {kShadowEnd}, low.subspan(kShadowEnd), Mapping::writable));
  if (memory_->high_bytes() > 0)
    OVHD_CHECK(vm_->map(kHighSlot, {kHighMemory}, memory_->high(), Mapping::writable));
  const auto rom = rom_.bytes();
  if (!rom.empty())
    OVHD_CHECK(vm_->map(kRomSlot, {kHighMemory - rom.size()}, rom, Mapping::read_only));
  for (std::size_t segment = 0; segment < GuestMemory::kShadowSegments; ++segment)
    OVHD_CHECK(show(segment, shown_for(segment, memory_->shadow(segment))));
  return Ok{};
}

Status MemoryMap::add_flash(std::span<std::byte> flash) noexcept {
  if (flash.size() % 4096 != 0 || flash.size() + rom_.bytes().size() > kMaxRom)
    return Error{.code = Errc::unsupported,
                 .what = "firmware and its variables: whole pages, 4 MiB together"};
  flash_ = flash;
  return vm_->map(kFlashSlot, flash_at(), flash_, Vm::Mapping::read_only);
}

void MemoryMap::show_flash(bool shown) noexcept {
  const auto done = shown ? vm_->map(kFlashSlot, flash_at(), flash_, Vm::Mapping::read_only)
                          : vm_->unmap(kFlashSlot);
  if (!done && failure_) failure_ = done;
}

MemoryMap::Shown MemoryMap::shown_for(std::size_t segment, Shadow shadow) noexcept {
  if (shadow.read_ram) return shadow.write_ram ? Shown::ram : Shown::ram_read_only;
  const auto at = kShadowStart + segment * kShadowSegment;
  const bool has_rom = at >= kRomWindow && kShadowEnd - at <= rom_.bytes().size();
  return has_rom ? Shown::rom : Shown::nothing;
}

Status MemoryMap::show(std::size_t segment, Shown what) noexcept {
  auto& shown = shown_.at(segment);
  if (shown == what) return Ok{};
  const auto slot = kFirstShadow + static_cast<std::uint32_t>(segment);
  if (shown != Shown::nothing) OVHD_CHECK(vm_->unmap(slot));
  shown = Shown::nothing;
  if (what == Shown::nothing) return Ok{};
  const auto at = kShadowStart + segment * kShadowSegment;
  auto rom = rom_.bytes();
  const auto host = what == Shown::rom ? rom.subspan(rom.size() - (kShadowEnd - at), kShadowSegment)
                                       : memory_->low().subspan(at, kShadowSegment);
  OVHD_CHECK(vm_->map(slot, {at}, host,
                      what == Shown::ram ? Vm::Mapping::writable : Vm::Mapping::read_only));
  shown = what;
  return Ok{};
}

void MemoryMap::remap(std::size_t segment, Shadow shadow) noexcept {
  memory_->set_shadow(segment, shadow);
  const auto done = show(segment, shown_for(segment, shadow));
  if (!done && failure_) failure_ = done;
}

void MemoryMap::trapped_write(GuestAddress at, std::span<const std::byte> bytes) noexcept {
  // Refused by the rules for all that is not such RAM; a lost write is what the guest gets then.
  if (at.value >= kShadowStart && at.value < kShadowEnd)
    static_cast<void>(memory_->write(at, bytes));
}

}  // namespace openvhd::vmm
