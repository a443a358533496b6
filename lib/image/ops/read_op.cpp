#include "image/ops/read_op.hpp"

#include <algorithm>
#include <cstring>

#include "io/file.hpp"

namespace openvhd {
namespace {

constexpr std::uint64_t kLargestCommand = std::uint64_t{1} << 30;

}  // namespace

ReadOp::ReadOp(Chain& chain, VirtualOffset at, std::span<const iovec> into) noexcept
    : ChainOp{chain, at, total_bytes(into)}, into_{into} {
  to_leaf();
}

void ReadOp::to_leaf() noexcept {
  layer_ = 0;
  limit_ = left();
}

std::optional<IoCommand> ReadOp::next() noexcept {
  if (const std::uint32_t slot = take_again(); slot != kTransferSlots) return command_for(slot);
  while (may_advance()) {
    const std::uint32_t slot = free_slot();
    if (slot >= kTransferSlots) return std::nullopt;
    auto step = chain().layer(layer_).locate(position(), limit_);
    if (auto* command = std::get_if<IoCommand>(&step)) return from_layer(*command, layer_);
    if (std::holds_alternative<Wait>(step)) return std::nullopt;
    if (const auto* error = std::get_if<Error>(&step)) {
      fail(*error, layer_);
      return std::nullopt;
    }
    if (auto command = take(std::get<Extent>(step), slot)) return command;
  }
  return std::nullopt;
}

std::optional<IoCommand> ReadOp::take(const Extent& extent, std::uint32_t slot) noexcept {
  switch (extent.kind) {
    case Extent::Kind::zero:
      fill_zero(extent.length);
      return std::nullopt;
    case Extent::Kind::absent:
      absent(extent);
      return std::nullopt;
    case Extent::Kind::data:
      break;
  }
  Transfer& transfer = transfers_[slot];
  transfer.layer = layer_;
  transfer.at = extent.at;
  transfer.offset = offset_in_request();
  transfer.left = extent.length;
  occupy(slot);
  advance(extent.length);
  to_leaf();
  return command_for(slot);
}

IoCommand ReadOp::command_for(std::uint32_t slot) noexcept {
  Transfer& transfer = transfers_[slot];
  IoCommand command{.kind = IoCommand::Kind::read,
                    .layer = static_cast<std::uint16_t>(transfer.layer),
                    .slot = slot,
                    .at = transfer.at};
  const std::uint64_t wanted = std::min(transfer.left, kLargestCommand);
  command.length = transfer.slice.cut(into_, transfer.offset, wanted);
  command.buffers = transfer.slice.pieces();
  return command;
}

void ReadOp::transferred(std::uint32_t slot, std::int32_t result) noexcept {
  Transfer& transfer = transfers_[slot];
  if (result < 0) {
    fail(host_error(result, transfer.at, "read of payload"), transfer.layer);
    return;
  }
  if (result == 0) {
    fail(
        {.code = Errc::corrupt, .where = transfer.at, .what = "the file ends inside payload (X13)"},
        transfer.layer);
    return;
  }
  const auto moved = static_cast<std::uint64_t>(result);
  transfer.at = transfer.at + moved;
  transfer.offset += moved;
  transfer.left -= moved;
  if (transfer.left != 0) again(slot);
}

void ReadOp::absent(const Extent& extent) noexcept {
  limit_ = extent.length;
  if (layer_ + 1 == chain().depth()) {
    if (!chain().complete()) {
      fail({.code = Errc::not_found, .what = "the parent that holds this range is not open"},
           layer_);
      return;
    }
    fill_zero(extent.length);
    return;
  }
  ++layer_;
  // A child may be larger than its parent: beyond that there are zeros.
  const std::uint64_t parent_size = chain().layer(layer_).geometry().virtual_size;
  if (position().value >= parent_size) {
    fill_zero(limit_);
    return;
  }
  limit_ = std::min(limit_, parent_size - position().value);
}

void ReadOp::fill_zero(std::uint64_t length) noexcept {
  while (length != 0) {
    BufferSlice slice;
    const std::uint64_t covered = slice.cut(into_, offset_in_request(), length);
    for (const iovec& piece : slice.pieces()) std::memset(piece.iov_base, 0, piece.iov_len);
    advance(covered);
    length -= covered;
  }
  to_leaf();
}

}  // namespace openvhd
