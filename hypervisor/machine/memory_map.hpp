/// What the guest sees at which address: RAM, the firmware's ROM, and what PAM switches.
#pragma once

#include <array>

#include "chipset/i440fx.hpp"
#include "kvm/vm.hpp"
#include "memory/guest_memory.hpp"
#include "memory/page_buffer.hpp"

namespace openvhd::vmm {

/// Calls: with the machine's lock held, or before the guest runs. A guest that executes from a
/// segment while another of its processors switches it may meet a moment without memory there.
class MemoryMap : public ShadowMap {
 public:
  static constexpr std::uint64_t kMaxRom = 4 << 20;

  /// Both outlive it. `rom`: a multiple of 4 KiB up to kMaxRom, or empty; it ends at 4 GiB and its
  /// last 128 KiB are at 0xE0000 too.
  MemoryMap(Vm& vm, GuestMemory& memory, PageBuffer rom) noexcept
      : vm_{&vm}, memory_{&memory}, rom_{std::move(rom)} {}
  Status map_all() noexcept;

  /// Flash directly below the ROM: whole pages, together with it up to kMaxRom; it outlives this.
  Status add_flash(std::span<std::byte> flash) noexcept;
  GuestAddress flash_at() noexcept { return {kHighMemory - rom_.bytes().size() - flash_.size()}; }
  /// Whether the guest's reads see it. Errors end up in failure().
  void show_flash(bool shown) noexcept;

  /// Errors end up in failure(): the register write that caused it has no answer.
  void remap(std::size_t segment, Shadow shadow) noexcept override;
  const Status& failure() const noexcept { return failure_; }

  /// A guest's write that KVM did not carry out: RAM that is written but not read, else lost.
  void trapped_write(GuestAddress at, std::span<const std::byte> bytes) noexcept;

 private:
  enum class Shown : std::uint8_t { nothing, rom, ram, ram_read_only };
  Shown shown_for(std::size_t segment, Shadow shadow) noexcept;
  Status show(std::size_t segment, Shown what) noexcept;

  Vm* vm_;
  GuestMemory* memory_;
  PageBuffer rom_;
  std::span<std::byte> flash_{};
  std::array<Shown, GuestMemory::kShadowSegments> shown_{};
  Status failure_ = Ok{};
};

}  // namespace openvhd::vmm
