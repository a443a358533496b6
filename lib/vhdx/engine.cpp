// Opening, reading and completions of an Engine.
#include "vhdx/engine.hpp"

#include <algorithm>
#include <bit>

#include "base/try.hpp"
#include "vhdx/engine_impl.hpp"

namespace openvhd::vhdx {
namespace {

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
      bat_page_count_{div_ceil(image_.counts.entries, kTablePageWords)},
      bat_pages_(bat_page_count_),
      bat_holes_(bat_page_count_),
      bitmap_pages_(image_.has_parent ? image_.counts.bitmap_blocks : 0),
      cache_{options.table_cache_bytes},
      space_{file_bytes, image_.fixed},
      journal_{image_, cache_, space_, host} {
  for (std::atomic<bool>& hole : bat_holes_) hole = true;
  bat_claimed_.assign(bat_page_count_, false);
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
  Extent extent;
  if (find(at, length, extent)) return extent;
  const Piece piece = piece_of(at, length);
  cache_.begin_call();
  OVHD_STEP(const TablePage* page, bat_page(piece.index));
  const BatEntry entry = entry_in(*page, piece.index);
  if (entry.payload_state() == PayloadState::partially_present) return locate_partial(piece, entry);
  if (find(at, length, extent)) return extent;
  return bad_entry(piece.index);
}

Step<Extent> Engine::locate_partial(const Piece& piece, BatEntry entry) noexcept {
  cache_.begin_call();
  OVHD_STEP(const Bits bits, load_bits(piece));
  return partial_from(piece, entry, bits);
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
      journal_.complete(token_index(token), result);
      return publish_state();
    case TokenKind::space:
    case TokenKind::punch:
      return space_.complete(token_kind(token), result);
  }
}

void Engine::enter(OperationTicket& ticket) noexcept {
  operations_.enter(ticket);
  cache_.set_operations(operations_.count());
}

void Engine::leave(OperationTicket& ticket) noexcept {
  operations_.leave(ticket);
  cache_.set_operations(operations_.count());
}

}  // namespace openvhd::vhdx
