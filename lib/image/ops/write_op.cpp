#include "image/ops/write_op.hpp"

#include <algorithm>

#include "io/file.hpp"

namespace openvhd {
namespace {

constexpr std::uint64_t kLargestCommand = std::uint64_t{1} << 30;

}  // namespace

WriteOp::WriteOp(Chain& chain, VirtualOffset at, std::span<const iovec> from) noexcept
    : ChainOp{chain, at, total_bytes(from)}, from_{from} {}

std::optional<IoCommand> WriteOp::next() noexcept {
  if (const std::uint32_t slot = take_again(); slot != kTransferSlots) return command_for(slot);
  if (!may_advance()) return std::nullopt;
  const std::uint32_t slot = free_slot();
  if (slot >= kTransferSlots) return std::nullopt;
  auto step = chain().leaf().place(position(), left());
  if (auto* command = std::get_if<IoCommand>(&step)) return from_layer(*command, 0);
  if (std::holds_alternative<Wait>(step)) return std::nullopt;
  if (const auto* error = std::get_if<Error>(&step)) {
    fail(*error, 0);
    return std::nullopt;
  }
  Transfer& transfer = transfers_[slot];
  transfer.virtual_at = position();
  transfer.placed = std::get<Extent>(step);
  transfer.offset = offset_in_request();
  transfer.written = 0;
  occupy(slot);
  advance(transfer.placed.length);
  return command_for(slot);
}

IoCommand WriteOp::command_for(std::uint32_t slot) noexcept {
  Transfer& transfer = transfers_[slot];
  IoCommand command{
      .kind = IoCommand::Kind::write, .slot = slot, .at = transfer.placed.at + transfer.written};
  const std::uint64_t wanted = std::min(transfer.placed.length - transfer.written, kLargestCommand);
  command.length = transfer.slice.cut(from_, transfer.offset + transfer.written, wanted);
  command.buffers = transfer.slice.pieces();
  return command;
}

void WriteOp::transferred(std::uint32_t slot, std::int32_t result) noexcept {
  Transfer& transfer = transfers_[slot];
  if (result <= 0) {
    fail(host_error(result, transfer.placed.at + transfer.written, "write of payload"), 0);
    return;
  }
  transfer.written += static_cast<std::uint64_t>(result);
  if (transfer.written < transfer.placed.length) {
    again(slot);
    return;
  }
  chain().leaf().wrote(transfer.virtual_at, transfer.placed);
}

}  // namespace openvhd
