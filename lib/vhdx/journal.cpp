#include "vhdx/journal.hpp"

#include <algorithm>
#include <cstring>
#include <exception>
#include <utility>

#include "vhdx/engine_step.hpp"

namespace openvhd::vhdx {
namespace {

// However large the log is, no more than this much of it is kept in memory to be written in
// place, and no more is built as one entry.
constexpr std::uint64_t kMostUsedSectors = 16 * kMiB / kLogSectorBytes;
constexpr std::uint64_t kMostEntrySectors = 4 * kMiB / kLogSectorBytes;
// Sectors that lie side by side go in place in one command of at most this many pieces.
constexpr std::size_t kMostPieces = 256;

HeaderChange log_guid_change(const Guid& guid) noexcept {
  return {.file_write_guid = std::nullopt, .data_write_guid = std::nullopt, .log_guid = guid};
}

}  // namespace

Journal::Journal(const ParsedImage& image, TableCache& cache, const Space& space, Host& host)
    : cache_{cache},
      space_{space},
      host_{host},
      log_{image.log},
      log_sectors_{image.log.length / kLogSectorBytes},
      // Two entries of this size fit beside each other, with a sector to spare for each: one
      // with a new tail can always be written while the one before it is still needed.
      largest_entry_{std::min((log_sectors_ - 2) / 2, kMostEntrySectors)},
      header_{image.header},
      header_copy_{image.current_header} {}

Step<Ok> Journal::begin() noexcept {
  OVHD_STEP_DONE(drive());
  if (writing_) return Ok{};
  // Nothing has been written yet, and nothing is poisoned.
  if (auto room = require_header_updates(header_, header_copy_); !room) return room.error();
  enter_fence(Stage::begin_fence);
  return drive();
}

Step<Ok> Journal::start_log() noexcept {
  OVHD_STEP_DONE(drive());
  if (logging_) return Ok{};
  enter_fence(Stage::log_fence);
  return drive();
}

Step<Ok> Journal::commit(std::uint64_t group) noexcept {
  if (durable_group_ >= group) return Ok{};
  OVHD_STEP_DONE(drive());
  if (durable_group_ >= group) return Ok{};
  start_commit(false);
  return drive();
}

Step<Ok> Journal::relieve() noexcept {
  OVHD_STEP_DONE(drive());
  if (!cache_.crowded()) return Ok{};
  start_commit(true);
  return drive();
}

Step<Ok> Journal::close(std::uint64_t file_bytes) noexcept {
  OVHD_STEP_DONE(drive());
  if (closed_ || !writing_) return Ok{};
  start_close(file_bytes);
  return drive();
}

std::optional<Error> Journal::refusal() noexcept {
  if (failure_) return std::exchange(failure_, std::nullopt);
  return poison_;
}

void Journal::complete(std::uint64_t index, std::int32_t result) noexcept {
  Transfer& transfer = transfers_[index];
  transfer.complete(result);
  if (transfer.state() == Transfer::State::failed && !poison_) fail(transfer.error());
}

void Journal::fail(const Error& error) noexcept {
  failure_ = error;
  poison_ = error;
  if (error.code != Errc::fenced) {
    poison_->code = Errc::poisoned;
    poison_->what = at_fence() ? "the current header cannot be read back: reopen the image (e.2)"
                               : "an earlier sync or metadata write failed: reopen the image (e.2)";
  }
  stage_ = Stage::idle;
}

Step<Ok> Journal::drive() noexcept {
  for (;;) {
    if (const auto error = refusal()) return *error;
    if (stage_ == Stage::idle) return Ok{};
    bool waiting = false;
    // What is done is not looked at again: writing in place takes up to thousands of these.
    while (first_open_ < transfers_.size() &&
           transfers_[first_open_].state() == Transfer::State::done) {
      ++first_open_;
    }
    for (std::size_t i = first_open_; i < transfers_.size(); ++i) {
      if (transfers_[i].state() == Transfer::State::ready) {
        return transfers_[i].start(make_token(TokenKind::journal, i));
      }
      waiting = waiting || transfers_[i].state() == Transfer::State::in_flight;
    }
    if (waiting) return Wait{};
    next_stage();
  }
}

void Journal::next_stage() noexcept {
  switch (stage_) {
    case Stage::begin_fence:
    case Stage::log_fence:
    case Stage::commit_fence:
    case Stage::close_fence:
      if (fence_holds()) return enter_after_fence();
      return fail({.code = Errc::fenced,
                   .where = kHeaderAt[header_copy_],
                   .what = "header: another writer has changed the image (e.5)"});
    case Stage::begin_header:
    case Stage::begin_sync:
    case Stage::log_entry:
    case Stage::log_header:
      return next_begin_stage();
    case Stage::commit_apply:
    case Stage::commit_sync:
    case Stage::commit_entry:
    case Stage::commit_entry_sync:
    case Stage::commit_relieve:
      return next_commit_stage();
    case Stage::close_apply:
    case Stage::close_sync:
    case Stage::close_header:
    case Stage::close_second_header:
    case Stage::close_resize:
    case Stage::close_resize_sync:
      return next_close_stage();
    case Stage::idle:
      return;
  }
}

void Journal::enter_after_fence() noexcept {
  switch (stage_) {
    case Stage::begin_fence:
      return enter_header(
          Stage::begin_header,
          {.file_write_guid = host_.random_guid(),
           .data_write_guid = data_write_guid_ ? *data_write_guid_ : host_.random_guid(),
           .log_guid = std::nullopt},
          false);
    case Stage::log_fence:
      // The log's old contents must not match: a GUID that was never used (FORMAT 12).
      log_guid_ = host_.random_guid();
      return enter_entry(Stage::log_entry, true);
    case Stage::commit_fence:
      return enter_entry(Stage::commit_entry, group_synced_);
    default:
      return enter_header(Stage::close_header, log_guid_change(Guid{}), true);
  }
}

void Journal::next_begin_stage() noexcept {
  switch (stage_) {
    case Stage::begin_header:
      header_written();
      // A sync rather than a durable write: a size that an earlier process left unsynced must
      // not be lost once the log says that the file is durably this long.
      return enter_sync(Stage::begin_sync);
    case Stage::begin_sync:
      synced();
      writing_ = true;
      return enter(Stage::idle);
    case Stage::log_entry:
      // A header that names a log without an entry is a corrupt image (L01): the entry is first.
      entry_written();
      return enter_header(Stage::log_header, log_guid_change(log_guid_), true);
    default:
      header_written();
      logging_ = true;
      return enter(Stage::idle);
  }
}

void Journal::next_commit_stage() noexcept {
  switch (stage_) {
    case Stage::commit_apply:
      applied();
      return enter_sync(Stage::commit_sync);
    case Stage::commit_sync:
      synced();
      group_synced_ = true;
      if (!group_.empty()) return enter_fence(Stage::commit_fence);
      break;
    case Stage::commit_entry:
      if (entry_needs_sync_) return enter_sync(Stage::commit_entry_sync);
      [[fallthrough]];
    case Stage::commit_entry_sync:
      if (stage_ == Stage::commit_entry_sync) synced();
      entry_written();
      // The log has no room for the rest while it still needs what it holds.
      if (group_logged_ < group_.size()) return enter_apply(Stage::commit_apply);
      break;
    default:
      applied();
      return enter(Stage::idle);
  }
  if (!group_.empty()) ++commits_;
  group_.clear();
  durable_group_ = open_group_ - 1;
  if (relieve_ && !unapplied_.empty()) return enter_apply(Stage::commit_relieve);
  enter(Stage::idle);
}

void Journal::next_close_stage() noexcept {
  switch (stage_) {
    case Stage::close_apply:
      applied();
      return enter_sync(Stage::close_sync);
    case Stage::close_sync:
      synced();
      if (logging_) return enter_fence(Stage::close_fence);
      return enter_resize();
    case Stage::close_header:
      header_written();
      // Both copies say that the log is empty: if one is lost, nothing old is replayed.
      return enter_header(Stage::close_second_header, {}, true);
    case Stage::close_second_header:
      header_written();
      logging_ = false;
      return enter_resize();
    case Stage::close_resize:
      return enter_sync(Stage::close_resize_sync);
    default:
      closed_ = true;
      return enter(Stage::idle);
  }
}

void Journal::start_commit(bool relieve) noexcept {
  relieve_ = relieve;
  group_logged_ = 0;
  for (TablePage* page : cache_.take_dirty()) take_page(*page);
  ++open_group_;
  // When the group takes several entries, a crash may keep the first ones alone. So bitmaps go
  // before the table that says that they count; and the table backwards, because the entry of a
  // sector bitmap lies behind the payload entries that depend on it (X15).
  std::ranges::sort(group_, [](const Copy& a, const Copy& b) {
    if (a.page->is_bitmap != b.page->is_bitmap) return a.page->is_bitmap;
    return a.at > b.at;
  });
  group_synced_ = false;
  const bool data_first = std::exchange(data_first_, false);
  if (group_needs_apply()) return enter_apply(Stage::commit_apply);
  // The tail moves only past what is synced in place: without that the log would fill up.
  if (data_first || group_.empty() || !in_place_synced_) return enter_sync(Stage::commit_sync);
  enter_fence(Stage::commit_fence);
}

void Journal::take_page(TablePage& page) noexcept {
  constexpr std::size_t kWords = kLogSectorBytes / sizeof(TableWord);
  for (std::size_t sector = 0; sector < kPageSectors; ++sector) {
    if ((page.dirty >> sector & 1) == 0) continue;
    Copy copy{.at = page.at + sector * kLogSectorBytes,
              .page = &page,
              .sector = std::make_unique<Sector>()};
    for (std::size_t i = 0; i < kWords; ++i) {
      const std::uint64_t word = page.words[sector * kWords + i].load(std::memory_order_relaxed);
      std::memcpy(copy.sector->bytes.data() + i * sizeof word, &word, sizeof word);
    }
    cache_.pin(page);
    group_.push_back(std::move(copy));
  }
  cache_.clean(page);
}

bool Journal::group_needs_apply() const noexcept {
  if (unapplied_.empty() || group_.empty()) return false;
  const std::uint64_t wanted =
      std::min(log_entry_bytes(group_.size(), 0) / kLogSectorBytes, largest_entry_);
  return used_sectors() + wanted > std::min(log_sectors_ / 2, kMostUsedSectors);
}

void Journal::start_close(std::uint64_t file_bytes) noexcept {
  close_bytes_ = file_bytes;
  if (!unapplied_.empty()) return enter_apply(Stage::close_apply);
  enter_sync(Stage::close_sync);
}

void Journal::enter(Stage stage) noexcept {
  stage_ = stage;
  transfers_.clear();
  first_open_ = 0;
}

void Journal::enter_fence(Stage stage) noexcept {
  enter(stage);
  transfers_.emplace_back(IoCommand::Kind::read, kHeaderAt[header_copy_],
                          std::vector<iovec>{{fence_.bytes.data(), fence_.bytes.size()}}, false,
                          "header (2.2.2): read before writing");
}

bool Journal::at_fence() const noexcept {
  return stage_ == Stage::begin_fence || stage_ == Stage::log_fence ||
         stage_ == Stage::commit_fence || stage_ == Stage::close_fence;
}

bool Journal::fence_holds() const noexcept {
  const auto found = load<Header>(fence_.bytes);
  return found.signature == kHeaderSignature && found.sequence_number == header_.sequence_number &&
         found.file_write_guid.value() == header_.file_write_guid.value();
}

void Journal::enter_header(Stage stage, const HeaderChange& change, bool durable) noexcept {
  const auto update = next_header(header_, header_copy_, change);
  if (!update) return fail(update.error());
  enter(stage);
  header_update_ = *update;
  header_block_.bytes = header_update_.bytes;
  transfers_.emplace_back(
      IoCommand::Kind::write, header_update_.at,
      std::vector<iovec>{{header_block_.bytes.data(), header_block_.bytes.size()}}, durable,
      "header (2.2.2): write");
}

void Journal::header_written() noexcept {
  header_ = header_update_.header;
  header_copy_ = header_update_.copy;
}

void Journal::enter_sync(Stage stage) noexcept {
  enter(stage);
  bytes_at_sync_ = space_.file_bytes();
  growths_at_sync_ = space_.growths();
  transfers_.emplace_back(IoCommand::Kind::sync, FileOffset{}, 0, "sync of the image");
}

void Journal::synced() noexcept {
  synced_bytes_ = bytes_at_sync_;
  durable_growths_ = growths_at_sync_;
  in_place_synced_ = true;
}

void Journal::enter_apply(Stage stage) noexcept {
  enter(stage);
  std::vector<iovec> pieces;
  FileOffset start{};
  const auto put = [&] {
    if (pieces.empty()) return;
    transfers_.emplace_back(IoCommand::Kind::write, start, std::exchange(pieces, {}), false,
                            "metadata: write in place");
  };
  for (const auto& [at, copy] : unapplied_) {
    const bool adjacent = start.value + pieces.size() * kLogSectorBytes == at;
    if (!adjacent || pieces.size() == kMostPieces) put();
    if (pieces.empty()) start = {at};
    pieces.push_back({copy.sector->bytes.data(), kLogSectorBytes});
  }
  put();
}

void Journal::applied() noexcept {
  for (const auto& [at, copy] : unapplied_) cache_.unpin(*copy.page);
  unapplied_.clear();
  in_place_synced_ = false;
}

std::uint64_t Journal::used_sectors() const noexcept {
  return (write_sector_ + log_sectors_ - tail_sector_) % log_sectors_;
}

std::uint64_t Journal::room_sectors() const noexcept {
  // One sector stays free, so that a full ring is not an empty one (FORMAT 37).
  return std::min(log_sectors_ - used_sectors() - 1, largest_entry_);
}

std::size_t Journal::copies_that_fit() const noexcept {
  const std::uint64_t room = room_sectors();
  if (room < 2) std::terminate();  // half of the log is free, or has been made so
  std::uint64_t copies = std::min<std::uint64_t>(room - 1, group_.size() - group_logged_);
  while (descriptor_sectors(copies) + copies > room) --copies;
  return copies;
}

/// `alone`: what must be durable with it is so already.
void Journal::enter_entry(Stage stage, bool alone) noexcept {
  enter(stage);
  entry_copies_ = copies_that_fit();
  std::vector<LogWrite> writes;
  for (std::size_t i = 0; i < entry_copies_; ++i) {
    const Copy& copy = group_[group_logged_ + i];
    writes.push_back({.at = copy.at, .bytes = copy.sector->bytes.data()});
  }
  // The tail may move to this entry when nothing before it is needed any more.
  entry_tail_ = unapplied_.empty() && in_place_synced_ ? write_sector_ : tail_sector_;
  entry_.resize(log_entry_bytes(writes.size(), 0) / kLogSectorBytes);
  const std::span<std::byte> bytes{entry_.front().bytes.data(), entry_.size() * sizeof(Sector)};
  build_log_entry({.log_guid = log_guid_,
                   .sequence = sequence_ + 1,
                   .tail = narrow<std::uint32_t>(entry_tail_ * kLogSectorBytes),
                   .flushed_file_bytes = synced_bytes_,
                   .last_file_bytes = space_.file_bytes(),
                   .writes = writes,
                   .zeros = {}},
                  bytes);
  const std::size_t before_end =
      std::min(entry_.size(), static_cast<std::size_t>(log_sectors_ - write_sector_));
  // Around the end of the log it takes two writes: one sync for both, not one for each.
  entry_needs_sync_ = !alone || before_end < entry_.size();
  const auto put = [&](std::uint64_t sector, std::span<std::byte> part) {
    if (part.empty()) return;
    transfers_.emplace_back(IoCommand::Kind::write, log_.at + sector * kLogSectorBytes,
                            std::vector<iovec>{{part.data(), part.size()}}, !entry_needs_sync_,
                            "log entry (2.3.1): write");
  };
  put(write_sector_, bytes.first(before_end * kLogSectorBytes));
  put(0, bytes.subspan(before_end * kLogSectorBytes));
}

void Journal::entry_written() noexcept {
  ++sequence_;
  tail_sector_ = entry_tail_;
  write_sector_ = (write_sector_ + entry_.size()) % log_sectors_;
  for (std::size_t i = 0; i < entry_copies_; ++i) {
    Copy& copy = group_[group_logged_ + i];
    auto [place, fresh] = unapplied_.try_emplace(copy.at.value);
    if (!fresh) cache_.unpin(*place->second.page);
    place->second = std::move(copy);
  }
  group_logged_ += entry_copies_;
}

void Journal::enter_resize() noexcept {
  if (close_bytes_ == space_.file_bytes()) {
    closed_ = true;
    return enter(Stage::idle);
  }
  enter(Stage::close_resize);
  transfers_.emplace_back(IoCommand::Kind::set_size, FileOffset{close_bytes_}, 0,
                          "file size of a closed image");
}

}  // namespace openvhd::vhdx
