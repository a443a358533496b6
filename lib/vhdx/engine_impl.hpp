/// The layer behind make_engine(): see engine.hpp for the door and README.md for the rules.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <openvhd/error.hpp>
#include <optional>
#include <span>
#include <vector>

#include "io/active_operations.hpp"
#include "io/block_mover.hpp"
#include "io/file.hpp"
#include "io/host.hpp"
#include "io/image_layer.hpp"
#include "vhdx/bat_cache.hpp"
#include "vhdx/engine_step.hpp"
#include "vhdx/image_state.hpp"
#include "vhdx/journal.hpp"
#include "vhdx/space.hpp"

namespace openvhd::vhdx {

/// One VHDX file as a layer. Table entries live in pages of TableCache, as atomics; a mapped
/// block is found by two loads, without a lock or an allocation, on any thread (engine_find.cpp).
/// Everything that changes a table goes through one owner: Space gives room, Journal makes it
/// durable.
class Engine final : public ImageLayer, public BlockMover {
 public:
  /// `file_bytes` is the size of the file now. Call find_holes() before anything else.
  Engine(ParsedImage image, File& file, const LayerOpenOptions& options, Host& host,
         std::uint64_t file_bytes);

  /// Learns which pages of the table are holes in the file. Blocks.
  Status find_holes() noexcept;

  const Geometry& geometry() const noexcept override { return image_.geometry; }
  Step<Extent> locate(VirtualOffset at, std::uint64_t length) noexcept override;
  Step<Extent> place(VirtualOffset at, std::uint64_t length) noexcept override;
  void wrote(VirtualOffset at, const Extent& placed) noexcept override;
  Step<Cleared> clear(VirtualOffset at, std::uint64_t length, ClearKind kind) noexcept override;
  Step<Ok> flush(FlushTicket& ticket) noexcept override;
  Step<Ok> close(FlushTicket& ticket) noexcept override;
  void complete(std::uint64_t token, std::int32_t result) noexcept override;
  void enter(OperationTicket& ticket) noexcept override;
  void leave(OperationTicket& ticket) noexcept override;

  void share(Readers& readers) noexcept override;
  bool find(VirtualOffset at, std::uint64_t length, Extent& extent) noexcept override;
  bool find_writable(VirtualOffset at, std::uint64_t length, Extent& extent) noexcept override;
  void overwritten() noexcept override;
  bool settled() const noexcept override;
  std::shared_ptr<const AnswerTerms> terms() const noexcept override {
    return {shared_owner_, &shared_.terms};
  }
  void withdraw_answers() noexcept override {
    shared_.terms.moves.fetch_add(1, std::memory_order_release);
  }

  // engine_move.cpp
  std::uint64_t hide(VirtualOffset at) noexcept override;
  void show() noexcept override;
  bool over(std::uint64_t asked) noexcept override;
  std::optional<FileOffset> claim(FileOffset below) noexcept override;
  void give_back(FileOffset at) noexcept override;
  Step<bool> move(VirtualOffset at, FileOffset from, FileOffset to) noexcept override;

  DiskType type() const noexcept override { return image_.type(); }
  LayerInfo info() const override;
  LayerCounters counters() const noexcept override {
    return {.allocated_blocks = allocated_blocks_, .commits = journal_.commits()};
  }
  Result<BlockCounts> count_blocks(File& file, std::uint64_t max_table_bytes) override;
  const ParentLink* parent_link() const noexcept override {
    return image_.parent ? &*image_.parent : nullptr;
  }
  Guid link_identity() const noexcept override { return journal_.header().data_write_guid; }
  void set_link_identity(const Guid& id) noexcept override { journal_.set_data_write_guid(id); }

 private:
  /// A range inside one block.
  struct Piece {
    std::uint64_t block = 0;
    std::uint64_t index = 0;   ///< Of the block's entry in the table.
    std::uint64_t offset = 0;  ///< In the block.
    std::uint64_t length = 0;
  };
  /// Bits of a bitmap page that belong to a piece.
  struct Bits {
    TablePage* page = nullptr;
    std::uint64_t page_in_block = 0;
    std::uint64_t first = 0;
    std::uint64_t count = 0;
  };
  struct LateBits {
    VirtualOffset at{};
    Extent placed{};
  };

  // Table entries (engine_table.cpp).
  Piece piece_of(VirtualOffset at, std::uint64_t length) const noexcept {
    const std::uint64_t block = at.value >> block_shift_;
    const std::uint64_t offset = at.value & (block_bytes() - 1);
    return {.block = block,
            .index = block + (block >> ratio_shift_),
            .offset = offset,
            .length = std::min(length, block_bytes() - offset)};
  }
  std::uint64_t block_bytes() const noexcept { return std::uint64_t{1} << block_shift_; }
  /// All of the block that lies inside the disk.
  bool is_whole(const Piece& piece) const noexcept {
    return piece.offset == 0 && piece.length == block_bytes_in_disk(piece.block);
  }
  std::uint64_t block_bytes_in_disk(std::uint64_t block) const noexcept;
  FileOffset bat_page_at(std::uint64_t page) const noexcept {
    return image_.bat.at + page * kTablePageBytes;
  }
  FileOffset entry_at(std::uint64_t index) const noexcept {
    return image_.bat.at + index * kBatEntryBytes;
  }
  /// The page that entry `index` lies in.
  Step<TablePage*> bat_page(std::uint64_t index) noexcept;
  /// The same when it may be changed: holes become pages of zeros.
  Step<TablePage*> bat_page_to_change(std::uint64_t index) noexcept;
  static BatEntry entry_in(const TablePage& page, std::uint64_t index) noexcept {
    const TableWord& word = page.words[index % kTablePageWords];
    return {table_order(word.load(std::memory_order_acquire))};
  }
  /// Nothing but zeros in the file. A page that is not in memory (asked for first) and is a hole
  /// holds no entry. Any thread.
  bool is_hole(std::uint64_t page) const noexcept {
    return bat_holes_[page].load(std::memory_order_acquire);
  }
  /// What must be durable before a change of the table is.
  enum class Order : std::uint8_t { data_first, any };
  void put_entry(TablePage& page, std::uint64_t index, BatEntry entry,
                 Order order = Order::data_first) noexcept;
  void judge_bat_page(TablePage& page) noexcept;
  Status judge_entry(BatEntry entry, std::uint64_t index, bool claim) noexcept;
  void keep_bad_entry(TablePage& page, std::uint64_t index, const Error& error) noexcept;
  Error bad_entry(std::uint64_t index) const noexcept;
  /// Loads every page that has not been judged yet, so that all space is claimed.
  Step<Ok> claim_all() noexcept;

  // Sector bitmaps (engine_table.cpp).
  /// Of one chunk's sector bitmap block.
  using BitmapHomes = std::array<PageHome, kBitmapBlockBytes / kTablePageBytes>;
  PageHome& bitmap_home(std::uint64_t chunk, std::uint64_t page);
  Bits bits_of_piece(const Piece& piece) const noexcept;
  Step<Bits> load_bits(const Piece& piece) noexcept;
  /// Without loading: the page is null when it is not in memory.
  Bits bits_in_memory(const Piece& piece) noexcept;
  void change_bits(const Bits& bits, bool value) noexcept;

  // Finding in memory, on any thread (engine_find.cpp).
  void put_data(const Piece& piece, BatEntry entry, std::uint64_t wanted,
                Extent& extent) const noexcept {
    const bool stays = shared_.moving.load(std::memory_order_acquire) != piece.block;
    extent = {Extent::Kind::data, entry.offset() + piece.offset, piece.length, stays};
    if (piece.length < wanted) extend_data(piece.block, wanted, extent);
  }
  void extend_data(std::uint64_t block, std::uint64_t wanted, Extent& extent) const noexcept;
  bool find_elsewhere(VirtualOffset at, std::uint64_t length, Extent& extent) const noexcept;
  Extent empty_from(const Piece& piece, std::uint64_t wanted, Extent::Kind kind) const noexcept;
  bool find_partial(const Piece& piece, const TablePage& page, BatEntry entry,
                    Extent& extent) const noexcept;
  Extent partial_from(const Piece& piece, BatEntry entry, const Bits& bits) const noexcept;

  // Reading (engine.cpp).
  Step<Extent> locate_partial(const Piece& piece, BatEntry entry) noexcept;

  // Writing (engine_place.cpp).
  std::optional<Error> refusal() noexcept;
  Step<Ok> ready_to_overwrite() noexcept;
  Step<Ok> ready_to_change_tables() noexcept;
  Step<Extent> allocate(const Piece& piece, TablePage& page, BatEntry entry) noexcept;
  Step<Ok> prepare_bitmap(const Piece& piece) noexcept;
  std::uint64_t space_still_needed() const noexcept;
  bool note_written(VirtualOffset at, const Extent& placed) noexcept;
  bool note_written_piece(const Piece& piece, FileOffset data) noexcept;
  bool block_is_full(const Piece& piece, const Bits& bits) const noexcept;
  void retry_late_bits() noexcept;
  /// Before a change of a table becomes visible.
  void unsettle() noexcept;

  // Clearing (engine_clear.cpp).
  Cleared clear_whole(const Piece& piece, TablePage& page, BatEntry entry, ClearKind kind) noexcept;
  Step<Cleared> clear_part(const Piece& piece, TablePage& page, BatEntry entry,
                           ClearKind kind) noexcept;

  // Durability (engine_flush.cpp).
  Step<Ok> settle_late_bits() noexcept;
  Step<Ok> flush_to(FlushTicket& ticket) noexcept;
  /// What the journal has just answered. Any call that may have begun or ended a group, or
  /// failed, goes through here before its command is issued.
  Step<Ok> noted(Step<Ok> step) noexcept;
  void publish_state() noexcept;
  std::uint64_t closed_size() const noexcept;

  ParsedImage image_;
  File& file_;
  bool writable_;
  std::uint64_t opened_bytes_;  // size of the file when it was opened
  unsigned block_shift_;
  unsigned sector_shift_;
  unsigned ratio_shift_;

  std::uint64_t bat_page_count_;
  // None of these grows or shrinks.
  std::vector<PageHome> bat_pages_;
  std::vector<std::atomic<bool>> bat_holes_;
  // By chunk, made when first needed, and kept; empty in images without a parent.
  std::vector<std::atomic<BitmapHomes*>> bitmap_pages_;

  static constexpr std::uint64_t kNoBlock = ~std::uint64_t{0};
  // What other threads ask about; stored only when it changes.
  struct alignas(64) Shared {
    AnswerTerms terms;                      // overwrites: the header says so, nothing has failed
    std::atomic<bool> settled{true};        // all that tables say is durable
    std::atomic<bool> late{false};          // late_bits_ has something
    std::atomic<bool> data_written{false};  // since the last commit began
    std::atomic<std::uint64_t> moving{kNoBlock};
  };
  std::shared_ptr<Shared> shared_owner_ = std::make_shared<Shared>();
  Shared& shared_ = *shared_owner_;

  // From here on the owner's alone, and on other cache lines.
  alignas(64) TableCache cache_;
  Space space_;
  Journal journal_;

  std::vector<bool> bat_claimed_;  // judged once: its space is in the map
  std::uint64_t claim_cursor_ = 0;
  std::uint64_t present_blocks_ = 0;
  std::uint64_t allocated_blocks_ = 0;  // since it was opened
  // Stands in memory, never in the file, for an entry that broke a rule when it was loaded.
  static constexpr std::uint64_t kBadEntry = 4;
  std::vector<std::unique_ptr<BitmapHomes>> bitmap_homes_;  // what bitmap_pages_ points to

  std::map<std::uint64_t, Error> bad_entries_;  // the first kMostBadEntries
  std::optional<Error> damage_;

  std::uint64_t noted_group_ = 1;  // the open one when noted() last looked
  bool closing_ = false;
  std::vector<LateBits> late_bits_;
  ActiveOperations operations_;
};

}  // namespace openvhd::vhdx
