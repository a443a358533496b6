/// Sector bitmaps of blocks: one bit for each sector that this image holds.
#pragma once

#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "vhd/bat_cache.hpp"
#include "vhd/pending.hpp"

namespace openvhd::vhd {

/// The bits of one block, the most significant of a byte first (VHD 1.0), or last for images of
/// tapdisk 0.1.
class SectorBits {
 public:
  SectorBits(std::span<std::byte> bytes, bool lsb_first) noexcept
      : bytes_{bytes}, lsb_first_{lsb_first} {}

  bool test(std::uint32_t sector) const noexcept {
    return (bytes_[sector / 8] & mask(sector)) != std::byte{0};
  }
  void set(std::uint32_t first, std::uint32_t count) noexcept;
  /// How many sectors from `first`, at most `count`, have the same bit as `first`.
  std::uint32_t run(std::uint32_t first, std::uint32_t count) const noexcept;
  bool all_set(std::uint32_t count) const noexcept { return test(0) && run(0, count) == count; }

 private:
  std::byte mask(std::uint32_t sector) const noexcept {
    const unsigned bit = sector % 8;
    return std::byte{1} << (lsb_first_ ? bit : 7 - bit);
  }

  std::span<std::byte> bytes_;
  bool lsb_first_;
};

struct Bitmap {
  std::uint32_t block = 0;
  std::uint32_t start = 0;  ///< Sector in the file.
  std::vector<std::byte> bytes;
  bool loaded = false;
  bool dirty = false;
  std::uint64_t round = 0;     ///< The flush that writes it.
  std::uint64_t promised = 0;  ///< Sectors for which wrote() may still be called,
  std::uint64_t serial = 0;    ///< by operations up to this one.
  HostCall call;
};

class BitmapCache {
 public:
  BitmapCache(const ParsedImage& image, std::uint64_t budget_bytes)
      : image_{image}, most_{std::max<std::uint64_t>(16, budget_bytes / bytes_each())} {}

  /// The bitmap if it is in memory, else null.
  Bitmap* find(std::uint32_t block) noexcept;
  /// Loads the bitmap of `block`, which lies at sector `start`. When empty, find() has it.
  /// `oldest` is the serial of the oldest operation on its way.
  Pending load(std::uint32_t block, std::uint32_t start, std::uint64_t oldest) noexcept;
  /// The bitmap of a new block: all clear, in memory and in the file.
  Bitmap& add_clear(std::uint32_t block, std::uint32_t start, std::uint64_t oldest) noexcept;
  void drop(std::uint32_t block) noexcept;
  void complete(std::uint32_t block, std::int32_t result) noexcept;

  SectorBits bits_of(Bitmap& bitmap) const noexcept { return {bitmap.bytes, image_.lsb_first}; }
  /// Keeps the bitmap in memory until set() was called for as many sectors, or until operation
  /// `serial` and all before it have left: a transfer that fails never calls set().
  void promise(Bitmap& bitmap, std::uint32_t sectors, std::uint64_t serial,
               std::uint64_t oldest) noexcept;
  /// Marks the sectors as held.
  void set(Bitmap& bitmap, std::uint32_t first, std::uint32_t count) noexcept;

  bool dirty() const noexcept { return dirty_ != 0; }
  /// So many are dirty that they must be written before there may be more.
  bool crowded() const noexcept { return dirty_ >= most_ / 2; }
  void snapshot(std::uint64_t round, std::vector<Snapshot>& out);
  void finish_round(std::uint64_t round) noexcept { finished_round_ = round; }

 private:
  using Order = std::list<std::unique_ptr<Bitmap>>;  // the last used first

  std::uint64_t bytes_each() const noexcept { return image_.bitmap_length + 256; }
  Bitmap& insert(std::uint32_t block, std::uint32_t start, std::uint64_t oldest) noexcept;
  bool may_go(const Bitmap& bitmap, std::uint64_t oldest) const noexcept;
  void make_room(std::uint64_t oldest) noexcept;

  const ParsedImage& image_;
  std::uint64_t most_;
  std::uint64_t dirty_ = 0;
  std::uint64_t finished_round_ = 0;
  Order order_;
  std::unordered_map<std::uint32_t, Order::iterator> by_block_;
};

}  // namespace openvhd::vhd
