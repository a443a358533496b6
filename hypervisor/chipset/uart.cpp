#include "chipset/uart.hpp"

namespace openvhd::vmm {
namespace {

struct Register {
  std::uint8_t offset, writable;  // writable: mask of the bits a guest can change
};
// 0 RBR/THR and 2 IIR/FCR are not storage; 5 LSR and 6 MSR are computed.
constexpr std::array kUart = {
    Register{1, 0x0f},  // IER  rw  interrupt enable
    Register{3, 0xff},  // LCR  rw  line control; bit 7 swaps in the divisor latch
    Register{4, 0x1f},  // MCR  rw  modem control; bit 3 gates the interrupt, bit 4 loops back
    Register{7, 0xff},  // SCR  rw  scratch
};

constexpr std::uint8_t kIer = 1, kLcr = 3, kMcr = 4;
constexpr std::uint8_t kReceiveEnable = 1, kEmptyEnable = 2, kLineEnable = 4;
constexpr std::uint8_t kOut2 = 0x08, kLoop = 0x10;
constexpr std::uint8_t kLineStatus = 6, kReceived = 4, kEmpty = 2, kNone = 1;  // IIR

}  // namespace

bool Uart::latch() const noexcept { return (registers_[kLcr] & 0x80) != 0; }

std::uint8_t Uart::pending() const noexcept {
  const auto enabled = registers_[kIer];
  if (overrun_ && (enabled & kLineEnable) != 0) return kLineStatus;
  if (count_ > 0 && (enabled & kReceiveEnable) != 0) return kReceived;
  if (empty_pending_ && (enabled & kEmptyEnable) != 0) return kEmpty;
  return kNone;
}

std::uint8_t Uart::modem_status() const noexcept {
  const auto mcr = registers_[kMcr];
  if ((mcr & kLoop) == 0) return 0xb0;  // CTS, DSR, DCD: somebody is there
  // DTR, RTS, OUT1, OUT2 come back as DSR, CTS, RI, DCD.
  return static_cast<std::uint8_t>((mcr & 1) << 5 | (mcr & 2) << 3 | (mcr & 0xc) << 4);
}

std::uint8_t Uart::take() noexcept {
  if (count_ == 0) return 0;
  const auto byte = fifo_[first_];
  first_ = (first_ + 1) % kFifo;
  --count_;
  return byte;
}

void Uart::receive(std::span<const std::byte> bytes) noexcept {
  for (const auto byte : bytes) {
    if (count_ == kFifo) {
      overrun_ = true;
      break;
    }
    fifo_[(first_ + count_) % kFifo] = std::to_integer<std::uint8_t>(byte);
    ++count_;
  }
  update();
}

void Uart::send(std::uint8_t byte) noexcept {
  const std::byte out{byte};
  if ((registers_[kMcr] & kLoop) != 0)
    receive({&out, 1});
  else
    sink_->put({&out, 1});
  empty_pending_ = true;
}

void Uart::update() noexcept { line_->set(pending() != kNone && (registers_[kMcr] & kOut2) != 0); }

Answer Uart::read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept {
  if (width != 1) return Answer::bad_width;
  switch (offset) {
    case 0:
      value = latch() ? divisor_ & 0xffU : take();
      break;
    case 1:
      value = latch() ? static_cast<std::uint32_t>(divisor_ >> 8) : registers_[kIer];
      break;
    case 2:
      value = pending() | (fifo_enabled_ ? 0xc0U : 0U);
      if (pending() == kEmpty) empty_pending_ = false;
      break;
    case 5:
      value = 0x60U | (count_ > 0 ? 1U : 0U) | (overrun_ ? 2U : 0U);
      overrun_ = false;
      break;
    case 6:
      value = modem_status();
      break;
    case 3:
    case 4:
    case 7:
      value = registers_[offset];
      break;
    default:
      return Answer::no_register;
  }
  update();
  return Answer::ok;
}

Answer Uart::write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept {
  if (width != 1) return Answer::bad_width;
  const auto byte = static_cast<std::uint8_t>(value);
  if (offset == 0 && !latch()) {
    send(byte);
  } else if (offset <= 1 && latch()) {
    const unsigned shift = offset * 8U;
    divisor_ = static_cast<std::uint16_t>((divisor_ & ~(0xffU << shift)) | value << shift);
  } else if (offset == 2) {
    fifo_enabled_ = (byte & 1) != 0;
    if ((byte & 2) != 0) count_ = 0;
  } else if (offset == 1 && (byte & kEmptyEnable) != 0 && (registers_[kIer] & kEmptyEnable) == 0) {
    empty_pending_ = true;  // it is empty, and now that counts
  }
  for (const auto& reg : kUart)
    if (reg.offset == offset && !(offset == 1 && latch())) registers_[offset] = byte & reg.writable;
  update();
  return offset < kPorts ? Answer::ok : Answer::no_register;
}

}  // namespace openvhd::vmm
