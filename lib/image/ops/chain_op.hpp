/// What read, write and clear share: a cursor over the request, a few commands in flight, and a
/// layer that may ask for a command of its own before it answers.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <optional>

#include "image/chain.hpp"
#include "io/io_command.hpp"
#include "io/layer.hpp"

namespace openvhd {

/// Commands in flight, by slot. Each operation has one slot more, for a layer's own command.
inline constexpr std::uint32_t kTransferSlots = 8;
inline constexpr std::uint32_t kLayerSlot = kTransferSlots;

class ChainOp : public Operation {
 public:
  void complete(std::uint32_t slot, std::int32_t result) noexcept final;
  std::optional<Status> finished() const noexcept final;

 protected:
  ChainOp(Chain& chain, VirtualOffset at, std::uint64_t length) noexcept;
  ~ChainOp() override;

  /// A transfer's result, its slot already free again unless `again` is called.
  virtual void transferred(std::uint32_t slot, std::int32_t result) noexcept = 0;

  Chain& chain() const noexcept { return chain_; }
  bool failed() const noexcept { return error_.has_value(); }
  void fail(Error error, std::uint32_t layer) noexcept;

  /// What is left of the request, from the cursor.
  VirtualOffset position() const noexcept { return at_ + done_; }
  std::uint64_t offset_in_request() const noexcept { return done_; }
  std::uint64_t left() const noexcept { return length_ - done_; }
  void advance(std::uint64_t bytes) noexcept { done_ += bytes; }

  /// True when the cursor may move: nothing failed, something is left, and no command of a
  /// layer is on its way.
  bool may_advance() const noexcept { return !failed() && left() != 0 && !layer_pending_; }

  /// A free slot, or kTransferSlots when all are in flight.
  std::uint32_t free_slot() const noexcept {
    return static_cast<std::uint32_t>(std::countr_one(busy_));
  }
  void occupy(std::uint32_t slot) noexcept { busy_ |= static_cast<std::uint16_t>(1u << slot); }
  /// Marks a slot for another command: the rest of a transfer that came back short.
  void again(std::uint32_t slot) noexcept;
  /// A slot that again() marked, no longer marked; kTransferSlots when there is none.
  std::uint32_t take_again() noexcept;

  /// Makes a layer's own command ready to hand out.
  IoCommand from_layer(IoCommand command, std::uint32_t layer) noexcept;

 private:
  Chain& chain_;
  VirtualOffset at_;
  std::uint64_t length_;
  std::uint64_t done_ = 0;
  std::uint16_t busy_ = 0;
  std::uint16_t again_ = 0;
  bool layer_pending_ = false;
  std::uint32_t pending_layer_ = 0;
  std::uint64_t pending_token_ = 0;
  std::optional<Error> error_;
  OperationTicket leaf_ticket_{};
};

/// A part of a caller's scatter list, cut to a range without copying what lies between.
class BufferSlice {
 public:
  static constexpr std::size_t kMost = 8;

  /// The buffers for [offset, offset + length) of `all`; fewer bytes where that takes more than
  /// kMost pieces. Returns the bytes covered.
  std::uint64_t cut(std::span<const iovec> all, std::uint64_t offset,
                    std::uint64_t length) noexcept;
  std::span<const iovec> pieces() const noexcept { return {pieces_.data(), count_}; }

 private:
  std::array<iovec, kMost> pieces_{};
  std::size_t count_ = 0;
};

/// Bytes in a scatter list.
std::uint64_t total_bytes(std::span<const iovec> buffers) noexcept;

}  // namespace openvhd
