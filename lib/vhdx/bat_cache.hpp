/// Pages of the block allocation table and of sector bitmap blocks: loaded when first needed,
/// kept under a budget, pinned while they hold what the file does not say yet.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <openvhd/error.hpp>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "io/layer.hpp"
#include "io/readers.hpp"
#include "vhdx/bitmaps.hpp"
#include "vhdx/engine_transfer.hpp"
#include "vhdx/layout.hpp"

namespace openvhd::vhdx {

inline constexpr std::uint64_t kTablePageBytes = 64 * kKiB;
inline constexpr std::uint64_t kTablePageWords = kTablePageBytes / sizeof(std::uint64_t);
/// Metadata goes through the log in sectors of 4 KiB.
inline constexpr std::uint64_t kPageSectors = kTablePageBytes / kLogSectorBytes;

struct TablePage {
  alignas(4096) std::array<TableWord, kTablePageWords> words{};  ///< As on disk.
  FileOffset at{};         ///< In the file; a multiple of kTablePageBytes.
  bool is_bitmap = false;  ///< Of a sector bitmap block; else of the BAT.

  /// Sectors that changed since the journal last took them, as bits.
  std::uint16_t dirty = 0;
  /// Copies of this page's sectors that the journal has not yet written in place.
  std::uint32_t journaled = 0;
  std::size_t frame = 0;  ///< The cache's.
  /// Used since a page was last looked for that could leave. Any thread sets it: apart from what
  /// the owner changes with every allocation.
  alignas(64) std::atomic<bool> referenced = false;

  std::span<TableWord> all() noexcept { return words; }
};

/// Where a page is found without a search: null while it is not in memory.
using PageHome = std::atomic<TablePage*>;

/// Not thread safe, but for in_memory(): a page that a reader on another thread has found stays
/// as it is, words that its owner changes aside, until that reader's look-up has ended.
class TableCache {
 public:
  /// Holds `budget_bytes` of pages, kMinPages at least, and kPagesPerOperation more for each
  /// operation on its way. Pinned ones may exceed it: their owner relieves the cache when
  /// crowded() says so.
  explicit TableCache(std::uint64_t budget_bytes) noexcept;

  static constexpr std::size_t kMinPages = 16;
  /// What one operation may need at once, and one to spare: then there is always a page that
  /// nobody waits for, and operations do not take each other's pages away for ever.
  static constexpr std::size_t kPagesPerOperation = 4;
  void set_operations(std::size_t count) noexcept { operations_ = count; }

  /// From now on a page that leaves waits for look-ups of these readers before its memory is used
  /// again. Nobody waits for it: another frame is made meanwhile.
  void share(Readers& readers) noexcept { readers_ = &readers; }

  /// The page behind `home` when it is in memory: the hot path. It stays until the next call
  /// that may load a page; for a reader on another thread, until its look-up ends. Any thread.
  static TablePage* in_memory(const PageHome& home) noexcept {
    TablePage* page = home.load(std::memory_order_acquire);
    if (page != nullptr && !page->referenced.load(std::memory_order_relaxed)) {
      page->referenced.store(true, std::memory_order_relaxed);
    }
    return page;
  }

  /// The page at `at`, found through `home`: at once when it is in memory; else a command that
  /// loads it. Wait: another caller's command is loading it, or other pages' loads fill the
  /// budget. A load that failed is reported to the first who asks afterwards; the next one tries
  /// again. The page stays until the next begin_call().
  Step<TablePage*> get(PageHome& home, FileOffset at, bool is_bitmap) noexcept;

  /// An answer may need several pages at once: they stay from one begin_call() to the next.
  void begin_call() noexcept { ++call_; }

  /// A page of zeros for one that is a hole in the file, without loading it.
  TablePage* make_zero(PageHome& home, FileOffset at) noexcept;

  /// The result of a load. When that completes the page it is returned, so that its contents
  /// can be judged before anyone sees them: publish() then makes it visible.
  TablePage* complete(std::uint64_t index, std::int32_t result) noexcept;
  void publish(TablePage& page) noexcept;

  /// The 4 KiB sector of `page` that word `index` lies in differs from the file now.
  void mark_dirty(TablePage& page, std::uint64_t index) noexcept;
  /// Pages with dirty sectors. Whoever takes them pins them and then cleans them.
  std::vector<TablePage*> take_dirty() noexcept { return std::exchange(dirty_pages_, {}); }
  bool any_dirty() const noexcept { return !dirty_pages_.empty(); }
  void clean(TablePage& page) noexcept;
  /// One more, one fewer copy of a sector of `page` is in the journal.
  void pin(TablePage& page) noexcept;
  void unpin(TablePage& page) noexcept;

  /// More than half of the budget is pinned: the journal should be written in place before more
  /// changes.
  bool crowded() const noexcept { return pinned_ > budget_ / 2; }

 private:
  enum class State : std::uint8_t { free, loading, ready, failed, retired };
  struct Frame {
    TablePage page;
    PageHome* home = nullptr;
    State state = State::free;
    std::uint64_t used = 0;  // the begin_call() in which it was last given out, or later
    std::optional<Transfer> load;
  };

  static bool is_pinned(const TablePage& page) noexcept {
    return page.dirty != 0 || page.journaled != 0;
  }
  Frame& frame_of(const TablePage& page) noexcept { return *frames_[page.frame]; }
  /// A load of this home that has not been published, or null.
  Frame* pending(const PageHome& home) noexcept;
  /// A frame to fill, or null when the budget is all loads.
  Frame* acquire(PageHome& home, FileOffset at, bool is_bitmap) noexcept;
  /// The pages that were not used for longest become free, unless pinned or in use; where there
  /// are readers, once look-ups that may have found them have ended.
  void evict() noexcept;
  void reclaim() noexcept;
  /// Frames that hold a page or are free to.
  std::size_t held() const noexcept { return frames_.size() - vacant_.size() - limbo_.size(); }
  std::size_t capacity() const noexcept { return budget_ + kPagesPerOperation * operations_; }
  void release(Frame& frame) noexcept;

  static constexpr std::size_t kEvictedAtOnce = 16;
  /// Pages out of sight that somebody may still look at; with more, none is evicted and the cache
  /// exceeds its budget: a reader that the host's scheduler keeps away is not waited for.
  static constexpr std::size_t kMostInLimbo = 64;
  struct Retired {
    Frame* frame = nullptr;
    std::uint64_t retired = 0;
  };

  std::size_t budget_;  // pages
  std::size_t operations_ = 0;
  Readers* readers_ = nullptr;
  std::vector<std::unique_ptr<Frame>> frames_;  // null: vacant
  std::vector<std::size_t> free_;
  std::vector<std::size_t> vacant_;   // numbers whose memory was given back
  std::deque<Retired> limbo_;         // oldest first
  std::vector<std::size_t> pending_;  // frames that are loading or failed to
  std::vector<Frame*> candidates_;    // evict()'s
  std::vector<TablePage*> dirty_pages_;
  std::size_t pinned_ = 0;
  std::uint64_t call_ = 1;
};

}  // namespace openvhd::vhdx
