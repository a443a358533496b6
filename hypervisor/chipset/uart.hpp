/// 16550A UART, after the PC16550D datasheet. Missing: line errors, break, transmit timing (a byte
/// is sent when it is written), modem lines that change by themselves.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "chipset/bus.hpp"
#include "chipset/lines.hpp"

namespace openvhd::vmm {

class Uart : public PortDevice {
 public:
  static constexpr std::uint16_t kPorts = 8;
  static constexpr std::size_t kFifo = 16;

  /// Both outlive it.
  Uart(InterruptLine& line, ByteSink& sink) noexcept : line_{&line}, sink_{&sink} {}

  Answer read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept override;
  Answer write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept override;

  /// How many bytes receive() takes now.
  std::size_t receive_space() const noexcept { return kFifo - count_; }
  /// Bytes from the other end; what does not fit is lost and sets the overrun flag.
  void receive(std::span<const std::byte> bytes) noexcept;

 private:
  bool latch() const noexcept;
  std::uint8_t pending() const noexcept;
  std::uint8_t modem_status() const noexcept;
  std::uint8_t take() noexcept;
  void send(std::uint8_t byte) noexcept;
  void update() noexcept;

  InterruptLine* line_;
  ByteSink* sink_;
  std::array<std::uint8_t, 8> registers_{};  // by offset: IER, LCR, MCR, SCR
  std::uint16_t divisor_ = 12;               // 9600 baud
  bool fifo_enabled_ = false;
  bool empty_pending_ = false;  // transmitter-empty interrupt, until IIR is read
  bool overrun_ = false;
  std::array<std::uint8_t, kFifo> fifo_{};
  std::size_t first_ = 0;
  std::size_t count_ = 0;
};

}  // namespace openvhd::vmm
