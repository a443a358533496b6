#include "vhdx/resize.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "base/try.hpp"
#include "vhdx/edit.hpp"
#include "vhdx/headers.hpp"
#include "vhdx/owned_space.hpp"
#include "vhdx/parse.hpp"
#include "vhdx/region_edit.hpp"

namespace openvhd::vhdx {
namespace {

constexpr std::uint64_t kPieceBytes = 256 * kKiB;

/// Everything a plan is made of while it is being made.
class Planner {
 public:
  Planner(File& file, ParsedImage image, OwnedSpace owned, std::uint64_t virtual_bytes)
      : file_{file},
        image_{std::move(image)},
        owned_{std::move(owned)},
        bytes_{virtual_bytes},
        counts_{bat_counts(virtual_bytes, image_.geometry.logical_sector_size,
                           image_.geometry.block_size, image_.has_parent)},
        end_{align_up(std::max(image_.file_bytes, owned_.map.end() * kAlignment), kAlignment)} {}

  Result<ResizePlan> plan(EditSession session) {
    most_entry_ = session.most_entry_bytes();
    change_.visible = true;
    OVHD_CHECK(bytes_ > image_.geometry.virtual_size ? grow() : shrink());
    OVHD_CHECK(put_size());
    change_.file_bytes = end_;
    ResizePlan out{.file_bytes = image_.file_bytes, .file_bytes_after = end_};
    if (bytes_ < image_.geometry.virtual_size) give_back(out);
    out.table_moved = table_.at != image_.bat.at;
    OVHD_TRY(out.steps, session.steps(std::move(change_)));
    return out;
  }

 private:
  std::uint64_t ratio() const { return counts_.chunk_ratio; }
  std::uint64_t block_bytes() const { return image_.geometry.block_size; }
  std::uint64_t old_blocks() const { return image_.counts.payload_blocks; }

  Status grow() {
    if (end_ != image_.file_bytes) {
      // The last block may be cut off in the file (old QEMU): it is about to be reached.
      reserve_to(end_);
    }
    OVHD_CHECK(clear_last_block());
    OVHD_CHECK(clear_last_bitmap(image_.geometry.virtual_size));
    const std::uint64_t table_bytes = counts_.entries * kBatEntryBytes;
    if (table_bytes > image_.bat.length) {
      OVHD_CHECK(move_table(align_up(table_bytes, kAlignment)));
    } else if (image_.type() != DiskType::fixed) {
      OVHD_CHECK(clear_entries(old_blocks(), counts_.entries));
    }
    if (image_.type() == DiskType::fixed) OVHD_CHECK(add_fixed_blocks());
    if (end_ > kMaxSpaceBytes) {
      return Error{.code = Errc::unsupported, .what = "the file would be larger than 256 TiB"};
    }
    return Ok{};
  }

  Status shrink() {
    OVHD_CHECK(clear_last_bitmap(bytes_));
    OVHD_CHECK(clear_entries(counts_.payload_blocks, image_.counts.entries));
    return Ok{};
  }

  void reserve_to(std::uint64_t end) {
    change_.before.push_back(range_step(IoCommand::Kind::reserve, {image_.file_bytes},
                                        end - image_.file_bytes, "space at the end of the file"));
  }

  /// Bytes of the last block that the old disk did not reach may be anything.
  Status clear_last_block() {
    const std::uint64_t inside = image_.geometry.virtual_size % block_bytes();
    if (inside == 0) return Ok{};
    const std::uint64_t index = payload_index(old_blocks() - 1, ratio());
    const auto found = std::ranges::find(owned_.blocks, index, &OwnedBlock::index);
    if (found == owned_.blocks.end() || found->anchor) return Ok{};
    change_.before.push_back(range_step(IoCommand::Kind::zero, found->at + inside,
                                        block_bytes() - inside,
                                        "zeros behind the end of the old disk"));
    return Ok{};
  }

  /// No bit of a sector behind `end`, in the chunk that `end` is in, is set.
  Status clear_last_bitmap(std::uint64_t end) {
    if (!image_.has_parent) return Ok{};
    const BitmapPlace place = bitmap_place(end / image_.geometry.logical_sector_size);
    if (place.bit == 0) return Ok{};
    const std::uint64_t index = bitmap_index(place.chunk, ratio());
    const auto found = std::ranges::find(owned_.blocks, index, &OwnedBlock::index);
    if (found == owned_.blocks.end()) return Ok{};
    FileOffset at = found->at + place.bit / 8;
    if (place.bit % 8 != 0) {
      std::array<std::byte, 1> byte{};
      OVHD_CHECK(file_.read_exact(at, byte, "sector bitmap: the file ends inside it (X13)"));
      byte[0] &= static_cast<std::byte>((1u << place.bit % 8) - 1);
      OVHD_CHECK(change_.edits.put(file_, at, byte));
      at = at + 1;
    }
    const FileOffset bitmap_end = found->at + kBitmapBlockBytes;
    if (at == bitmap_end) return Ok{};
    return change_.edits.clear(file_, at, bitmap_end - at);
  }

  /// Entries of blocks from `block`, and all else up to entry `end` that does not count in the
  /// smaller of the two disks, are zero.
  Status clear_entries(std::uint64_t block, std::uint64_t end) {
    const std::uint64_t first = payload_index(block - 1, ratio()) + 1;
    if (!image_.has_parent || block % ratio() == 0) {
      // A bitmap entry that counts, of a chunk that is full, lies before `first` block's own.
      const std::uint64_t from = image_.has_parent ? block + block / ratio() : first;
      return clear_indices(from, end);
    }
    // The chunk that both disks have a part of keeps its bitmap.
    const std::uint64_t bitmap = bitmap_index((block - 1) / ratio(), ratio());
    OVHD_CHECK(clear_indices(first, std::min(bitmap, end)));
    return clear_indices(bitmap + 1, end);
  }

  Status clear_indices(std::uint64_t first, std::uint64_t end) {
    if (first >= end) return Ok{};
    return change_.edits.clear(file_, image_.bat.at + first * kBatEntryBytes,
                               (end - first) * kBatEntryBytes);
  }

  /// A region of its own for the larger table; nobody knows of it before the change.
  Status move_table(std::uint64_t bytes) {
    if (bytes > std::numeric_limits<std::uint32_t>::max()) {
      return Error{.code = Errc::unsupported,
                   .where = image_.bat.at,
                   .what = "BAT region: its length would not fit its field (2.2.3.2)"};
    }
    table_ = {.at = {end_}, .length = bytes};
    change_.before.push_back(
        range_step(IoCommand::Kind::reserve, table_.at, bytes, "space for the new BAT region"));
    end_ += bytes;
    OVHD_CHECK(copy_entries());
    OVHD_CHECK(put_bat_region(file_, image_, table_, change_.edits));
    change_.after.push_back(optionally(range_step(IoCommand::Kind::punch, image_.bat.at,
                                                  image_.bat.length, "the old BAT region")));
    return Ok{};
  }

  /// What counts in the old table, to the new one.
  Status copy_entries() {
    const std::uint64_t bytes = image_.counts.entries * kBatEntryBytes;
    FileOffset at = image_.bat.at;
    const FileOffset end = at + bytes;
    while (at < end) {
      OVHD_TRY(const FileRange run, file_.next_data(at, end));
      if (run.length == 0) break;
      std::vector<std::byte> piece(std::min({kPieceBytes, run.length, end - run.at}));
      OVHD_CHECK(file_.read_exact(run.at, piece, "BAT: the file ends inside it (2.5, X06)"));
      change_.before.push_back(
          write_step(table_.at + (run.at - image_.bat.at), piece, "new BAT region: write"));
      at = run.at + piece.size();
    }
    return clear_copied_entries();
  }

  /// Entries between the end of the old disk and the end of its last chunk never counted.
  Status clear_copied_entries() {
    if (!image_.has_parent || old_blocks() % ratio() == 0) return Ok{};
    const std::uint64_t first = payload_index(old_blocks(), ratio());
    const std::uint64_t end = bitmap_index((old_blocks() - 1) / ratio(), ratio());
    change_.before.push_back(range_step(IoCommand::Kind::zero, table_.at + first * kBatEntryBytes,
                                        (end - first) * kBatEntryBytes,
                                        "new BAT region: entries that are new"));
    return Ok{};
  }

  /// A fixed disk promises that no later write needs space (FORMAT 55).
  Status add_fixed_blocks() {
    const std::uint64_t first = payload_index(old_blocks(), ratio());
    std::vector<std::byte> entries((counts_.entries - first) * kBatEntryBytes);
    const FileOffset start{end_};
    for (std::uint64_t block = old_blocks(); block < counts_.payload_blocks; ++block) {
      const std::uint64_t index = payload_index(block, ratio());
      const Le64 raw{BatEntry::make(PayloadState::fully_present, {end_}).raw};
      store(std::span{entries}.subspan((index - first) * kBatEntryBytes), raw);
      end_ += block_bytes();
    }
    if (end_ == start.value) return Ok{};
    change_.before.push_back(range_step(IoCommand::Kind::reserve, start, end_ - start.value,
                                        "space for the new blocks"));
    const FileOffset at = table_.at + first * kBatEntryBytes;
    if (table_.at != image_.bat.at) {
      change_.before.push_back(write_step(at, std::move(entries), "new BAT region: write"));
      return Ok{};
    }
    return put_entries(at, entries);
  }

  /// Through the log where it is large enough. Entries that nothing uses yet may be written in
  /// place before, but for those in sectors that hold others too.
  Status put_entries(FileOffset at, std::span<const std::byte> entries) {
    constexpr std::uint64_t kOtherSectors = 48;  // region tables, size, bitmap
    const std::uint64_t sectors = entries.size() / kLogSectorBytes + 2 + kOtherSectors;
    if (log_entry_bytes(sectors, 4) <= most_entry_) return change_.edits.put(file_, at, entries);
    const std::uint64_t shared =
        std::min<std::uint64_t>(align_up(at.value, kLogSectorBytes) - at.value, entries.size());
    OVHD_CHECK(change_.edits.put(file_, at, entries.first(shared)));
    const auto rest = entries.subspan(shared);
    change_.before.push_back(
        write_step(at + shared, {rest.begin(), rest.end()}, "BAT: entries of new blocks"));
    return Ok{};
  }

  Status put_size() {
    const auto item = std::ranges::find(image_.items, kVirtualDiskSizeItem, &MetadataItem::id);
    std::array<std::byte, sizeof(Le64)> bytes{};
    store(std::span<std::byte>{bytes}, Le64{bytes_});
    return change_.edits.put(file_, item->at, bytes);
  }

  /// The space of blocks that are cut goes back to the host: at the end of the file by its size,
  /// elsewhere as holes.
  void give_back(ResizePlan& out) {
    std::uint64_t kept_end = kHeaderSectionBytes;
    for (const OwnedRange& range : image_.fixed) {
      kept_end = std::max(kept_end, range.at.value + range.length);
    }
    const auto counts = [&](const OwnedBlock& b) {
      if (b.is_bitmap(ratio())) {
        return image_.has_parent && chunk_of_index(b.index, ratio()) < counts_.bitmap_blocks;
      }
      return block_of_index(b.index, ratio()) < counts_.payload_blocks;
    };
    for (const OwnedBlock& block : owned_.blocks) {
      const std::uint64_t bytes = block.is_bitmap(ratio()) ? kBitmapBlockBytes : block_bytes();
      if (counts(block)) kept_end = std::max(kept_end, block.at.value + bytes);
    }
    for (const OwnedBlock& block : owned_.blocks) {
      if (counts(block) || block.at.value >= kept_end) continue;
      const std::uint64_t bytes = block.is_bitmap(ratio()) ? kBitmapBlockBytes : block_bytes();
      change_.after.push_back(optionally(range_step(IoCommand::Kind::punch, block.at,
                                                    std::min(bytes, kept_end - block.at.value),
                                                    "space of blocks that were cut")));
    }
    clear_behind_new_end();
    if (kept_end >= image_.file_bytes) return;
    change_.after.push_back(optionally(size_step(kept_end, "file size of a smaller disk")));
    out.file_bytes_after = kept_end;
  }

  /// Who makes the disk larger again should not find old bytes, also with another program.
  void clear_behind_new_end() {
    const std::uint64_t inside = bytes_ % block_bytes();
    if (inside == 0) return;
    const std::uint64_t index = payload_index(counts_.payload_blocks - 1, ratio());
    const auto found = std::ranges::find(owned_.blocks, index, &OwnedBlock::index);
    if (found == owned_.blocks.end() || found->anchor) return;
    const std::uint64_t end = std::min(found->at.value + block_bytes(), image_.file_bytes);
    const FileOffset at = found->at + inside;
    if (at.value >= end) return;
    change_.after.push_back(optionally(
        range_step(IoCommand::Kind::zero, at, end - at.value, "zeros behind the end of the disk")));
  }

  File& file_;
  ParsedImage image_;
  OwnedSpace owned_;
  std::uint64_t bytes_;
  BatCounts counts_;         // of the new size
  std::uint64_t end_;        // of the file, as it will be before the change
  Area table_ = image_.bat;  // where the table will be
  EditSession::Change change_;
  std::uint64_t most_entry_ = 0;
};

Status check_size(std::uint64_t virtual_bytes, std::uint32_t sector_bytes) {
  const char* what = nullptr;
  if (virtual_bytes == 0) what = "size: 0 (2.6.2.2, X10)";
  if (virtual_bytes > kMaxVirtualBytes)
    what = "size: over 64 TiB, the most that a VHDX holds (2.6.2.2, X10)";
  if (!is_multiple(virtual_bytes, sector_bytes))
    what = "size: no multiple of the logical sector size (2.6.2.2, X10)";
  if (what == nullptr) return Ok{};
  return Error{.code = Errc::invalid, .what = what};
}

}  // namespace

Result<ResizePlan> plan_resize(File& file, std::uint64_t virtual_bytes, Host& host) {
  Judge judge;
  OVHD_TRY(const ParsedHead head, parse_head(file, judge));
  OVHD_TRY(ParsedImage image, parse_strictly(file, head, judge));
  if (head.dirty()) {
    return Error{.code = Errc::invalid,
                 .where = kHeaderAt[head.current],
                 .what = "header: the log must be replayed before writing (2.3.3)"};
  }
  OVHD_CHECK(check_size(virtual_bytes, image.geometry.logical_sector_size));
  if (virtual_bytes == image.geometry.virtual_size) {
    return ResizePlan{.file_bytes = image.file_bytes, .file_bytes_after = image.file_bytes};
  }
  OVHD_TRY(OwnedSpace owned, read_owned_space(file, image));
  OVHD_TRY(EditSession session, EditSession::open(image, host));
  Planner planner{file, std::move(image), std::move(owned), virtual_bytes};
  return planner.plan(std::move(session));
}

}  // namespace openvhd::vhdx
