#include "devices/ide_drive.hpp"

#include <algorithm>
#include <cstring>

namespace openvhd::vmm {
namespace {

constexpr std::uint8_t kAborted = 0x04;

}  // namespace

IdeDrive::IdeDrive(Block& block) noexcept : block_{&block}, buffer_(kBufferBytes) {}

std::uint8_t IdeDrive::read_register(unsigned index, bool previous) const noexcept {
  const auto& file = previous ? previous_ : now_;
  switch (index) {
    case 1:
      return error_;
    case 2:
      return file.count;
    case 3:
      return file.low;
    case 4:
      return file.mid;
    case 5:
      return file.high;
    default:
      return static_cast<std::uint8_t>(now_.device | 0xa0);
  }
}

void IdeDrive::write_register(unsigned index, std::uint8_t value) noexcept {
  if ((status_ & (kBusy | kDrq)) != 0 && index != 6) return;  // 7.15.6.1: ignored
  const auto push = [value](std::uint8_t& now, std::uint8_t& before) {
    before = now;
    now = value;
  };
  switch (index) {
    case 1:
      push(now_.feature, previous_.feature);
      break;
    case 2:
      push(now_.count, previous_.count);
      break;
    case 3:
      push(now_.low, previous_.low);
      break;
    case 4:
      push(now_.mid, previous_.mid);
      break;
    case 5:
      push(now_.high, previous_.high);
      break;
    default:
      now_.device = value;
      break;
  }
}

void IdeDrive::command(std::uint8_t code) noexcept {
  constexpr std::uint8_t kDeviceReset = 0x08;
  if ((status_ & (kBusy | kDrq)) != 0 && code != kDeviceReset) return;
  error_ = 0;
  status_ = kBusy;
  phase_ = Phase::busy;
  execute(code);
}

void IdeDrive::interrupt() noexcept {
  if (channel_ != nullptr) channel_->interrupt();
}

void IdeDrive::end(std::uint8_t status, std::uint8_t error) noexcept {
  phase_ = Phase::idle;
  status_ = status;
  error_ = error;
  interrupt();
}

void IdeDrive::settle(std::uint8_t status) noexcept {
  phase_ = Phase::idle;
  status_ = status;
}

void IdeDrive::reset() noexcept {
  status_ = kBusy;
  if (in_flight_) {
    resetting_ = true;  // its memory is being written to: wait
    return;
  }
  finish_reset();
}

void IdeDrive::finish_reset() noexcept {
  resetting_ = false;
  phase_ = Phase::idle;
  now_ = previous_ = {};
  error_ = 0x01;  // diagnostics passed
  status_ = kReady | kSeek;
  signature();
}

void IdeDrive::transfer(const Plan& plan) noexcept {
  plan_ = plan;
  to_memory_ = plan.to_memory;
  replying_ = false;
  position_ = filled_ = 0;
  if (plan.bytes == 0) {
    completed();
  } else if (plan.dma) {
    phase_ = Phase::dma_wait;
    status_ = kBusy;
    if (channel_ != nullptr) channel_->dma_wanted();
  } else if (plan.to_memory) {
    load_next();
  } else {
    ask_piece(false);
  }
}

void IdeDrive::reply(std::size_t bytes, std::size_t piece, bool dma) noexcept {
  plan_ = {.dma = dma, .bytes = bytes, .piece = piece};
  to_memory_ = true;
  replying_ = true;
  position_ = 0;
  filled_ = bytes;
  if (bytes == 0) {
    completed();
  } else if (dma) {
    phase_ = Phase::dma_wait;
    status_ = kBusy;
    if (channel_ != nullptr) channel_->dma_wanted();
  } else {
    plan_.bytes = 0;  // nothing to load
    show_piece();
  }
}

void IdeDrive::want_packet() noexcept {
  phase_ = Phase::packet;
  position_ = 0;
  piece_end_ = 12;
  status_ = kReady | kDrq;
}

void IdeDrive::flush() noexcept {
  plan_ = {};
  submit(BlockRequest::Kind::flush, {});
}

void IdeDrive::submit(BlockRequest::Kind kind, std::span<const iovec> buffers) noexcept {
  status_ = kBusy;
  in_flight_ = true;
  request_.drive = this;
  request_.kind = kind;
  request_.at = plan_.at;
  request_.buffers = buffers;
  request_.durable = plan_.durable;
  request_.done = done;
  block_->submit(request_);
}

void IdeDrive::done(BlockRequest& request, Status status) noexcept {
  static_cast<Request&>(request).drive->arrived(status);
}

void IdeDrive::arrived(const Status& status) noexcept {
  in_flight_ = false;
  const bool was_dma = phase_ == Phase::dma_run;
  if (resetting_) {
    if (was_dma && channel_ != nullptr) channel_->dma_ended(false);
    finish_reset();
    return;
  }
  if (was_dma && channel_ != nullptr) channel_->dma_ended(status.has_value());
  if (!status) {
    failed(status.error());
    return;
  }
  if (was_dma || request_.kind == BlockRequest::Kind::flush) {
    completed();
    return;
  }
  plan_.at = plan_.at + own_.iov_len;
  plan_.bytes -= own_.iov_len;
  if (to_memory_)
    show_piece();
  else if (plan_.bytes > 0)
    ask_piece(true);
  else
    completed();
}

void IdeDrive::load_next() noexcept {
  filled_ = std::min<std::uint64_t>(plan_.load, plan_.bytes);
  position_ = 0;
  own_ = {.iov_base = buffer_.data(), .iov_len = filled_};
  submit(BlockRequest::Kind::read, {&own_, 1});
}

void IdeDrive::show_piece() noexcept {
  phase_ = Phase::data_in;
  piece_end_ = std::min(position_ + plan_.piece, filled_);
  status_ = kReady | kSeek | kDrq;
  piece_waits(piece_end_ - position_);
  interrupt();
}

void IdeDrive::ask_piece(bool interrupts) noexcept {
  phase_ = Phase::data_out;
  position_ = 0;
  filled_ = piece_end_ = std::min<std::uint64_t>(plan_.piece, plan_.bytes);
  status_ = kReady | kSeek | kDrq;
  if (interrupts) interrupt();
}

// The guest has taken a piece.
void IdeDrive::piece_read() noexcept {
  if (position_ < filled_)
    show_piece();
  else if (plan_.bytes > 0)
    load_next();
  else
    completed();
}

std::uint32_t IdeDrive::read_data(std::uint32_t width) noexcept {
  if (phase_ != Phase::data_in) return 0;
  std::uint32_t value = 0;
  for (std::uint32_t i = 0; i < width && position_ < piece_end_; ++i)
    value |= std::to_integer<std::uint32_t>(buffer_[position_++]) << (8 * i);
  if (position_ == piece_end_) piece_read();
  return value;
}

void IdeDrive::write_data(std::uint32_t value, std::uint32_t width) noexcept {
  if (phase_ != Phase::data_out && phase_ != Phase::packet) return;
  for (std::uint32_t i = 0; i < width && position_ < piece_end_; ++i)
    buffer_[position_++] = static_cast<std::byte>(value >> (8 * i));
  if (position_ < piece_end_) return;
  if (phase_ == Phase::packet) {
    phase_ = Phase::busy;
    status_ = kBusy;
    packet_arrived();
    return;
  }
  phase_ = Phase::busy;
  own_ = {.iov_base = buffer_.data(), .iov_len = filled_};
  submit(BlockRequest::Kind::write, {&own_, 1});
}

std::uint64_t IdeDrive::dma_bytes() const noexcept {
  return phase_ == Phase::dma_wait && !resetting_ ? plan_.bytes : 0;
}

void IdeDrive::run_dma(std::span<const iovec> pieces) noexcept {
  phase_ = Phase::dma_run;
  if (!replying_) {
    submit(to_memory_ ? BlockRequest::Kind::read : BlockRequest::Kind::write, pieces);
    return;
  }
  std::span<const std::byte> rest = std::span{buffer_}.first(filled_);
  for (const auto& piece : pieces) {
    std::memcpy(piece.iov_base, rest.data(), piece.iov_len);
    rest = rest.subspan(piece.iov_len);
  }
  if (channel_ != nullptr) channel_->dma_ended(true);
  completed();
}

void IdeDrive::refuse_dma() noexcept {
  if (channel_ != nullptr) channel_->dma_ended(false);
  end(kReady | kErr, kAborted);
}

}  // namespace openvhd::vmm
