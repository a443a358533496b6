/// Dynamic and differencing disks: blocks found through a table, sectors through bitmaps.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <memory>
#include <vector>

#include "io/active_operations.hpp"
#include "io/image_layer.hpp"
#include "vhd/bat_cache.hpp"
#include "vhd/bitmap_cache.hpp"
#include "vhd/file_tail.hpp"
#include "vhd/free_blocks.hpp"
#include "vhd/parse.hpp"

namespace openvhd::vhd {

/// Entries live in pages of BatCache, as atomic words that lead to the bits where those matter: a
/// mapped sector is found by three or four loads, on any thread (sparse_find.cpp). Everything
/// that changes belongs to one owner.
class SparseLayer final : public ImageLayer {
 public:
  SparseLayer(ParsedImage image, const LayerOpenOptions& options, Host& host);

  const Geometry& geometry() const noexcept override { return geometry_; }
  Step<Extent> locate(VirtualOffset at, std::uint64_t length) noexcept override;
  Step<Extent> place(VirtualOffset at, std::uint64_t length) noexcept override;
  void wrote(VirtualOffset at, const Extent& placed) noexcept override;
  Step<Cleared> clear(VirtualOffset at, std::uint64_t length, ClearKind kind) noexcept override;
  Step<Ok> flush(FlushTicket& ticket) noexcept override;
  Step<Ok> close(FlushTicket& ticket) noexcept override;
  void complete(std::uint64_t token, std::int32_t result) noexcept override;
  void enter(OperationTicket& ticket) noexcept override { active_.enter(ticket); }
  void leave(OperationTicket& ticket) noexcept override { active_.leave(ticket); }

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

  DiskType type() const noexcept override { return image_.type; }
  LayerInfo info() const override;
  LayerCounters counters() const noexcept override { return counters_; }
  Result<BlockCounts> count_blocks(File& file, std::uint64_t max_table_bytes) override;
  const ParentLink* parent_link() const noexcept override;
  Guid link_identity() const noexcept override;

 private:
  /// A virtual offset, taken apart.
  struct Spot {
    std::uint32_t block = 0;
    std::uint32_t index = 0;    // of the entry in its page
    std::uint32_t sector = 0;   // in the block
    std::uint32_t sectors = 0;  // asked, at most to the end of the block
  };
  /// A new block on its way: its space is made what it must be before the table may name it.
  struct Allocation {
    std::uint32_t block = 0;
    std::uint32_t start = 0;
    enum class Stage : std::uint8_t { clear, bitmap, done } stage{};
    HostCall call;
  };
  /// One flush on its way, whoever waits for it.
  struct Round {
    enum class Stage : std::uint8_t { none, sync_data, write, sync_metadata, punch } stage{};
    std::vector<Snapshot> writes;
    std::size_t next = 0;
    std::vector<std::uint32_t> ripe;  // freed blocks to punch
    HostCall call;
  };

  bool differencing() const noexcept { return image_.type == DiskType::differencing; }
  Spot spot_of(VirtualOffset at, std::uint64_t length) const noexcept {
    const auto block = static_cast<std::uint32_t>(at.value >> block_shift_);
    const auto offset = static_cast<std::uint32_t>(at.value) & (image_.block_size - 1);
    const std::uint64_t bytes = std::min<std::uint64_t>(length, image_.block_size - offset);
    return {block, block % BatPage::kEntries, offset / kSectorBytes,
            static_cast<std::uint32_t>(bytes / kSectorBytes)};
  }
  std::uint32_t sectors_in(std::uint32_t block) const noexcept;
  FileOffset data_at(std::uint32_t start, std::uint32_t sector) const noexcept {
    return {(std::uint64_t{start} + sector) * kSectorBytes + image_.bitmap_length};
  }
  Extent data(std::uint32_t start, const Spot& spot, std::uint32_t sectors) const noexcept {
    return {Extent::Kind::data, data_at(start, spot.sector), std::uint64_t{sectors} * kSectorBytes};
  }
  std::uint64_t absent_from(const BatPage& page, const Spot& spot,
                            std::uint64_t length) const noexcept;
  Extent partial_from(const SectorBits& bits, const Spot& spot) const noexcept;
  static bool holds_all(BlockEntry entry, const Spot& spot) noexcept;
  Pending load_table(std::uint32_t block) noexcept;
  Pending look_at_bitmap(const Spot& spot) noexcept;

  // Changes.
  Pending ready_to_change() noexcept;
  Pending load_to_change(std::uint32_t block) noexcept;
  void hold(Bitmap& bitmap, const Spot& spot) noexcept;
  bool whole_in_file(std::uint32_t start) const noexcept;
  Pending relieve() noexcept;
  void find_space() noexcept;
  void find_gaps() noexcept;
  void add_gap(std::uint64_t begin, std::uint64_t end) noexcept;
  Pending allocate(std::uint32_t block) noexcept;
  Pending pick_space(std::uint32_t& start, bool& stale) noexcept;
  std::uint64_t next_at_end() const noexcept;
  std::uint32_t take_at_end(std::uint64_t at) noexcept;
  bool fall_back(Allocation& allocation, const Error& error) noexcept;
  void begin(Allocation& allocation) noexcept;
  void finish(const Allocation& allocation) noexcept;
  void forget(std::uint32_t block) noexcept;
  Step<Cleared> free_block(const Spot& spot) noexcept;
  Step<Cleared> clear_sectors(const Spot& spot, ClearKind kind) noexcept;

  // Flush.
  bool dirty() const noexcept;
  void start_round() noexcept;
  void begin_stage(Round::Stage stage) noexcept;
  void next_stage() noexcept;
  bool punch_next() noexcept;
  Pending run_round() noexcept;
  std::uint64_t end_of_blocks() noexcept;
  void poison(const Error& error) noexcept;
  Error refusal() noexcept;
  void admit_overwrites(bool may) noexcept;
  void unsettle() noexcept;

  const ParsedImage image_;
  const bool writable_;
  const unsigned block_shift_;
  Geometry geometry_;

  // What other threads ask about; stored only when it changes.
  struct alignas(64) Shared {
    AnswerTerms terms;  // overwrites: a first change was admitted, and nothing failed
    // All that table and bitmaps say is durable. Not known when an image is opened: who wrote it
    // last may have died before its sync.
    std::atomic<bool> settled{false};
    std::atomic<bool> data_written{false};  // since the last round began
  };
  std::shared_ptr<Shared> shared_owner_ = std::make_shared<Shared>();
  Shared& shared_ = *shared_owner_;

  // From here on the owner's, but for pages of the table and what they lead to.
  alignas(64) BatCache table_;
  ActiveOperations active_;
  BitmapCache bitmaps_;
  FileTail tail_;
  FreeBlocks free_;

  bool space_known_ = false;
  bool aligned_ = true;    // data of new blocks begins on 4 KiB
  std::uint64_t end_ = 0;  // new blocks go here
  std::vector<std::byte> full_bitmap_;
  std::vector<std::unique_ptr<Allocation>> allocations_;

  bool data_was_synced_ = false;  // in any round yet
  std::uint64_t started_rounds_ = 0;
  LayerCounters counters_;
  std::uint64_t finished_rounds_ = 0;
  Round round_;
  FlushTicket relief_{};
  bool layout_changed_ = false;
  std::optional<Error> poison_;
  bool poison_told_ = false;
};

}  // namespace openvhd::vhd
