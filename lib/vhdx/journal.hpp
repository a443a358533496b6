/// The journal owner of an image ([MS-VHDX] 2.2.2, 2.3): headers, log entries, and writing
/// metadata in place. What changes in table pages reaches the file through here and nowhere else.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <openvhd/error.hpp>
#include <optional>
#include <vector>

#include "io/host.hpp"
#include "io/layer.hpp"
#include "vhdx/bat_cache.hpp"
#include "vhdx/header_writer.hpp"
#include "vhdx/image_state.hpp"
#include "vhdx/log_format.hpp"
#include "vhdx/space.hpp"

namespace openvhd::vhdx {

/// Groups. Changes collect in table pages; commit() takes copies of the dirty sectors as one
/// group, then makes them durable: sync (the data that they stand for, and what was written in
/// place earlier), log entry, done. Where it does not matter which of data and entry is durable
/// first, one sync behind both does. In place they are written later, before a following sync,
/// when half of the log is in use. A log entry needs the ones before it from its tail on; the
/// tail moves when those are in place and synced.
///
/// One plan is on its way at a time, whoever drives it: every step either answers, hands out a
/// command, or waits for one. A command that fails poisons the journal: the first to ask gets the
/// reason, everyone later Errc::poisoned. Not thread safe.
class Journal {
 public:
  /// All borrowed. The log of `image` is empty.
  Journal(const ParsedImage& image, TableCache& cache, const Space& space, Host& host);

  const Header& header() const noexcept { return header_; }
  /// What begin() makes of DataWriteGuid, in place of a random one.
  void set_data_write_guid(const Guid& guid) noexcept { data_write_guid_ = guid; }

  /// True when the header says that the file is being written: FileWriteGuid and DataWriteGuid
  /// are new and durable (X19). begin() makes it so.
  bool writing() const noexcept { return writing_; }
  Step<Ok> begin() noexcept;

  /// True when the header names a log with a first entry, so that commits may follow. start_log()
  /// makes it so.
  bool logging() const noexcept { return logging_; }
  Step<Ok> start_log() noexcept;

  /// The data that a change in the open group stands for must be durable before the change is: what
  /// its place held before is not what the disk held there (L09, D4).
  void require_data_first() noexcept { data_first_ = true; }
  /// Space::growths() when the last sync that has completed was issued: what has been grown or
  /// zeroed until then is durably so.
  std::uint64_t durable_growths() const noexcept { return durable_growths_; }

  /// The group that changes made now belong to.
  std::uint64_t open_group() const noexcept { return open_group_; }
  std::uint64_t durable_group() const noexcept { return durable_group_; }
  /// Groups that had anything in them, and are durable.
  std::uint64_t commits() const noexcept { return commits_; }
  bool idle() const noexcept { return stage_ == Stage::idle; }
  /// Makes `group` durable: the open one, or one that is on its way.
  Step<Ok> commit(std::uint64_t group) noexcept;
  /// When the cache is crowded with pages that the journal pins: commits what is dirty and writes
  /// everything in place, so that no page stays pinned.
  Step<Ok> relieve() noexcept;

  /// With everything committed: writes all in place, empties the log in both headers, and makes
  /// the file `file_bytes` long. Does only what is needed.
  Step<Ok> close(std::uint64_t file_bytes) noexcept;

  void complete(std::uint64_t index, std::int32_t result) noexcept;

  /// Why nothing can be changed any more: the reason itself for the first who asks.
  std::optional<Error> refusal() noexcept;
  bool failed() const noexcept { return poison_.has_value(); }
  bool closed() const noexcept { return closed_; }

 private:
  enum class Stage : std::uint8_t {
    idle,
    begin_fence,
    begin_header,
    begin_sync,
    log_fence,
    log_entry,
    log_header,
    commit_apply,
    commit_sync,
    commit_fence,
    commit_entry,
    commit_entry_sync,
    commit_relieve,
    close_apply,
    close_sync,
    close_fence,
    close_header,
    close_second_header,
    close_resize,
    close_resize_sync,
  };
  struct alignas(4096) Sector {
    std::array<std::byte, kLogSectorBytes> bytes;
  };
  static_assert(sizeof(Sector) == kLogSectorBytes);
  /// A sector of a page as it was when its group was taken.
  struct Copy {
    FileOffset at{};
    TablePage* page = nullptr;
    std::unique_ptr<Sector> sector;
  };

  Step<Ok> drive() noexcept;
  void fail(const Error& error) noexcept;
  void next_stage() noexcept;
  void next_begin_stage() noexcept;
  void next_commit_stage() noexcept;
  void next_close_stage() noexcept;

  void enter(Stage stage) noexcept;
  void enter_fence(Stage stage) noexcept;
  void enter_header(Stage stage, const HeaderChange& change, bool durable) noexcept;
  void enter_sync(Stage stage) noexcept;
  void enter_apply(Stage stage) noexcept;
  void enter_entry(Stage stage, bool alone) noexcept;
  void enter_after_fence() noexcept;
  void enter_resize() noexcept;
  bool at_fence() const noexcept;
  bool fence_holds() const noexcept;
  void header_written() noexcept;
  void synced() noexcept;
  void applied() noexcept;
  void entry_written() noexcept;

  void start_commit(bool relieve) noexcept;
  void start_close(std::uint64_t file_bytes) noexcept;
  void take_page(TablePage& page) noexcept;
  bool group_needs_apply() const noexcept;
  std::uint64_t used_sectors() const noexcept;
  std::uint64_t room_sectors() const noexcept;
  std::size_t copies_that_fit() const noexcept;

  TableCache& cache_;
  const Space& space_;
  Host& host_;
  Area log_;
  std::uint64_t log_sectors_;
  std::uint64_t largest_entry_;  // in sectors

  Header header_;
  std::optional<Guid> data_write_guid_;
  unsigned header_copy_;
  HeaderUpdate header_update_{};
  bool writing_ = false;
  bool logging_ = false;
  bool closed_ = false;
  Guid log_guid_;

  Stage stage_ = Stage::idle;
  std::vector<Transfer> transfers_;
  std::size_t first_open_ = 0;  // transfers before it are done
  Sector fence_{};
  Sector header_block_{};
  std::optional<Error> failure_;  // the reason, until somebody has been told
  std::optional<Error> poison_;

  std::uint64_t open_group_ = 1;
  std::uint64_t durable_group_ = 0;
  std::uint64_t commits_ = 0;
  bool relieve_ = false;
  std::vector<Copy> group_;                  // in the order in which it must become durable
  std::size_t group_logged_ = 0;             // copies in entries that are durable
  std::size_t entry_copies_ = 0;             // of the entry being written
  std::map<std::uint64_t, Copy> unapplied_;  // by place: durable in the log, not in place
  bool in_place_synced_ = true;              // nothing was written in place since a sync

  std::vector<Sector> entry_;
  bool data_first_ = false;    // of the open group
  bool group_synced_ = false;  // the one on its way: what it stands for is durable
  bool entry_needs_sync_ = false;
  std::uint64_t sequence_ = 0;  // of the last entry
  std::uint64_t write_sector_ = 0;
  std::uint64_t tail_sector_ = 0;    // durable
  std::uint64_t entry_tail_ = 0;     // of the entry being written
  std::uint64_t synced_bytes_ = 0;   // the file is durably this long
  std::uint64_t bytes_at_sync_ = 0;  // its size when the sync on its way was issued
  std::uint64_t durable_growths_ = 0;
  std::uint64_t growths_at_sync_ = 0;
  std::uint64_t close_bytes_ = 0;
};

}  // namespace openvhd::vhdx
