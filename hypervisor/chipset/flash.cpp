#include "chipset/flash.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace openvhd::vmm {
namespace {

//  first write   second write
//   10h, 40h      data: bits that are 0 in it become 0
//   20h           D0h: the block becomes FFh
//   50h           -       status cleared
//   70h           -       reads give the status
//   90h           -       reads give manufacturer and device
//   98h           -       reads give the CFI table
//   FFh           -       reads give the content
constexpr std::uint8_t kProgram = 0x10, kProgramToo = 0x40, kErase = 0x20, kConfirm = 0xd0,
                       kClear = 0x50, kStatus = 0x70, kIdentity = 0x90, kQuery = 0x98;
constexpr std::uint8_t kReady = 0x80, kEraseFailed = 0x20, kProgramFailed = 0x10;

}  // namespace

void Flash::show(Mode mode) noexcept {
  if ((mode == Mode::array) != (mode_ == Mode::array)) host_->show_array(mode == Mode::array);
  mode_ = mode;
}

void Flash::command(std::uint8_t code) noexcept {
  switch (code) {
    case kProgram:
    case kProgramToo:
    case kErase:
      expects_ = code;
      return show(Mode::status);
    case kClear:
      // Ready too: firmware tells flash from ROM by reading zero here.
      status_ = 0;
      return show(Mode::array);
    case kStatus:
      return show(Mode::status);
    case kIdentity:
      return show(Mode::identity);
    case kQuery:
      return show(Mode::query);
    default:
      return show(Mode::array);
  }
}

void Flash::program(std::uint64_t offset, std::uint32_t width, std::uint64_t value) noexcept {
  for (std::uint32_t i = 0; i < width; ++i)
    content_[offset + i] &= static_cast<std::byte>(value >> (8 * i));
  status_ |= kReady;
  if (!host_->keep(offset, width)) status_ |= kProgramFailed;
}

void Flash::erase(std::uint64_t offset) noexcept {
  const auto block = offset - offset % kBlock;
  std::ranges::fill(content_.subspan(block, kBlock), std::byte{0xff});
  status_ |= kReady;
  if (!host_->keep(block, kBlock)) status_ |= kEraseFailed;
}

// JESD68.01: one chip of 8 bits, one region of equal blocks.
std::uint8_t Flash::query_byte(std::uint64_t offset) const noexcept {
  const auto blocks = content_.size() / kBlock - 1;
  std::uint8_t size = 0;
  while ((1ULL << size) < content_.size()) ++size;
  const std::array<std::uint8_t, 0x31> table = [&] {
    std::array<std::uint8_t, 0x31> t{};
    t[0x10] = 'Q';
    t[0x11] = 'R';
    t[0x12] = 'Y';
    t[0x13] = 1;  // Intel's command set
    t[0x1b] = 0x45;
    t[0x1c] = 0x55;  // volts
    t[0x1f] = 7;
    t[0x21] = 10;  // times: 128 us a byte, 1 s a block
    t[0x27] = size;
    t[0x2c] = 1;
    t[0x2d] = static_cast<std::uint8_t>(blocks);
    t[0x2e] = static_cast<std::uint8_t>(blocks >> 8);
    t[0x2f] = kBlock / 256 & 0xff;
    t[0x30] = kBlock / 256 >> 8;
    return t;
  }();
  return offset < table.size() ? table[offset] : 0;
}

Answer Flash::read(std::uint64_t offset, std::uint32_t width, std::uint64_t& value) noexcept {
  if (offset >= content_.size() || width > content_.size() - offset) return Answer::no_register;
  value = 0;
  for (std::uint32_t i = 0; i < width; ++i) {
    std::uint64_t byte = status_;
    if (mode_ == Mode::array) byte = std::to_integer<std::uint64_t>(content_[offset + i]);
    if (mode_ == Mode::identity) byte = (offset + i) % 2 == 0 ? 0x89 : 0x18;
    if (mode_ == Mode::query) byte = query_byte(offset + i);
    value |= byte << (8 * i);
  }
  return Answer::ok;
}

Answer Flash::write(std::uint64_t offset, std::uint32_t width, std::uint64_t value) noexcept {
  if (offset >= content_.size() || width > content_.size() - offset) return Answer::no_register;
  const auto code = static_cast<std::uint8_t>(value);
  switch (std::exchange(expects_, std::uint8_t{0})) {
    case 0:
      command(code);
      break;
    case kErase:
      if (code == kConfirm)
        erase(offset);
      else
        status_ |= kReady | kEraseFailed | kProgramFailed;  // a sequence that there is not
      break;
    default:
      program(offset, width, value);
      break;
  }
  return Answer::ok;
}

}  // namespace openvhd::vmm
