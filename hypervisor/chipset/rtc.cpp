#include "chipset/rtc.hpp"

#include <algorithm>
#include <ctime>

#include "base/checked.hpp"

namespace openvhd::vmm {
namespace {

struct Register {
  std::uint8_t index, reset, writable;
};
constexpr std::array kRtc = {
    Register{0x0a, 0x26, 0x7f},  // A: divider and rate; bit 7, update in progress, is never set
    Register{0x0b, 0x02, 0xff},  // B: bit 2 binary, bit 1 24 hours
    Register{0x0c, 0x00, 0x00},  // C: no interrupt ever came
    Register{0x0d, 0x80, 0x00},  // D: the battery is good
};
constexpr std::uint8_t kStatusB = 0x0b, kBinary = 4, kHours24 = 2;
constexpr std::uint8_t kCentury = 0x32;

bool is_time(std::uint8_t index) {
  return (index <= 9 && index != 1 && index != 3 && index != 5) || index == kCentury;
}

}  // namespace

Rtc::Rtc(Clock& clock) noexcept : clock_{&clock} {
  for (const auto& reg : kRtc) cells_[reg.index] = reg.reset;
}

void Rtc::set16(std::uint8_t index, std::uint64_t value) noexcept {
  cells_[index] = static_cast<std::uint8_t>(value);
  cells_[index + 1U] = static_cast<std::uint8_t>(value >> 8);
}

void Rtc::describe_machine(std::uint64_t low_bytes, std::uint64_t high_bytes,
                           std::uint32_t processors) noexcept {
  set16(0x15, 640);  // KiB of base memory
  const auto above_1m = std::min<std::uint64_t>((low_bytes - kMiB) / kKiB, 63 * kKiB);
  set16(0x17, above_1m);  // KiB above 1 MiB, to 64 MiB
  set16(0x30, above_1m);
  set16(0x34, low_bytes > 16 * kMiB ? (low_bytes - 16 * kMiB) >> 16 : 0);  // 64 KiB units
  set16(0x5b, high_bytes >> 16);
  cells_[0x5d] = static_cast<std::uint8_t>(high_bytes >> 32);
  cells_[0x5f] = static_cast<std::uint8_t>(processors - 1);
  cells_[0x14] = 0x06;  // equipment: coprocessor, keyboard
  cells_[0x3d] = 0x32;  // boot order where no file says another: disk, then CD
  cells_[0x38] = 0x01;  // and no check of a floppy's signature
}

std::uint8_t Rtc::time_register(std::uint8_t index) noexcept {
  const std::time_t now = clock_->unix_seconds();
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  int value = 0;
  bool afternoon = false;
  switch (index) {
    case 0:
      value = utc.tm_sec;
      break;
    case 2:
      value = utc.tm_min;
      break;
    case 4:
      value = utc.tm_hour;
      if ((cells_[kStatusB] & kHours24) == 0) {
        afternoon = value >= 12;
        value = value % 12 == 0 ? 12 : value % 12;
      }
      break;
    case 6:
      value = utc.tm_wday + 1;
      break;
    case 7:
      value = utc.tm_mday;
      break;
    case 8:
      value = utc.tm_mon + 1;
      break;
    case 9:
      value = utc.tm_year % 100;
      break;
    default:
      value = 19 + utc.tm_year / 100;
      break;
  }
  if ((cells_[kStatusB] & kBinary) == 0) value = value / 10 * 16 + value % 10;
  return static_cast<std::uint8_t>(value | (afternoon ? 0x80 : 0));
}

Answer Rtc::read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept {
  if (width != 1) return Answer::bad_width;
  if (offset == 0) return Answer::no_register;  // the index is write-only
  value = is_time(index_) ? time_register(index_) : cells_[index_];
  return Answer::ok;
}

Answer Rtc::write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept {
  if (width != 1) return Answer::bad_width;
  if (offset == 0) {
    index_ = value & 0x7f;  // bit 7 masks NMI, which nobody raises
    return Answer::ok;
  }
  std::uint8_t writable = is_time(index_) ? 0 : 0xff;
  for (const auto& reg : kRtc)
    if (reg.index == index_) writable = reg.writable;
  auto& cell = cells_[index_];
  cell = static_cast<std::uint8_t>((cell & ~writable) | (value & writable));
  return Answer::ok;
}

}  // namespace openvhd::vmm
