/// Host bridge i440FX (82441FX datasheet, 290549) and the ISA side of PIIX3 (290550). Missing: DRAM
/// timings, error registers, SMRAM, the PIRQ router (no function here has an interrupt pin).
#pragma once

#include <array>

#include "chipset/pci.hpp"
#include "memory/guest_memory.hpp"

namespace openvhd::vmm {

/// Told when PAM changes what the memory below 1 MiB is.
class ShadowMap {
 public:
  virtual ~ShadowMap() = default;
  virtual void remap(std::size_t segment, Shadow shadow) noexcept = 0;
};

inline constexpr std::array kI440fx = {
    PciRegister{0x00, 4, 0x1237'8086, 0},  // ids
    PciRegister{0x04, 2, 0x0006, 0},       // command: memory and bus master, always
    PciRegister{0x06, 2, 0x0280, 0},       // status
    PciRegister{0x08, 4, 0x0600'0002, 0},  // class: host bridge
    // Firmware believes in fw_cfg only with these.
    PciRegister{0x2c, 4, 0x1100'1af4, 0},     // subsystem
    PciRegister{0x59, 1, 0x00, 0x30},         // PAM0: F segment in the high nibble
    PciRegister{0x5a, 4, 0x00, 0x3333'3333},  // PAM1 to 4: C0000 to DFFFF, 16 KiB a nibble
    PciRegister{0x5e, 2, 0x00, 0x3333},       // PAM5, 6: E0000 to EFFFF
    PciRegister{0x72, 1, 0x02, 0x00},         // SMRAM: closed
};

class I440fx : public PciFunction {
 public:
  /// `map` outlives it.
  explicit I440fx(ShadowMap& map) noexcept : PciFunction{kI440fx}, map_{&map} {}

 protected:
  void written(std::uint8_t offset, std::uint32_t width) noexcept override {
    if (offset + width <= kPam || offset > kPam + 6) return;
    // 16 segments of 16 KiB: PAM1's low nibble is the first; the last four share PAM0's high one.
    for (std::size_t segment = 0; segment < GuestMemory::kShadowSegments; ++segment) {
      const auto pam =
          segment < 12 ? read(static_cast<std::uint8_t>(kPam + 1 + segment / 2), 1) : read(kPam, 1);
      const auto bits = segment < 12 && segment % 2 == 0 ? pam : pam >> 4;
      map_->remap(segment, {.read_ram = (bits & 1) != 0, .write_ram = (bits & 2) != 0});
    }
  }

 private:
  static constexpr std::uint8_t kPam = 0x59;
  ShadowMap* map_;
};

inline constexpr std::array kPiix3Isa = {
    PciRegister{0x00, 4, 0x7000'8086, 0},
    PciRegister{0x04, 2, 0x0007, 0},
    PciRegister{0x06, 2, 0x0200, 0},
    PciRegister{0x08, 4, 0x0601'0000, 0},            // class: ISA bridge
    PciRegister{0x0c, 4, 0x0080'0000, 0},            // header: more functions follow
    PciRegister{0x60, 4, 0x8080'8080, 0x8f8f'8f8f},  // PIRQ routes: disconnected
};

}  // namespace openvhd::vmm
