/// The block allocation table: loaded in pages when asked for, under a budget, each entry judged
/// once it is in memory.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <openvhd/disk_info.hpp>
#include <vector>

#include "vhd/block_claims.hpp"
#include "vhd/block_entry.hpp"
#include "vhd/limbo.hpp"
#include "vhd/parse.hpp"
#include "vhd/pending.hpp"

namespace openvhd::vhd {

struct BatPage {
  static constexpr std::uint32_t kEntries = 1024;

  /// Any thread.
  BlockEntry entry(std::uint32_t index) const noexcept {
    return BlockEntry{words[index].load(std::memory_order_acquire)};
  }
  void put(std::uint32_t index, BlockEntry entry) noexcept {
    words[index].store(entry.word(), std::memory_order_release);
  }

  std::array<std::atomic<std::uint64_t>, kEntries> words{};  ///< BlockEntry each.
  /// Since the clock's hand passed. Any thread sets it: apart from what the owner changes with
  /// every allocation.
  alignas(64) std::atomic<bool> used{false};

  alignas(64) std::uint8_t dirty = 0;  ///< One bit for each 512 bytes that differ from the file.
  std::uint64_t round = 0;             ///< The flush that writes it, while that is on its way.
  struct Loading {
    HostCall call;
    std::array<Be32, kEntries> entries{};
  };
  std::unique_ptr<Loading> loading;  ///< Null once it is loaded.
};

/// A stretch of bytes to write, copied so that it stays as it was.
struct Snapshot {
  FileOffset at{};
  std::vector<std::byte> bytes;
};

/// Not thread safe, but for in_memory(): a page that a reader on another thread has found stays as
/// it is, entries that its owner changes aside, until that reader's look-up has ended.
class BatCache {
 public:
  BatCache(const ParsedImage& image, std::uint64_t budget_bytes, std::uint64_t seed);
  void share(Readers& readers) noexcept { limbo_.share(readers); }

  /// The page of `block`, else null: the hot path. It stays until the next load(), for a reader
  /// until its look-up ends. Any thread.
  BatPage* in_memory(std::uint32_t block) const noexcept {
    BatPage* const page = homes_[block / BatPage::kEntries].load(std::memory_order_acquire);
    if (page != nullptr && !page->used.load(std::memory_order_relaxed))
      page->used.store(true, std::memory_order_relaxed);
    return page;
  }

  /// Loads the page that holds `block`. When empty, entry() answers until the next load().
  Pending load(std::uint32_t block) noexcept;
  BlockEntry entry(std::uint32_t block) const noexcept {
    return pages_[block / BatPage::kEntries]->entry(block % BatPage::kEntries);
  }
  void complete(std::uint32_t page, std::int32_t result) noexcept;

  /// Loads what has never been loaded, so that every claim is known. Empty: all are.
  Pending load_all() noexcept;
  bool all_seen() const noexcept { return unseen_ == 0; }

  /// Gives `block` another place, or none; its page is loaded.
  void set(std::uint32_t block, BlockEntry entry) noexcept;
  /// What is known of `block`, where it is; its page is loaded.
  void learn(std::uint32_t block, BlockEntry entry) noexcept;
  /// `bits` are not to be found through the entry of `block` any more, if they were: its state is
  /// full, or unknown.
  void hide_bits(std::uint32_t block, const SectorBits& bits, BlockState state) noexcept;
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
  void mark_rival_shared(std::uint32_t rival) noexcept;
  void make_room() noexcept;

  const ParsedImage& image_;
  // Where other threads find pages; null while not loaded.
  std::unique_ptr<std::atomic<BatPage*>[]> homes_;
  std::uint64_t most_pages_;
  std::uint64_t data_limit_;
  BlockClaims claims_;
  std::vector<std::unique_ptr<BatPage>> pages_;
  std::vector<bool> seen_;
  std::size_t unseen_;
  std::uint32_t scan_ = 0;
  std::size_t in_memory_ = 0;
  std::size_t hand_ = 0;
  Limbo<BatPage> limbo_;
  std::size_t dirty_pages_ = 0;
  std::uint64_t finished_round_ = 0;
  std::optional<Error> damage_;
};

}  // namespace openvhd::vhd
