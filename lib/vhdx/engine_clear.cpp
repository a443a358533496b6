// Making ranges read as zeros: by the table where blocks are whole, by the host elsewhere.
#include "vhdx/engine_impl.hpp"

namespace openvhd::vhdx {

Step<Cleared> Engine::clear(VirtualOffset at, std::uint64_t length, ClearKind kind) noexcept {
  if (const auto reason = refusal()) return *reason;
  const Piece piece = piece_of(at, length);
  cache_.begin_call();
  BatEntry entry;
  if (!is_hole(piece.index / kTablePageWords)) {
    OVHD_STEP(const TablePage* page, bat_page(piece.index));
    entry = entry_in(*page, piece.index);
  }
  // What reads as zeros already, run by run: nothing to change, not even the header.
  if (entry.payload_state() == PayloadState::not_present && !image_.has_parent) {
    return Cleared{.length = empty_from(piece, length, Extent::Kind::absent).length};
  }
  if (entry.payload_state() == PayloadState::zero) {
    return Cleared{.length = piece.length};
  }
  if (entry.state_bits() == 4 || entry.state_bits() == 5) return bad_entry(piece.index);

  OVHD_STEP_DONE(ready_to_overwrite());
  const bool fully = entry.payload_state() == PayloadState::fully_present;
  // A fixed image keeps its space whatever happens (FORMAT 55).
  const bool keeps = type() == DiskType::fixed;
  if (fully && (keeps || !is_whole(piece))) {
    const bool punch = kind == ClearKind::trim && !keeps;
    return Cleared{.length = piece.length,
                   .host = Cleared::OnHost{punch ? IoCommand::Kind::punch : IoCommand::Kind::zero,
                                           entry.offset() + piece.offset}};
  }
  OVHD_STEP_DONE(ready_to_change_tables());
  OVHD_STEP(TablePage* const page, bat_page_to_change(piece.index));
  entry = entry_in(*page, piece.index);
  const bool reads_zero = entry.payload_state() == PayloadState::undefined ||
                          entry.payload_state() == PayloadState::unmapped;
  if (is_whole(piece) || reads_zero) return clear_whole(piece, *page, entry, kind);
  return clear_part(piece, *page, entry, kind);
}

Cleared Engine::clear_whole(const Piece& piece, TablePage& page, BatEntry entry,
                            ClearKind kind) noexcept {
  if (payload_has_data(entry)) {
    space_.free(entry.offset(), block_bytes(), journal_.open_group(), operations_.latest());
    --present_blocks_;
  } else if (const auto anchor = soft_anchor(entry, image_.entry_rules(space_.file_bytes()))) {
    space_.free_avoided(*anchor, block_bytes(), journal_.open_group(), operations_.latest());
  }
  // ZERO hides the parent; without one, NOT_PRESENT reads as zeros everywhere and says that
  // nobody cares. Neither keeps an offset (FORMAT 43).
  const bool gone = kind == ClearKind::trim && !image_.has_parent;
  const auto state = gone ? PayloadState::not_present : PayloadState::zero;
  put_entry(page, piece.index, BatEntry::make(state, FileOffset{}), Order::any);
  return {.length = piece.length};
}

Step<Cleared> Engine::clear_part(const Piece& piece, TablePage& page, BatEntry entry,
                                 ClearKind kind) noexcept {
  if (entry.payload_state() == PayloadState::partially_present) {
    OVHD_STEP_DONE(load_bits(piece));
    return Cleared{.length = piece.length,
                   .host = Cleared::OnHost{
                       kind == ClearKind::trim ? IoCommand::Kind::punch : IoCommand::Kind::zero,
                       entry.offset() + piece.offset}};
  }
  // NOT_PRESENT over a parent: the new block is zeros, so the sectors are written as they are.
  OVHD_STEP(const Extent placed, allocate(piece, page, entry));
  wrote({(piece.block << block_shift_) + piece.offset}, placed);
  return Cleared{.length = piece.length};
}

}  // namespace openvhd::vhdx
