/// The block allocation table: loaded in pages when asked for, under a budget, each entry judged
/// once it is in memory.
#pragma once

#include <array>
#include <memory>
#include <openvhd/disk_info.hpp>
#include <vector>

#include "vhd/block_claims.hpp"
#include "vhd/parse.hpp"
#include "vhd/pending.hpp"

namespace openvhd::vhd {

/// What is known of a block's entry and of its bitmap.
enum class BlockState : std::uint8_t {
  unknown,  ///< The bitmap has not been looked at.
  full,     ///< All bits of sectors inside the disk are set.
  partial,  ///< Some are clear, or were when it was loaded.
  out_of_bounds,
  shared,  ///< With another entry.
};

struct BatPage {
  static constexpr std::uint32_t kEntries = 1024;

  std::array<Be32, kEntries> entries;
  std::array<BlockState, kEntries> states{};
  std::uint8_t dirty = 0;  ///< One bit for each 512 bytes that differ from the file.
  bool loaded = false;
  bool used = false;        ///< Since the clock's hand passed.
  std::uint64_t round = 0;  ///< The flush that writes it, while that is on its way.
  HostCall call;
};

/// A stretch of bytes to write, copied so that it stays as it was.
struct Snapshot {
  FileOffset at{};
  std::vector<std::byte> bytes;
};

class BatCache {
 public:
  BatCache(const ParsedImage& image, std::uint64_t budget_bytes, std::uint64_t seed);

  /// Loads the page that holds `block`. When empty, page_of() answers until the next load().
  Pending load(std::uint32_t block) noexcept;
  BatPage& page_of(std::uint32_t block) noexcept { return *pages_[block / BatPage::kEntries]; }
  /// The page if it is in memory, else null. The fast path.
  BatPage* resident(std::uint32_t block) noexcept {
    BatPage* const page = pages_[block / BatPage::kEntries].get();
    return page != nullptr && page->loaded ? page : nullptr;
  }
  void complete(std::uint32_t page, std::int32_t result) noexcept;

  /// Loads what has never been loaded, so that every claim is known. Empty: all are.
  Pending load_all() noexcept;
  bool all_seen() const noexcept { return unseen_ == 0; }

  /// Gives `block` a place, or kUnused; its page is loaded.
  void set(std::uint32_t block, std::uint32_t start, BlockState state) noexcept;
  FileOffset entry_at(std::uint32_t block) const noexcept {
    return image_.table_at + std::uint64_t{block} * kEntryBytes;
  }

  /// The bytes that the file may hold blocks below; entries beyond are out of bounds.
  void set_data_limit(std::uint64_t bytes) noexcept { data_limit_ = bytes; }
  std::uint64_t data_limit() const noexcept { return data_limit_; }
  /// Set once an entry broke V04: nothing may be allocated or freed any more.
  const std::optional<Error>& damage() const noexcept { return damage_; }
  Error error_of(std::uint32_t block, BlockState state) const noexcept;

  bool dirty() const noexcept { return dirty_pages_ != 0; }
  /// So many are dirty that they must be written before there may be more.
  bool crowded() const noexcept { return dirty_pages_ >= most_pages_ / 2; }
  /// Copies what is dirty for flush number `round`, clean from now on. Pages stay in memory
  /// until finish_round().
  void snapshot(std::uint64_t round, std::vector<Snapshot>& out);
  void finish_round(std::uint64_t round) noexcept { finished_round_ = round; }

  BlockClaims& claims() noexcept { return claims_; }

 private:
  std::uint32_t first_entry(std::uint32_t page) const noexcept { return page * BatPage::kEntries; }
  std::size_t page_length(std::uint32_t page) const noexcept;
  Pending load_page(std::uint32_t page) noexcept;
  void judge(std::uint32_t page) noexcept;
  BlockState judge_entry(std::uint32_t block, std::uint32_t start) noexcept;
  void make_room() noexcept;

  const ParsedImage& image_;
  std::uint64_t most_pages_;
  std::uint64_t data_limit_;
  BlockClaims claims_;
  std::vector<std::unique_ptr<BatPage>> pages_;
  std::vector<bool> seen_;
  std::size_t unseen_;
  std::uint32_t scan_ = 0;
  std::size_t in_memory_ = 0;
  std::size_t hand_ = 0;
  std::size_t dirty_pages_ = 0;
  std::uint64_t finished_round_ = 0;
  std::optional<Error> damage_;
};

}  // namespace openvhd::vhd
