/// Sector bitmaps of blocks: loaded when asked for, under a budget.
#pragma once

#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "io/active_operations.hpp"
#include "vhd/bat_cache.hpp"
#include "vhd/limbo.hpp"
#include "vhd/pending.hpp"
#include "vhd/sector_bits.hpp"

namespace openvhd::vhd {

struct Bitmap {
  Bitmap(std::uint32_t of_block, std::uint32_t start, std::uint32_t bytes)
      : bits{start, bytes}, block{of_block} {}

  SectorBits bits;  ///< What other threads see, where the entry of the block leads there.

  std::uint32_t block;
  bool loaded = false;
  bool dirty = false;
  std::uint64_t round = 0;     ///< The flush that writes it.
  std::uint64_t promised = 0;  ///< Sectors for which redeem() may still be called,
  std::uint64_t serial = 0;    ///< by operations up to this one.
  HostCall call;
};

class BitmapCache {
 public:
  /// Entries of `table` lead to bits that are here: they stop doing so before those go. What
  /// `active` says of operations tells how long a promise holds.
  BitmapCache(const ParsedImage& image, std::uint64_t budget_bytes, BatCache& table,
              ActiveOperations& active)
      : image_{image},
        table_{table},
        active_{active},
        most_{std::max<std::uint64_t>(16, budget_bytes / bytes_each())} {}
  void share(Readers& readers) noexcept { limbo_.share(readers); }

  /// The bitmap if it is in memory, else null.
  Bitmap* find(std::uint32_t block) noexcept;
  /// Loads the bitmap of `block`, which lies at sector `start`. When empty, find() has it.
  Pending load(std::uint32_t block, std::uint32_t start) noexcept;
  /// The bitmap of a new block: all clear, in memory and in the file.
  Bitmap& add_clear(std::uint32_t block, std::uint32_t start) noexcept;
  /// No entry leads to it any more.
  void drop(std::uint32_t block) noexcept;
  void complete(std::uint32_t block, std::int32_t result) noexcept;

  /// Keeps the bitmap in memory until redeem() was called for as many sectors, or until all
  /// operations that there are now have left: a transfer that fails never redeems.
  void promise(Bitmap& bitmap, std::uint32_t sectors) noexcept;
  void redeem(Bitmap& bitmap, std::uint32_t sectors) noexcept {
    bitmap.promised -= std::min<std::uint64_t>(bitmap.promised, sectors);
  }
  /// Marks the sectors as held.
  void set(Bitmap& bitmap, std::uint32_t first, std::uint32_t count) noexcept;

  bool dirty() const noexcept { return dirty_ != 0; }
  /// So many are dirty that they must be written before there may be more.
  bool crowded() const noexcept { return dirty_ >= most_ / 2; }
  void snapshot(std::uint64_t round, std::vector<Snapshot>& out);
  void finish_round(std::uint64_t round) noexcept { finished_round_ = round; }

 private:
  using Order = std::list<std::unique_ptr<Bitmap>>;  // the last used first

  /// With what the list, the map and the heap take.
  std::uint64_t bytes_each() const noexcept { return image_.bitmap_length + sizeof(Bitmap) + 128; }
  BitOrder order() const noexcept {
    return image_.lsb_first ? BitOrder::lsb_first : BitOrder::msb_first;
  }
  Bitmap& insert(std::uint32_t block, std::uint32_t start) noexcept;
  bool may_go(const Bitmap& bitmap) noexcept;
  void make_room() noexcept;

  const ParsedImage& image_;
  BatCache& table_;
  ActiveOperations& active_;
  std::uint64_t most_;
  std::uint64_t dirty_ = 0;
  std::uint64_t finished_round_ = 0;
  Order order_;
  std::unordered_map<std::uint32_t, Order::iterator> by_block_;
  Limbo<Bitmap> limbo_;
};

}  // namespace openvhd::vhd
