#include "devices/virtio_pci.hpp"

#include <algorithm>

namespace openvhd::vmm {
namespace {

// The BAR: a page for each structure.
constexpr std::uint64_t kCommon = 0x0000, kIsr = 0x1000, kConfig = 0x2000, kNotify = 0x3000,
                        kTable = 0x4000, kPending = 0x5000;
constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint8_t kCommand = 0x04, kBar = 0x10, kMessageControl = 0x9a;
constexpr std::uint8_t kAccessBar = 0x88, kAccessOffset = 0x8c, kAccessBytes = 0x90,
                       kAccessData = 0x94;
constexpr unsigned kIndirect = 28, kEventIndex = 29, kVersion1 = 32;

//  common configuration     width
//   00h offered features' half  4  rw     18h queue size            2  rw
//   04h offered features        4  r      1Ah queue's vector        2  rw
//   08h accepted features' half 4  rw     1Ch queue enable          2  rw
//   0Ch accepted features       4  rw     1Eh queue's notify offset 2  r
//   10h configuration's vector  2  rw     20h descriptor area       8  rw
//   12h number of queues        2  r      28h driver area           8  rw
//   14h status                  1  rw     30h device area           8  rw
//   15h generation              1  r
//   16h queue select            2  rw

bool touches(std::uint8_t offset, std::uint32_t width, std::uint8_t reg,
             std::uint32_t reg_bytes) noexcept {
  return offset < reg + reg_bytes && reg < offset + width;
}

void set_half(GuestAddress& address, bool high, std::uint32_t value) noexcept {
  const std::uint64_t other = address.value & (high ? 0xffff'ffffULL : ~0xffff'ffffULL);
  address.value = other | (high ? std::uint64_t{value} << 32 : value);
}

}  // namespace

VirtioPci::VirtioPci(std::span<const PciRegister> registers, const VirtioParts& parts,
                     std::uint64_t features) noexcept
    : PciFunction{registers},
      parts_{parts},
      offered_{features | 1ULL << kVersion1 | 1ULL << kIndirect | 1ULL << kEventIndex} {}

void VirtioPci::broken() noexcept {
  status_ |= kNeedsReset;
  ++generation_;
  isr_ |= 2;
  interrupt(config_vector_);
}

void VirtioPci::signal(unsigned queue) noexcept {
  auto& of = queues_.at(queue);
  if (!of.ring.running() || !of.ring.wants_interrupt()) return;
  isr_ |= 1;
  interrupt(of.vector);
}

void VirtioPci::interrupt(std::uint16_t vector) noexcept {
  if (!messages_on_ || vector >= kVectors) return;
  pending_ |= 1U << vector;
  deliver_pending();
}

void VirtioPci::deliver_pending() noexcept {
  if (!messages_on_ || masked_) return;
  for (unsigned i = 0; i < kVectors; ++i) {
    const auto& vector = vectors_.at(i);
    if ((pending_ >> i & 1) == 0 || (vector.control & 1) != 0) continue;
    pending_ &= ~(1U << i);
    parts_.messages.send(vector.address, vector.data);
  }
}

std::uint16_t VirtioPci::checked_vector(std::uint32_t value) const noexcept {
  return value < kVectors ? static_cast<std::uint16_t>(value) : kNoVector;
}

void VirtioPci::reset_ended() noexcept {
  resetting_ = false;
  status_ = isr_ = 0;
  accepted_ = 0;
  offered_half_ = accepted_half_ = 0;
  config_vector_ = kNoVector;
  selected_ = 0;
  pending_ = 0;
  for (auto& queue : queues_) queue = {};
}

void VirtioPci::write_status(std::uint8_t value) noexcept {
  if (resetting_) return;  // the driver reads it back until it is zero (4.1.4.3.2)
  if (value == 0) {
    resetting_ = true;
    if (reset_begins()) reset_ended();
    return;
  }
  // 3.1.1: features are agreed on, or not, when the driver says that it is done.
  if ((value & kFeaturesOk) != 0 && (status_ & kFeaturesOk) == 0 &&
      ((accepted_ & ~offered_) != 0 || !has_feature(kVersion1)))
    value = static_cast<std::uint8_t>(value & ~kFeaturesOk);
  status_ |= static_cast<std::uint8_t>(value & ~kNeedsReset);
  if (serving()) parts_.doorbell.ring();
}

std::uint64_t VirtioPci::read_common(std::uint64_t offset) const noexcept {
  const auto place = selected_ < kMostQueues ? queues_[selected_].place : VirtioRingPlace{};
  const bool enabled = selected_ < kMostQueues && queues_[selected_].enabled;
  const auto vector = selected_ < kMostQueues ? queues_[selected_].vector : kNoVector;
  switch (offset) {
    case 0x00:
      return offered_half_;
    case 0x04:
      return offered_half_ > 1 ? 0 : offered_ >> (32 * offered_half_) & 0xffff'ffff;
    case 0x08:
      return accepted_half_;
    case 0x0c:
      return accepted_half_ > 1 ? 0 : accepted_ >> (32 * accepted_half_) & 0xffff'ffff;
    case 0x10:
      return config_vector_ | std::uint32_t{kMostQueues} << 16;
    case 0x14:
      return status_ | std::uint32_t{generation_} << 8 | std::uint32_t{selected_} << 16;
    case 0x18:
      return place.size | std::uint32_t{vector} << 16;
    case 0x1c:
      return (enabled ? 1U : 0U) | std::uint32_t{selected_} << 16;
    case 0x20:
    case 0x24:
      return place.descriptors.value >> (offset == 0x24 ? 32 : 0);
    case 0x28:
    case 0x2c:
      return place.driver.value >> (offset == 0x2c ? 32 : 0);
    case 0x30:
    case 0x34:
      return place.device.value >> (offset == 0x34 ? 32 : 0);
    default:
      return 0;
  }
}

void VirtioPci::write_queue(std::uint64_t offset, std::uint32_t value) noexcept {
  if (selected_ >= kMostQueues) return;
  auto& queue = queues_[selected_];
  if (offset == 0x1a) {
    queue.vector = checked_vector(value);
    return;
  }
  if (queue.enabled) return;  // 4.1.4.3.2: its place is fixed from here on
  switch (offset) {
    case 0x18:
      queue.place.size = static_cast<std::uint16_t>(value);
      break;
    case 0x1c:
      queue.enabled =
          value == 1 && queue.ring.start(parts_.memory, queue.place, has_feature(kEventIndex));
      break;
    case 0x20:
    case 0x24:
      set_half(queue.place.descriptors, offset == 0x24, value);
      break;
    case 0x28:
    case 0x2c:
      set_half(queue.place.driver, offset == 0x2c, value);
      break;
    case 0x30:
    case 0x34:
      set_half(queue.place.device, offset == 0x34, value);
      break;
    default:
      break;
  }
}

void VirtioPci::write_common(std::uint64_t offset, std::uint32_t width,
                             std::uint32_t value) noexcept {
  const std::uint32_t natural = offset == 0x14 ? 1 : offset >= 0x10 && offset < 0x20 ? 2 : 4;
  if (width != natural) return;
  switch (offset) {
    case 0x00:
      offered_half_ = value;
      break;
    case 0x08:
      accepted_half_ = value;
      break;
    case 0x0c:
      if (accepted_half_ > 1 || (status_ & kFeaturesOk) != 0) break;
      accepted_ = (accepted_ & (accepted_half_ == 0 ? ~0xffff'ffffULL : 0xffff'ffffULL)) |
                  std::uint64_t{value} << (32 * accepted_half_);
      break;
    case 0x10:
      config_vector_ = checked_vector(value);
      break;
    case 0x14:
      write_status(static_cast<std::uint8_t>(value));
      break;
    case 0x16:
      selected_ = static_cast<std::uint16_t>(value);
      break;
    default:
      write_queue(offset, value);
      break;
  }
}

std::uint32_t VirtioPci::read_vector(std::uint64_t offset) const noexcept {
  if (offset / 16 >= kVectors) return 0;
  const auto& vector = vectors_.at(offset / 16);
  switch (offset % 16) {
    case 0:
      return static_cast<std::uint32_t>(vector.address);
    case 4:
      return static_cast<std::uint32_t>(vector.address >> 32);
    case 8:
      return vector.data;
    default:
      return vector.control;
  }
}

void VirtioPci::write_vector(std::uint64_t offset, std::uint32_t value) noexcept {
  if (offset / 16 >= kVectors) return;
  auto& vector = vectors_.at(offset / 16);
  switch (offset % 16) {
    case 0:
      vector.address = (vector.address & ~0xffff'ffffULL) | (value & ~3U);
      break;
    case 4:
      vector.address = (vector.address & 0xffff'ffff) | std::uint64_t{value} << 32;
      break;
    case 8:
      vector.data = value;
      break;
    default:
      vector.control = value & 1;
      deliver_pending();
      break;
  }
}

// Aligned double words, cut to what was asked for. `offset` and `width` do not pass one.
std::uint64_t VirtioPci::read_bar(std::uint64_t offset, std::uint32_t width) noexcept {
  const auto within = offset % kPage;
  const auto word = within & ~3ULL;
  const auto shift = 8 * (within & 3);
  std::uint64_t value = 0;
  switch (offset - within) {
    case kCommon:
      value = read_common(word);
      break;
    case kIsr:
      if (within == 0) value = std::exchange(isr_, std::uint8_t{0});
      break;
    case kConfig:
      value = read_config(word);
      break;
    case kTable:
      value = read_vector(word);
      break;
    case kPending:
      value = word == 0 ? pending_ : 0;
      break;
    default:
      break;
  }
  return value >> shift & all_ones(width);
}

void VirtioPci::write_bar(std::uint64_t offset, std::uint32_t width, std::uint64_t value) noexcept {
  const auto within = offset % kPage;
  const auto low = static_cast<std::uint32_t>(value);
  switch (offset - within) {
    case kCommon:
      write_common(within, width, low);
      break;
    case kConfig:
      write_config(within, width, low);
      break;
    case kNotify:
      if (within < kMostQueues * Doorbell::kStride) parts_.doorbell.ring();
      break;
    case kTable:
      if (width == 4) write_vector(within, low);
      break;
    default:
      break;
  }
}

Answer VirtioPci::read(std::uint64_t offset, std::uint32_t width, std::uint64_t& value) noexcept {
  if (!std::has_single_bit(width) || offset % width != 0) return Answer::bad_width;
  const RegisterLock held{*this};
  value = read_bar(offset, std::min(width, 4U));
  if (width == 8) value |= read_bar(offset + 4, 4) << 32;
  return Answer::ok;
}

Answer VirtioPci::write(std::uint64_t offset, std::uint32_t width, std::uint64_t value) noexcept {
  if (!std::has_single_bit(width) || offset % width != 0) return Answer::bad_width;
  const RegisterLock held{*this};
  write_bar(offset, std::min(width, 4U), value);
  if (width == 8) write_bar(offset + 4, 4, value >> 32);
  return Answer::ok;
}

void VirtioPci::move_bar() noexcept {
  const bool on = (PciFunction::read(kCommand, 1) & 2) != 0;
  const auto where = on ? PciFunction::read(kBar, 4) : 0;
  if (where == bar_) return;
  if (bar_ != 0) parts_.bus.detach(*this);
  bar_ = where;
  if (bar_ == 0) return parts_.doorbell.place({}, kMostQueues);
  parts_.bus.attach({bar_}, kBarBytes, *this);
  parts_.doorbell.place(GuestAddress{bar_ + kNotify}, kMostQueues);
}

// 4.1.4.9: a window to the BAR, for those who cannot reach it.
void VirtioPci::reading(std::uint8_t offset, std::uint32_t width) noexcept {
  if (!touches(offset, width, kAccessData, 4)) return;
  const auto at = PciFunction::read(kAccessOffset, 4);
  const auto bytes = PciFunction::read(kAccessBytes, 4);
  std::uint64_t value = ~std::uint64_t{0};
  if (PciFunction::read(kAccessBar, 1) == 0 && at < kBarBytes && bytes >= 1 && bytes <= 4)
    static_cast<void>(read(at, bytes, value));
  poke(kAccessData, 4, static_cast<std::uint32_t>(value));
}

void VirtioPci::written(std::uint8_t offset, std::uint32_t width) noexcept {
  if (touches(offset, width, kCommand, 1) || touches(offset, width, kBar, 4)) move_bar();
  if (touches(offset, width, kMessageControl, 2)) {
    const RegisterLock held{*this};
    const auto control = PciFunction::read(kMessageControl, 2);
    messages_on_ = (control & 0x8000) != 0;
    masked_ = (control & 0x4000) != 0;
    deliver_pending();
  }
  if (!touches(offset, width, kAccessData, 4)) return;
  const auto at = PciFunction::read(kAccessOffset, 4);
  const auto bytes = PciFunction::read(kAccessBytes, 4);
  if (PciFunction::read(kAccessBar, 1) == 0 && at < kBarBytes && bytes >= 1 && bytes <= 4)
    static_cast<void>(write(at, bytes, PciFunction::read(kAccessData, 4)));
}

}  // namespace openvhd::vmm
