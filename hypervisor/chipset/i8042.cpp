#include "chipset/i8042.hpp"

namespace openvhd::vmm {
namespace {

constexpr std::uint8_t kAck = 0xfa;
constexpr std::uint8_t kOutputPort = 0x03;  // A20 on, not in reset

}  // namespace

// More than fits is lost: the guest has not read what it asked for.
void I8042::answer(std::initializer_list<std::uint8_t> bytes) noexcept {
  for (const auto byte : bytes) {
    if (count_ == out_.size()) break;
    out_[(first_ + count_) % out_.size()] = byte;
    ++count_;
  }
}

void I8042::update() noexcept { line_->set(count_ > 0 && (control_ & 1) != 0); }

void I8042::command(std::uint8_t byte) noexcept {
  last_was_command_ = true;
  switch (byte) {
    case 0x20:  // read the command byte
      answer({control_});
      break;
    case 0x60:  // write it
    case 0xd1:  // write the output port
    case 0xd2:  // as if the keyboard had sent it
    case 0xd3:  // the mouse
    case 0xd4:  // to the mouse
      expects_ = byte;
      break;
    case 0xa9:  // test the mouse's port: there is none
      answer({0x01});
      break;
    case 0xaa:
      answer({0x55});
      break;
    case 0xab:
      answer({0x00});
      break;
    case 0xad:
      control_ |= 0x10;
      break;
    case 0xae:
      control_ &= 0xef;
      break;
    case 0xd0:
      answer({kOutputPort});
      break;
    default:
      // F0 to FF pulse the low bits of the output port; bit 0 is the processor's reset.
      if (byte >= 0xf0 && (byte & 1) == 0) events_->request(MachineEvent::reset);
      break;
  }
}

void I8042::data(std::uint8_t byte) noexcept {
  last_was_command_ = false;
  const auto expected = expects_;
  expects_ = 0;
  switch (expected) {
    case 0:
      keyboard(byte);
      break;
    case 0x60:
      control_ = byte;
      break;
    case 0xd1:
      if ((byte & 1) == 0) events_->request(MachineEvent::reset);
      break;
    case 0xd2:
      answer({byte});
      break;
    default:
      break;
  }
}

void I8042::keyboard(std::uint8_t byte) noexcept {
  if (keyboard_expects_ != 0) {
    keyboard_expects_ = 0;
    answer({kAck});
    return;
  }
  switch (byte) {
    case 0xed:  // LEDs
    case 0xf0:  // scan code set
    case 0xf3:  // repeat rate
      keyboard_expects_ = byte;
      answer({kAck});
      break;
    case 0xee:
      answer({0xee});
      break;
    case 0xf2:
      answer({kAck, 0xab, 0x83});
      break;
    case 0xff:
      answer({kAck, 0xaa});
      break;
    default:
      answer({kAck});
      break;
  }
}

Answer I8042::read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept {
  if (width != 1) return Answer::bad_width;
  if (offset == 0) {
    value = 0;
    if (count_ > 0) {
      value = out_[first_];
      first_ = (first_ + 1) % out_.size();
      --count_;
    }
    update();
    return Answer::ok;
  }
  if (offset != 4) return Answer::no_register;
  // Keylock open, system flag after self-test, last write, data waiting.
  value = 0x10U | (control_ & 0x04U) | (last_was_command_ ? 0x08U : 0U) | (count_ > 0 ? 1U : 0U);
  return Answer::ok;
}

Answer I8042::write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept {
  if (width != 1) return Answer::bad_width;
  if (offset != 0 && offset != 4) return Answer::no_register;
  if (offset == 0)
    data(static_cast<std::uint8_t>(value));
  else
    command(static_cast<std::uint8_t>(value));
  update();
  return Answer::ok;
}

}  // namespace openvhd::vmm
