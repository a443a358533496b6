// Opening, reading and completions of an Engine.
#include "vhdx/engine.hpp"

#include <algorithm>
#include <bit>

#include "base/try.hpp"
#include "vhdx/engine_impl.hpp"

namespace openvhd::vhdx {
namespace {

// How many table entries one answer looks at, so that no call takes long.
constexpr unsigned kMostEntriesPerAnswer = 16384;

unsigned shift_of(std::uint64_t power_of_two) noexcept {
  return static_cast<unsigned>(std::countr_zero(power_of_two));
}

}  // namespace

Result<std::unique_ptr<ImageLayer>> make_engine(ParsedImage image, File& file,
                                                const LayerOpenOptions& options, Host& host) {
  if (options.writable && !file.writable()) {
    return Error{.code = Errc::read_only, .what = "the file was opened for reading"};
  }
  if (options.writable && !image.header.log_guid.value().is_nil()) {
    return Error{.code = Errc::invalid,
                 .where = kHeaderAt[image.current_header],
                 .what = "header: the log must be replayed before writing (2.3.3)"};
  }
  OVHD_TRY(const std::uint64_t file_bytes, file.size());
  if (options.writable && file_bytes > kMaxSpaceBytes) {
    return Error{.code = Errc::unsupported, .what = "the file is larger than 256 TiB"};
  }
  auto engine = std::make_unique<Engine>(std::move(image), file, options, host, file_bytes);
  OVHD_CHECK(engine->find_holes());
  return std::unique_ptr<ImageLayer>{std::move(engine)};
}

Engine::Engine(ParsedImage image, File& file, const LayerOpenOptions& options, Host& host,
               std::uint64_t file_bytes)
    : image_{std::move(image)},
      file_{file},
      writable_{options.writable},
      opened_bytes_{file_bytes},
      block_shift_{shift_of(image_.geometry.block_size)},
      sector_shift_{shift_of(image_.geometry.logical_sector_size)},
      ratio_shift_{shift_of(image_.counts.chunk_ratio)},
      cache_{options.table_cache_bytes},
      space_{file_bytes, image_.fixed},
      journal_{image_, cache_, space_, host},
      bat_page_count_{div_ceil(image_.counts.entries, kTablePageWords)} {
  bat_pages_ = std::make_unique<PageHome[]>(bat_page_count_);
  bat_holes_.assign(bat_page_count_, true);
  bat_claimed_.assign(bat_page_count_, false);
  if (image_.has_parent) bitmap_pages_.resize(image_.counts.bitmap_blocks);
}

Status Engine::find_holes() noexcept {
  FileOffset at = image_.bat.at;
  const FileOffset end = at + image_.counts.entries * kBatEntryBytes;
  while (at < end) {
    OVHD_TRY(const FileRange data, file_.next_data(at, end));
    if (data.length == 0) break;
    const std::uint64_t first = (data.at - image_.bat.at) / kTablePageBytes;
    const std::uint64_t last =
        std::min((data.at + data.length) - image_.bat.at, end - image_.bat.at) - 1;
    for (std::uint64_t page = first; page <= last / kTablePageBytes; ++page) {
      bat_holes_[page] = false;
    }
    at = image_.bat.at + (last / kTablePageBytes + 1) * kTablePageBytes;
  }
  return Ok{};
}

Step<Extent> Engine::locate(VirtualOffset at, std::uint64_t length) noexcept {
  const Piece piece = piece_of(at, length);
  const std::uint64_t number = piece.index / kTablePageWords;
  TablePage* page = TableCache::in_memory(bat_pages_[number]);
  if (page == nullptr) {
    if (bat_holes_[number]) return locate_empty(piece, length, Extent::Kind::absent);
    cache_.begin_call();
    OVHD_STEP(page, bat_page(piece.index));
  }
  const BatEntry entry = entry_in(*page, piece.index);
  switch (entry.payload_state()) {
    case PayloadState::fully_present:
      return locate_data(piece, entry, length);
    case PayloadState::partially_present:
      return locate_partial(piece, entry);
    case PayloadState::not_present:
      return locate_empty(piece, length, Extent::Kind::absent);
    case PayloadState::undefined:
    case PayloadState::zero:
    case PayloadState::unmapped:
      return locate_empty(piece, length, Extent::Kind::zero);
  }
  return bad_entry(piece.index);
}

Extent Engine::locate_data(const Piece& piece, BatEntry entry, std::uint64_t wanted) noexcept {
  Extent extent{Extent::Kind::data, entry.offset() + piece.offset, piece.length};
  std::uint64_t block = piece.block;
  while (extent.length < wanted) {
    ++block;
    const std::uint64_t index = payload_index(block, image_.counts.chunk_ratio);
    const TablePage* page = TableCache::in_memory(bat_pages_[index / kTablePageWords]);
    if (page == nullptr) break;
    const BatEntry next = entry_in(*page, index);
    if (next.payload_state() != PayloadState::fully_present) break;
    if (next.offset() != extent.at + extent.length) break;
    extent.length += std::min(image_.geometry.block_size, wanted - extent.length);
  }
  return extent;
}

Extent Engine::locate_empty(const Piece& piece, std::uint64_t wanted, Extent::Kind kind) noexcept {
  const std::uint64_t ratio = image_.counts.chunk_ratio;
  const std::uint64_t start = (piece.block << block_shift_) + piece.offset;
  const std::uint64_t end_block = div_ceil(start + wanted, image_.geometry.block_size);
  std::uint64_t block = piece.block + 1;
  if (bat_holes_[piece.index / kTablePageWords]) block = piece.block;
  for (unsigned looked = 0; block < end_block && looked < kMostEntriesPerAnswer; ++looked) {
    const std::uint64_t index = payload_index(block, ratio);
    const std::uint64_t number = index / kTablePageWords;
    if (bat_holes_[number]) {
      if (kind != Extent::Kind::absent) break;
      block = block_of_index((number + 1) * kTablePageWords, ratio);
      continue;
    }
    const TablePage* page = TableCache::in_memory(bat_pages_[number]);
    if (page == nullptr) break;
    const unsigned state = entry_in(*page, index).state_bits();
    const bool alike = kind == Extent::Kind::absent ? state == 0 : state >= 1 && state <= 3;
    if (!alike) break;
    ++block;
  }
  const std::uint64_t end = std::min(start + wanted, block << block_shift_);
  return {.kind = kind, .at = {}, .length = end - start};
}

Step<Extent> Engine::locate_partial(const Piece& piece, BatEntry entry) noexcept {
  cache_.begin_call();
  OVHD_STEP(const Bits bits, load_bits(piece));
  const BitRun run = bit_run(bits.page->words, bits.first, bits.count);
  return Extent{.kind = run.set ? Extent::Kind::data : Extent::Kind::absent,
                .at = run.set ? entry.offset() + piece.offset : FileOffset{},
                .length = run.length << sector_shift_};
}

void Engine::complete(std::uint64_t token, std::int32_t result) noexcept {
  switch (token_kind(token)) {
    case TokenKind::table_page: {
      TablePage* page = cache_.complete(token_index(token), result);
      if (page == nullptr) return;
      if (!page->is_bitmap) judge_bat_page(*page);
      cache_.publish(*page);
      if (!late_bits_.empty()) retry_late_bits();
      return;
    }
    case TokenKind::journal:
      return journal_.complete(token_index(token), result);
    case TokenKind::space:
    case TokenKind::punch:
      return space_.complete(token_kind(token), result);
  }
}

void Engine::enter(OperationTicket& ticket) noexcept {
  ticket.serial = ++serial_;
  ticket.previous = newest_;
  ticket.next = nullptr;
  (newest_ != nullptr ? newest_->next : oldest_) = &ticket;
  newest_ = &ticket;
  cache_.set_operations(++operations_);
}

void Engine::leave(OperationTicket& ticket) noexcept {
  (ticket.previous != nullptr ? ticket.previous->next : oldest_) = ticket.next;
  (ticket.next != nullptr ? ticket.next->previous : newest_) = ticket.previous;
  cache_.set_operations(--operations_);
}

}  // namespace openvhd::vhdx
