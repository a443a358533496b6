#include "chipset/piix_pm.hpp"

namespace openvhd::vmm {
namespace {

constexpr std::array kPm = {
    PciRegister{0x00, 4, 0x7113'8086, 0}, PciRegister{0x04, 2, 0x0000, 0x0001},
    PciRegister{0x06, 2, 0x0280, 0}, PciRegister{0x08, 4, 0x0680'0003, 0},  // class: other bridge
    PciRegister{0x40, 4, 0x0000'0001, 0xffc0},                              // PMBASE
    // DEVACTB: APMC_EN reads as set, so that firmware sees SMM set up and leaves it alone.
    PciRegister{0x58, 4, 0x0200'0000, 0x0000'00ff},
    PciRegister{0x80, 1, 0x00, 0x01},           // PMREGMISC: bit 0 opens PMBASE
    PciRegister{0x90, 4, 0x0000'0001, 0xfff0},  // SMBus base: remembered, nothing is there
    PciRegister{0xd2, 1, 0x00, 0x0f},           // SMBus configuration
};

//  offset width
//   0      2     rw1c  PM1 status: bit 8 power button, bit 5 global, bit 10 RTC, bit 15 wake
//   2      2     rw    PM1 enable
//   4      2     rw    PM1 control: bit 0 SCI, bits 12:10 sleep type, bit 13 sleep
//   8      4     r-    timer: 3.579545 MHz, 24 bits
constexpr std::uint16_t kStatus = 0, kEnable = 2, kControl = 4, kTimer = 8;
constexpr std::uint16_t kPowerButton = 1U << 8;
constexpr std::uint16_t kSleep = 1U << 13, kSleepType = 7U << 10, kSci = 1;
constexpr std::uint64_t kTimerHz = 3'579'545;
constexpr std::uint64_t kNanoseconds = 1'000'000'000;

}  // namespace

PmPorts::PmPorts(const PmParts& parts) noexcept
    : parts_{parts}, start_ns_{parts.clock.monotonic_ns()} {}

std::uint32_t PmPorts::timer() const noexcept {
  const auto ns = parts_.clock.monotonic_ns() - start_ns_;
  // In two parts: the product of the whole would overflow after an hour and a half.
  const auto ticks = ns / kNanoseconds * kTimerHz + ns % kNanoseconds * kTimerHz / kNanoseconds;
  return static_cast<std::uint32_t>(ticks & 0xff'ffff);
}

void PmPorts::update() noexcept { parts_.sci.set((status_ & enable_) != 0); }

void PmPorts::press_power_button() noexcept {
  status_ |= kPowerButton;
  update();
}

Answer PmPorts::read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept {
  std::uint32_t whole = 0;
  const auto base = static_cast<std::uint16_t>(offset & ~3U);
  if (base == kStatus)
    whole = status_ | static_cast<std::uint32_t>(enable_) << 16;
  else if (base == kControl)
    whole = control_;
  else if (base == kTimer)
    whole = timer();
  if ((offset & 3U) + width > 4) return Answer::bad_width;
  value = whole >> (8 * (offset & 3U));
  return Answer::ok;
}

Answer PmPorts::write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept {
  const auto low = static_cast<std::uint16_t>(value);
  if (offset != kStatus && offset != kEnable && offset != kControl) return Answer::no_register;
  if (width == 1) return Answer::bad_width;
  if (offset == kStatus) {
    status_ = static_cast<std::uint16_t>(status_ & ~low);
    if (width == 4) enable_ = static_cast<std::uint16_t>(value >> 16);
  } else if (offset == kEnable) {
    enable_ = low;
  } else {
    control_ = static_cast<std::uint16_t>((low & ~kSleep) | kSci);
    // Sleep type 0 is off; the guest is told of no other.
    if ((low & kSleep) != 0 && (low & kSleepType) == 0)
      parts_.events.request(MachineEvent::power_off);
  }
  update();
  return Answer::ok;
}

PiixPm::PiixPm(const PmParts& parts) noexcept : PciFunction{kPm}, bus_{&parts.bus}, ports_{parts} {}

void PiixPm::written(std::uint8_t, std::uint32_t) noexcept {
  bus_->detach(ports_);
  const auto base = static_cast<std::uint16_t>(read(0x40, 2) & 0xffc0);
  if ((read(0x80, 1) & 1) != 0 && base != 0) bus_->attach(base, PmPorts::kPorts, ports_);
}

}  // namespace openvhd::vmm
