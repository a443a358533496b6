#include "vhdx/compact.hpp"

#include <algorithm>
#include <utility>

#include "base/try.hpp"
#include "vhdx/region_edit.hpp"
#include "vhdx/zero_blocks.hpp"

namespace openvhd::vhdx {
namespace {

// A batch ends when one of these is reached: what a crash repeats, and what a log entry holds.
constexpr std::uint64_t kBatchBytes = 256 * kMiB;
constexpr std::size_t kBatchSectors = 128;

}  // namespace

std::uint64_t Compactor::length_of(std::uint64_t index) const noexcept {
  return is_bitmap_index(index, image_.counts.chunk_ratio) ? kBitmapBlockBytes
                                                           : image_.geometry.block_size;
}

Result<Compactor> Compactor::plan(File& file, ParsedImage image, const CompactSpec& spec) {
  if (image.type() == DiskType::fixed) {
    return Error{.code = Errc::unsupported,
                 .what = "a fixed disk keeps its space: nothing to compact (FORMAT 2.6.2.1)"};
  }
  OVHD_TRY(OwnedSpace owned, read_owned_space(file, image));
  Compactor out{std::move(image), std::move(owned)};
  out.summary_.file_bytes = out.size_now_ = out.image_.file_bytes;
  OVHD_CHECK(out.find_releases(file, spec));
  std::ranges::sort(out.owned_.blocks, {}, &OwnedBlock::at);
  out.still_ = out.owned_.blocks.size();
  if (spec.move) {
    out.plan_table_move();
    out.plan_moves();
  }
  const auto table_to = std::exchange(out.table_to_, std::nullopt);
  out.summary_.file_bytes_after =
      std::min(out.end_of_rest(out.moves_.size()), out.summary_.file_bytes);
  out.table_to_ = table_to;
  return out;
}

void Compactor::release(const OwnedBlock& block, BatEntry entry) {
  releases_.push_back({block, entry});
  summary_.released_bytes += length_of(block.index);
  owned_.map.release(block.at.value / kAlignment, length_of(block.index) / kAlignment);
}

Status Compactor::find_releases(File& file, const CompactSpec& spec) {
  ZeroScan scan{file, image_, owned_};
  std::vector<OwnedBlock> live;
  live.reserve(owned_.blocks.size());
  std::uint64_t done = 0;
  for (const OwnedBlock& block : owned_.blocks) {
    if (block.anchor) {
      release(block, BatEntry::make(block.entry.payload_state(), FileOffset{}));
      continue;
    }
    if (spec.find_zeros && !block.is_bitmap(image_.counts.chunk_ratio)) {
      if (spec.progress && !spec.progress(done, owned_.allocated)) {
        return Error{.code = Errc::cancelled, .what = "stopped on request: nothing was changed"};
      }
      done += image_.geometry.block_size;
      OVHD_TRY(const auto entry, scan.without_space(block));
      if (entry) {
        ++summary_.zero_blocks;
        release(block, *entry);
        continue;
      }
    }
    live.push_back(block);
  }
  owned_.blocks = std::move(live);
  if (image_.has_parent) release_idle_bitmaps();
  return Ok{};
}

/// A sector bitmap that no PARTIALLY_PRESENT block needs.
void Compactor::release_idle_bitmaps() {
  const std::uint64_t ratio = image_.counts.chunk_ratio;
  std::vector<bool> needed(image_.counts.bitmap_blocks);
  for (const OwnedBlock& block : owned_.blocks) {
    if (block.is_bitmap(ratio)) continue;
    if (block.entry.payload_state() != PayloadState::partially_present) continue;
    needed[chunk_of_index(block.index, ratio)] = true;
  }
  std::erase_if(owned_.blocks, [&](const OwnedBlock& block) {
    if (!block.is_bitmap(ratio) || needed[chunk_of_index(block.index, ratio)]) return false;
    release(block, BatEntry::make(BitmapState::not_present, FileOffset{}));
    return true;
  });
}

std::uint64_t Compactor::pinned_end() const noexcept {
  std::uint64_t end = 0;
  for (const OwnedRange& range : image_.fixed) {
    end = std::max(end, range.at.value + range.length);
  }
  return end;
}

/// A table that is the last thing that cannot move would keep the file long.
void Compactor::plan_table_move() {
  const Area& bat = image_.bat;
  if (bat.at.value + bat.length != pinned_end()) return;
  const std::uint64_t count = bat.length / kAlignment;
  const auto found = owned_.map.find_clear(1, bat.at.value / kAlignment, count);
  if (!found) return;
  owned_.map.release(bat.at.value / kAlignment, count);
  owned_.map.mark(*found, count);
  table_to_ = FileOffset{*found * kAlignment};
  const auto range = std::ranges::find(image_.fixed, bat.at, &OwnedRange::at);
  range->at = *table_to_;
  summary_.moved_bytes += bat.length;
}

/// From the end of the file down, into the lowest hole that is large enough. Holes only get
/// smaller meanwhile: the space that a block leaves lies above all that are still to move.
void Compactor::plan_moves() {
  const std::uint64_t ratio = image_.counts.chunk_ratio;
  const std::uint64_t pinned = pinned_end();
  std::uint64_t lowest[2] = {1, 1};  // MiB; below it nothing fits: payload, bitmap
  while (still_ > 0) {
    const OwnedBlock& block = owned_.blocks[still_ - 1];
    // Below what cannot move, the file would not get shorter.
    if (block.at.value < pinned) break;
    const bool bitmap = block.is_bitmap(ratio);
    if (bitmap && !image_.has_parent) break;  // somebody else's: stays
    const std::uint64_t count = length_of(block.index) / kAlignment;
    const auto found = owned_.map.find_clear(lowest[bitmap], block.at.value / kAlignment, count);
    if (!found) break;
    lowest[bitmap] = *found;
    owned_.map.mark(*found, count);
    const FileOffset to{*found * kAlignment};
    moves_.push_back({.index = block.index,
                      .entry = {(block.entry.raw & (kAlignment - 1)) | to.value},
                      .from = block.at,
                      .to = to,
                      .length = count * kAlignment,
                      .highest_end = std::max(moves_.empty() ? 0 : moves_.back().highest_end,
                                              to.value + count * kAlignment)});
    ++summary_.moved_blocks;
    summary_.moved_bytes += count * kAlignment;
    --still_;
  }
}

/// Where the file ends once so many moves are done: moves go from the end down.
std::uint64_t Compactor::end_of_rest(std::size_t moves_done) const noexcept {
  std::uint64_t end = pinned_end();
  if (still_ > 0) {
    const OwnedBlock& last = owned_.blocks[still_ - 1];
    end = std::max(end, last.at.value + length_of(last.index));
  }
  if (moves_done > 0) end = std::max(end, moves_[moves_done - 1].highest_end);
  if (moves_done < moves_.size()) {
    const Move& first = moves_[moves_done];
    end = std::max(end, first.from.value + first.length);
  }
  if (table_to_) end = std::max(end, image_.bat.at.value + image_.bat.length);
  return align_up(end, kAlignment);
}

Status Compactor::begin(Host& host) {
  OVHD_TRY(session_, EditSession::open(image_, host));
  return Ok{};
}

Status Compactor::put_entry(File& file, std::uint64_t index, BatEntry entry, SectorEdits& edits) {
  std::array<std::byte, kBatEntryBytes> bytes{};
  store(std::span<std::byte>{bytes}, Le64{entry.raw});
  return edits.put(file, image_.bat.at + index * kBatEntryBytes, bytes);
}

Result<std::optional<std::vector<FileStep>>> Compactor::batch(EditSession::Change change) {
  OVHD_TRY(auto steps, session_->steps(std::move(change)));
  return std::optional{std::move(steps)};
}

Result<std::optional<std::vector<FileStep>>> Compactor::next(File& file) {
  batch_bytes_before_ = size_now_;
  if (released_ < releases_.size()) return release_batch(file);
  if (table_to_) return table_batch(file);
  const std::uint64_t end = end_of_rest(moves_.size());
  if (moved_ < moves_.size()) return move_batch(file);
  if (end >= size_now_) return std::optional<std::vector<FileStep>>{};
  // Nothing to change but the size: space behind all that anybody owns.
  EditSession::Change change{.file_bytes = size_now_};
  change.after.push_back(size_step(end, "file size of a compact image"));
  size_now_ = end;
  return batch(std::move(change));
}

Result<std::optional<std::vector<FileStep>>> Compactor::release_batch(File& file) {
  EditSession::Change change{.file_bytes = size_now_};
  const std::uint64_t end = end_of_rest(0);
  while (released_ < releases_.size() && change.edits.sectors() < kBatchSectors) {
    const Release& release = releases_[released_++];
    OVHD_CHECK(put_entry(file, release.block.index, release.entry, change.edits));
    const std::uint64_t at = release.block.at.value;
    if (at >= end) continue;
    change.after.push_back(optionally(range_step(IoCommand::Kind::punch, {at},
                                                 std::min(length_of(release.block.index), end - at),
                                                 "space of blocks that need none")));
  }
  return batch(std::move(change));
}

Result<std::optional<std::vector<FileStep>>> Compactor::table_batch(File& file) {
  EditSession::Change change{.file_bytes = size_now_};
  const Area to{.at = *table_to_, .length = image_.bat.length};
  change.before.push_back(copy_step(image_.bat.at, to.at, to.length, "BAT region: move"));
  OVHD_CHECK(put_bat_region(file, image_, to, change.edits));
  image_.bat = to;
  table_to_.reset();
  return batch(std::move(change));
}

Result<std::optional<std::vector<FileStep>>> Compactor::move_batch(File& file) {
  EditSession::Change change;
  const std::uint64_t end = end_of_rest(moved_);
  if (end > size_now_) {
    // The last block may be cut off in the file (old QEMU): all of it moves.
    change.before.push_back(range_step(IoCommand::Kind::reserve, {size_now_}, end - size_now_,
                                       "space at the end of the file"));
    size_now_ = end;
  }
  change.file_bytes = size_now_;
  std::uint64_t bytes = 0;
  while (moved_ < moves_.size() && bytes < kBatchBytes && change.edits.sectors() < kBatchSectors) {
    const Move& move = moves_[moved_++];
    change.before.push_back(copy_step(move.from, move.to, move.length, "block: move"));
    OVHD_CHECK(put_entry(file, move.index, move.entry, change.edits));
    bytes += move.length;
  }
  const std::uint64_t after = end_of_rest(moved_);
  change.after.push_back(size_step(after, "file size of a compact image"));
  size_now_ = after;
  return batch(std::move(change));
}

}  // namespace openvhd::vhdx
