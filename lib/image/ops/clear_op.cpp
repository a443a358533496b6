#include "image/ops/clear_op.hpp"

#include "io/file.hpp"

namespace openvhd {

ClearOp::ClearOp(Chain& chain, VirtualOffset at, std::uint64_t length, ClearKind kind) noexcept
    : ChainOp{chain, at, length}, kind_{kind} {}

std::optional<IoCommand> ClearOp::next() noexcept {
  while (may_advance()) {
    const std::uint32_t slot = free_slot();
    if (slot >= kTransferSlots) return std::nullopt;
    auto step = chain().leaf().clear(position(), left(), kind_);
    if (auto* command = std::get_if<IoCommand>(&step)) return from_layer(*command, 0);
    if (std::holds_alternative<Wait>(step)) return std::nullopt;
    if (const auto* error = std::get_if<Error>(&step)) {
      fail(*error, 0);
      return std::nullopt;
    }
    const Cleared cleared = std::get<Cleared>(step);
    const VirtualOffset at = position();
    advance(cleared.length);
    if (!cleared.host) continue;
    transfers_[slot] = {at, {Extent::Kind::data, cleared.host->at, cleared.length}};
    occupy(slot);
    return IoCommand{
        .kind = cleared.host->kind, .slot = slot, .at = cleared.host->at, .length = cleared.length};
  }
  return std::nullopt;
}

void ClearOp::transferred(std::uint32_t slot, std::int32_t result) noexcept {
  const Transfer& transfer = transfers_[slot];
  if (result < 0) {
    fail(host_error(result, transfer.cleared.at, "zeroing of payload"), 0);
    return;
  }
  chain().leaf().wrote(transfer.virtual_at, transfer.cleared);
}

}  // namespace openvhd
