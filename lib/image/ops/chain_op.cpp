#include "image/ops/chain_op.hpp"

#include <algorithm>

namespace openvhd {

ChainOp::ChainOp(Chain& chain, VirtualOffset at, std::uint64_t length) noexcept
    : chain_{chain}, at_{at}, length_{length} {
  if (const Status fits = check_request(chain.geometry(), at, length); !fits) {
    error_ = fits.error();
  }
  chain_.leaf().enter(leaf_ticket_);
}

ChainOp::~ChainOp() { chain_.leaf().leave(leaf_ticket_); }

void ChainOp::complete(std::uint32_t slot, std::int32_t result) noexcept {
  if (slot == kLayerSlot) {
    layer_pending_ = false;
    chain_.layer(pending_layer_).complete(pending_token_, result);
    return;
  }
  busy_ = static_cast<std::uint16_t>(busy_ & ~(1u << slot));
  transferred(slot, result);
}

std::optional<Status> ChainOp::finished() const noexcept {
  if (busy_ != 0 || layer_pending_) return std::nullopt;
  if (error_) return Status{*error_};
  if (left() != 0) return std::nullopt;
  return Status{Ok{}};
}

void ChainOp::fail(Error error, std::uint32_t layer) noexcept {
  if (error_) return;
  error.layer = layer;
  error_ = error;
  // Nothing more goes out, so what waited for another command waits no longer.
  busy_ = static_cast<std::uint16_t>(busy_ & ~again_);
  again_ = 0;
}

void ChainOp::again(std::uint32_t slot) noexcept {
  if (failed()) return;
  const auto bit = static_cast<std::uint16_t>(1u << slot);
  busy_ |= bit;
  again_ |= bit;
}

std::uint32_t ChainOp::take_again() noexcept {
  if (again_ == 0) return kTransferSlots;
  const auto slot = static_cast<std::uint32_t>(std::countr_zero(again_));
  again_ = static_cast<std::uint16_t>(again_ & (again_ - 1));
  return slot;
}

IoCommand ChainOp::from_layer(IoCommand command, std::uint32_t layer) noexcept {
  layer_pending_ = true;
  pending_layer_ = layer;
  pending_token_ = command.token;
  command.layer = static_cast<std::uint16_t>(layer);
  command.slot = kLayerSlot;
  return command;
}

std::uint64_t BufferSlice::cut(std::span<const iovec> all, std::uint64_t offset,
                               std::uint64_t length) noexcept {
  count_ = 0;
  std::uint64_t covered = 0;
  for (const iovec& buffer : all) {
    if (covered == length || count_ == kMost) break;
    if (offset >= buffer.iov_len) {
      offset -= buffer.iov_len;
      continue;
    }
    const std::uint64_t take = std::min<std::uint64_t>(buffer.iov_len - offset, length - covered);
    pieces_[count_++] = {static_cast<std::byte*>(buffer.iov_base) + offset, take};
    covered += take;
    offset = 0;
  }
  return covered;
}

std::uint64_t total_bytes(std::span<const iovec> buffers) noexcept {
  std::uint64_t sum = 0;
  for (const iovec& buffer : buffers) sum += buffer.iov_len;
  return sum;
}

}  // namespace openvhd
