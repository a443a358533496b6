#include "vhdx/engine_transfer.hpp"

#include <algorithm>

namespace openvhd::vhdx {

IoCommand Transfer::start(std::uint64_t token) noexcept {
  state_ = State::in_flight;
  return {.kind = kind_,
          .durable = durable_,
          .at = at_,
          .length = length_,
          .buffers = std::span<const iovec>{buffers_}.subspan(first_),
          .token = token};
}

void Transfer::complete(std::int32_t result) noexcept {
  const bool moves = kind_ == IoCommand::Kind::read || kind_ == IoCommand::Kind::write;
  if (result < 0 || (moves && result == 0)) {
    state_ = State::failed;
    error_ = host_error(result, at_, what_);
    return;
  }
  if (!moves) {
    state_ = State::done;
    return;
  }
  skip(std::min(static_cast<std::uint64_t>(result), length_));
  state_ = length_ == 0 ? State::done : State::ready;
}

void Transfer::skip(std::uint64_t bytes) noexcept {
  at_ = at_ + bytes;
  length_ -= bytes;
  while (bytes != 0) {
    iovec& piece = buffers_[first_];
    const std::size_t part = std::min<std::size_t>(piece.iov_len, bytes);
    piece.iov_base = static_cast<std::byte*>(piece.iov_base) + part;
    piece.iov_len -= part;
    bytes -= part;
    if (piece.iov_len == 0) ++first_;
  }
}

}  // namespace openvhd::vhdx
