/// Dynamic and differencing disks: blocks found through a table, sectors through bitmaps.
#pragma once

#include <memory>
#include <vector>

#include "io/image_layer.hpp"
#include "vhd/bat_cache.hpp"
#include "vhd/bitmap_cache.hpp"
#include "vhd/file_tail.hpp"
#include "vhd/free_blocks.hpp"
#include "vhd/parse.hpp"

namespace openvhd::vhd {

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

  DiskType type() const noexcept override { return image_.type; }
  LayerInfo info() const override;
  Result<BlockCounts> count_blocks(File& file, std::uint64_t max_table_bytes) override;
  const ParentLink* parent_link() const noexcept override;
  Guid link_identity() const noexcept override;

 private:
  /// A virtual offset, taken apart.
  struct Spot {
    std::uint32_t block = 0;
    std::uint32_t index = 0;    // of the entry in its page
    std::uint32_t sector = 0;   // in the block
    std::uint32_t sectors = 0;  // asked, at most to the end of the block or of the disk
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
    std::uint64_t covers = 0;         // completed writes
    HostCall call;
  };

  bool differencing() const noexcept { return image_.type == DiskType::differencing; }
  Spot spot_of(VirtualOffset at, std::uint64_t length) const noexcept;
  std::uint32_t sectors_in(std::uint32_t block) const noexcept;
  FileOffset data_at(std::uint32_t start, std::uint32_t sector) const noexcept;
  Extent data(std::uint32_t start, const Spot& spot, std::uint32_t sectors) const noexcept;
  std::uint64_t absent_from(const Spot& spot, std::uint64_t length) noexcept;
  Pending look_at_bitmap(const Spot& spot) noexcept;

  // Changes.
  Pending ready_to_change() noexcept;
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

  const ParsedImage image_;
  const bool writable_;
  Geometry geometry_;
  BatCache table_;
  BitmapCache bitmaps_;
  FileTail tail_;
  FreeBlocks free_;
  ActiveOperations active_;

  bool space_known_ = false;
  bool aligned_ = true;    // data of new blocks begins on 4 KiB
  std::uint64_t end_ = 0;  // new blocks go here
  std::vector<std::byte> full_bitmap_;
  std::vector<std::unique_ptr<Allocation>> allocations_;

  std::uint64_t writes_ = 0;  // completed, or done by this layer itself
  std::uint64_t durable_writes_ = 0;
  std::uint64_t started_rounds_ = 0;
  std::uint64_t finished_rounds_ = 0;
  Round round_;
  FlushTicket relief_{};
  bool layout_changed_ = false;
  std::optional<Error> poison_;
  bool poison_told_ = false;
};

}  // namespace openvhd::vhd
