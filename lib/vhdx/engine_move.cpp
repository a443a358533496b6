// Blocks that move while the disk is in use.
#include "vhdx/engine_impl.hpp"

namespace openvhd::vhdx {

std::uint64_t Engine::hide(VirtualOffset at) noexcept {
  shared_.moving.store(at.value >> block_shift_, std::memory_order_seq_cst);
  // After that: who keeps an answer under the new count has seen that the block is on its way.
  withdraw_answers();
  return operations_.latest();
}

void Engine::show() noexcept { shared_.moving.store(kNoBlock, std::memory_order_release); }

bool Engine::over(std::uint64_t asked) noexcept {
  return late_bits_.empty() && operations_.oldest() > asked;
}

std::optional<FileOffset> Engine::claim(FileOffset below) noexcept {
  // Otherwise somebody may own what looks free.
  if (!journal_.writing() || claim_cursor_ < bat_page_count_) return std::nullopt;
  return space_.claim_hole(block_bytes(), below);
}

void Engine::give_back(FileOffset at) noexcept { space_.drop_hole(at, block_bytes()); }

Step<bool> Engine::move(VirtualOffset at, FileOffset from, FileOffset to) noexcept {
  OVHD_STEP_DONE(ready_to_overwrite());
  const Piece piece = piece_of(at, block_bytes());
  cache_.begin_call();
  OVHD_STEP_DONE(ready_to_change_tables());
  OVHD_STEP(TablePage* const page, bat_page_to_change(piece.index));
  const BatEntry entry = entry_in(*page, piece.index);
  if (!payload_has_data(entry) || entry.offset() != from) {
    if (to != FileOffset{}) give_back(to);
    return false;
  }
  put_entry(*page, piece.index, BatEntry::make(entry.payload_state(), to));
  space_.free(from, block_bytes(), journal_.open_group(), operations_.latest());
  return true;
}

}  // namespace openvhd::vhdx
