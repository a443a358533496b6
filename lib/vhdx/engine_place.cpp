// Making blocks writable, and taking note of what was written.
#include <algorithm>

#include "vhdx/engine_impl.hpp"

namespace openvhd::vhdx {

std::optional<Error> Engine::refusal() noexcept {
  if (!writable_) return Error{.code = Errc::read_only, .what = "the image was opened for reading"};
  if (auto reason = journal_.refusal()) return reason;
  return damage_;
}

Step<Ok> Engine::ready_to_overwrite() noexcept {
  if (const auto reason = refusal()) return *reason;
  if (journal_.writing()) {
    publish_state();
    return Ok{};
  }
  // Two owners of one place, or an entry over metadata, may be anywhere in the table: an image
  // that breaks such a rule is refused before a byte of it changes.
  cache_.begin_call();
  OVHD_STEP_DONE(claim_all());
  if (damage_) return *damage_;
  return noted(journal_.begin());
}

Step<Ok> Engine::ready_to_change_tables() noexcept {
  if (!journal_.logging()) OVHD_STEP_DONE(noted(journal_.start_log()));
  OVHD_STEP_DONE(claim_all());
  if (damage_) return *damage_;
  if (cache_.crowded()) {
    // A group is about to be taken, and a flush may be waiting for it: it must be whole.
    OVHD_STEP_DONE(settle_late_bits());
    OVHD_STEP_DONE(noted(journal_.relieve()));
  }
  return Ok{};
}

Step<Extent> Engine::place(VirtualOffset at, std::uint64_t length) noexcept {
  OVHD_STEP_DONE(ready_to_overwrite());
  const Piece piece = piece_of(at, length);
  TablePage* page = TableCache::in_memory(bat_pages_[piece.index / kTablePageWords]);
  if (page == nullptr) {
    cache_.begin_call();
    OVHD_STEP(page, bat_page_to_change(piece.index));
  }
  BatEntry entry = entry_in(*page, piece.index);
  Extent extent;
  if (entry.payload_state() == PayloadState::fully_present) {
    put_data(piece, entry, length, extent);
    return extent;
  }
  cache_.begin_call();
  OVHD_STEP_DONE(ready_to_change_tables());
  // Getting ready may have taken the page away.
  OVHD_STEP(page, bat_page_to_change(piece.index));
  entry = entry_in(*page, piece.index);
  switch (entry.payload_state()) {
    case PayloadState::fully_present:
      put_data(piece, entry, length, extent);
      return extent;
    case PayloadState::partially_present: {
      // In memory before the data is written, so that wrote() has where to note it.
      OVHD_STEP_DONE(load_bits(piece));
      return Extent{Extent::Kind::data, entry.offset() + piece.offset, piece.length};
    }
    case PayloadState::not_present:
    case PayloadState::undefined:
    case PayloadState::zero:
    case PayloadState::unmapped:
      return allocate(piece, *page, entry);
  }
  return bad_entry(piece.index);
}

Step<Extent> Engine::allocate(const Piece& piece, TablePage& page, BatEntry entry) noexcept {
  // Only here may the parent still answer: elsewhere zeros hide it, and new space is zeros.
  const bool partial = image_.has_parent && entry.payload_state() == PayloadState::not_present;
  if (partial) OVHD_STEP_DONE(prepare_bitmap(piece));
  OVHD_STEP(const FileOffset at, space_.take(image_.geometry.block_size, space_still_needed()));
  if (const auto anchor = soft_anchor(entry, image_.entry_rules(space_.file_bytes()))) {
    space_.free_avoided(*anchor, block_bytes(), journal_.open_group(), operations_.latest());
  }
  const auto state = partial ? PayloadState::partially_present : PayloadState::fully_present;
  // A block that read as zeros, on space that durably does: whichever of the data and the entry a
  // power cut leaves without the other, each sector reads as before or after.
  const bool durable_zeros = space_.taken_growth() <= journal_.durable_growths();
  put_entry(page, piece.index, BatEntry::make(state, at),
            durable_zeros && !partial ? Order::any : Order::data_first);
  ++present_blocks_;
  ++allocated_blocks_;
  return Extent{Extent::Kind::data, at + piece.offset, piece.length};
}

Step<Ok> Engine::prepare_bitmap(const Piece& piece) noexcept {
  const std::uint64_t index = bitmap_index(piece.block >> ratio_shift_, image_.counts.chunk_ratio);
  OVHD_STEP(TablePage* const table, bat_page_to_change(index));
  const BatEntry entry = entry_in(*table, index);
  if (entry.state_bits() == kBadEntry) return bad_entry(index);
  // An offset where the state has none is nobody's word for that space: new space is taken.
  if (!bitmap_has_data(entry)) {
    OVHD_STEP(const FileOffset at, space_.take(kBitmapBlockBytes, space_still_needed()));
    // There must be room for the block too before the table changes.
    auto room = space_.take(image_.geometry.block_size, space_still_needed());
    if (const auto* block = std::get_if<FileOffset>(&room)) {
      space_.give_back(*block, image_.geometry.block_size);
    } else {
      space_.give_back(at, kBitmapBlockBytes);
      return unfinished(room);
    }
    put_entry(*table, index, BatEntry::make(BitmapState::present, at));
  }
  // Bits from an earlier life of the block must not count.
  Piece block = piece;
  block.offset = 0;
  block.length = image_.geometry.block_size;
  OVHD_STEP(const Bits bits, load_bits(block));
  change_bits(bits, false);
  return Ok{};
}

std::uint64_t Engine::space_still_needed() const noexcept {
  const std::uint64_t blocks =
      image_.counts.payload_blocks - std::min(present_blocks_, image_.counts.payload_blocks);
  const std::uint64_t bitmaps = image_.has_parent ? image_.counts.bitmap_blocks : 0;
  return (blocks << block_shift_) + bitmaps * kBitmapBlockBytes;
}

void Engine::wrote(VirtualOffset at, const Extent& placed) noexcept {
  overwritten();
  if (!image_.has_parent || note_written(at, placed)) return;
  // Before the caller says that it is written: from then on nobody may find the bits as they are.
  unsettle();
  shared_.late.store(true, std::memory_order_release);
  late_bits_.push_back({at, placed});
}

bool Engine::note_written(VirtualOffset at, const Extent& placed) noexcept {
  for (std::uint64_t done = 0; done < placed.length;) {
    const Piece piece = piece_of(at + done, placed.length - done);
    if (!note_written_piece(piece, placed.at + done)) return false;
    done += piece.length;
  }
  return true;
}

bool Engine::note_written_piece(const Piece& piece, FileOffset data) noexcept {
  TablePage* table = TableCache::in_memory(bat_pages_[piece.index / kTablePageWords]);
  if (table == nullptr) return false;
  const BatEntry entry = entry_in(*table, piece.index);
  // A block that was cleared or moved meanwhile: what was written is nobody's.
  if (entry.payload_state() != PayloadState::partially_present) return true;
  if (entry.offset() + piece.offset != data) return true;
  const BatEntry full = BatEntry::make(PayloadState::fully_present, entry.offset());
  if (is_whole(piece)) {
    put_entry(*table, piece.index, full);
    return true;
  }
  const Bits bits = bits_in_memory(piece);
  if (bits.page == nullptr) return false;
  change_bits(bits, true);
  if (block_is_full(piece, bits)) put_entry(*table, piece.index, full);
  return true;
}

bool Engine::block_is_full(const Piece& piece, const Bits& bits) const noexcept {
  const std::uint64_t first = bits.first - (piece.offset >> sector_shift_);
  const std::uint64_t count = block_bytes_in_disk(piece.block) >> sector_shift_;
  const std::span<const TableWord> words = bits.page->words;
  // Sequential writers have a clear bit right behind: no need to look at all of them.
  const std::uint64_t behind = bits.first + bits.count;
  if (behind < first + count && !bit_run(words, behind, 1).set) return false;
  const BitRun run = bit_run(words, first, count);
  return run.set && run.length == count;
}

void Engine::retry_late_bits() noexcept {
  std::erase_if(late_bits_,
                [this](const LateBits& late) { return note_written(late.at, late.placed); });
  if (late_bits_.empty() && shared_.late.load(std::memory_order_relaxed)) {
    shared_.late.store(false, std::memory_order_release);
  }
}

void Engine::unsettle() noexcept {
  if (!shared_.settled.load(std::memory_order_relaxed)) return;
  // The change that follows is a release: who sees it sees this.
  shared_.settled.store(false, std::memory_order_relaxed);
}

}  // namespace openvhd::vhdx
