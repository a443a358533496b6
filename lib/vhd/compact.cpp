#include "vhd/compact.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <span>
#include <utility>

#include "base/try.hpp"
#include "vhd/resize.hpp"

namespace openvhd::vhd {
namespace {

// What a crash makes a later run do again.
constexpr std::uint64_t kBatchBytes = 256 * kMiB;
constexpr std::uint64_t kDataAlignment = 4096;

bool all_zero(std::span<const std::byte> bytes) {
  if (bytes.empty() || bytes[0] != std::byte{0}) return bytes.empty();
  return std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

}  // namespace

Result<Compactor> Compactor::plan(File& file, bool writable, const CompactSpec& spec) {
  ParsedImage image;
  OVHD_CHECK(parse(file, image));
  if (image.type == DiskType::fixed) {
    return Error{.code = Errc::unsupported,
                 .where = image.footer_at,
                 .what = "a fixed disk keeps its space: nothing to compact (V01)"};
  }
  if (writable) OVHD_CHECK(may_write(file, image));
  OVHD_TRY(OwnedSpace owned, read_owned_space(file, image));
  Compactor out{std::move(image), std::move(owned)};
  out.summary_.file_bytes = out.size_now_ = out.image_.file_size;
  out.footer_now_ = out.image_.data_limit();
  OVHD_CHECK(out.find_releases(file, spec));
  std::ranges::sort(out.owned_.blocks, {}, &OwnedBlock::at);
  if (spec.move) out.plan_moves();
  const std::uint64_t end = out.end_of_rest(out.moves_.size());
  out.summary_.file_bytes_after =
      end + kFooterBytes <= out.footer_now_ ? end + kFooterBytes : out.summary_.file_bytes;
  return out;
}

Result<bool> Compactor::needs_no_space(File& file, const OwnedBlock& block) {
  buffer_.resize(std::max<std::uint64_t>(kMiB, image_.bitmap_length));
  const auto bits = std::span{buffer_}.first(image_.bitmap_length);
  OVHD_CHECK(file.read_exact(block.at, bits, "bitmap: read (V04)"));
  if (all_zero(bits)) return true;
  if (image_.type == DiskType::differencing) return false;
  const std::uint64_t start = std::uint64_t{block.block} * image_.block_size;
  FileOffset at = block.at + image_.bitmap_length;
  const FileOffset end =
      at + std::min<std::uint64_t>(image_.block_size, image_.virtual_size - start);
  while (at < end) {
    OVHD_TRY(const FileRange run, file.next_data(at, end));
    if (run.length == 0) break;
    const auto piece =
        std::span{buffer_}.first(std::min<std::uint64_t>({kMiB, run.length, end - run.at}));
    OVHD_CHECK(file.read_exact(run.at, piece, "block: read (V04)"));
    if (!all_zero(piece)) return false;
    at = run.at + piece.size();
  }
  return true;
}

Status Compactor::find_releases(File& file, const CompactSpec& spec) {
  if (!spec.find_zeros || image_.has_batmap) return Ok{};
  std::vector<OwnedBlock> live;
  live.reserve(owned_.blocks.size());
  const std::uint64_t total = owned_.blocks.size() * image_.stride();
  std::uint64_t done = 0;
  for (const OwnedBlock& block : owned_.blocks) {
    if (spec.progress && !spec.progress(done, total)) {
      return Error{.code = Errc::cancelled, .what = "stopped on request: nothing was changed"};
    }
    done += image_.stride();
    OVHD_TRY(const bool idle, needs_no_space(file, block));
    if (!idle) {
      live.push_back(block);
      continue;
    }
    releases_.push_back({.block = block.block, .from = block.at});
    ++summary_.zero_blocks;
    summary_.released_bytes += image_.stride();
  }
  owned_.blocks = std::move(live);
  return Ok{};
}

std::vector<FileRange> Compactor::holes() const {
  std::vector<FileRange> taken = owned_.structures;
  for (const OwnedBlock& block : owned_.blocks) taken.push_back({block.at, image_.stride()});
  std::ranges::sort(taken, {}, &FileRange::at);
  std::vector<FileRange> out;
  FileOffset at{kFooterBytes};
  for (const FileRange& range : taken) {
    if (at < range.at) out.push_back({at, range.at - at});
    at = std::max(at, range.at + range.length);
  }
  return out;
}

/// From the end of the file down, into the lowest hole that is large enough. Data begins on 4 KiB.
void Compactor::plan_moves() {
  std::vector<FileRange> free = holes();
  std::size_t lowest = 0;
  while (!owned_.blocks.empty()) {
    const OwnedBlock block = owned_.blocks.back();
    std::optional<FileOffset> to;
    for (; lowest < free.size() && !to; ++lowest) {
      FileRange& hole = free[lowest];
      const std::uint64_t start =
          align_up(align_up(hole.at.value, kSectorBytes) + image_.bitmap_length, kDataAlignment) -
          image_.bitmap_length;
      const std::uint64_t end = hole.at.value + hole.length;
      if (start + image_.stride() > end) continue;
      to = FileOffset{start};
      hole = {{start + image_.stride()}, end - start - image_.stride()};
      break;
    }
    if (!to || to->value + image_.stride() > block.at.value) return;
    const std::uint64_t before = moves_.empty() ? 0 : moves_.back().highest_end;
    moves_.push_back({.block = block.block,
                      .sector = narrow<std::uint32_t>(to->value / kSectorBytes),
                      .from = block.at,
                      .highest_end = std::max(before, to->value + image_.stride())});
    owned_.blocks.pop_back();
    ++summary_.moved_blocks;
    summary_.moved_bytes += image_.stride();
  }
}

std::uint64_t Compactor::end_of_rest(std::size_t moves_done) const noexcept {
  std::uint64_t end = 0;
  for (const FileRange& range : owned_.structures) {
    end = std::max(end, range.at.value + range.length);
  }
  if (!owned_.blocks.empty()) {
    end = std::max(end, owned_.blocks.back().at.value + image_.stride());
  }
  if (moves_done > 0) end = std::max(end, moves_[moves_done - 1].highest_end);
  if (moves_done < moves_.size()) {
    end = std::max(end, moves_[moves_done].from.value + image_.stride());
  }
  return align_up(end, kSectorBytes);
}

Status Compactor::put_entries(File& file, const std::vector<Change>& changes,
                              std::vector<FileStep>& steps) const {
  std::map<std::uint64_t, std::vector<std::byte>> sectors;
  for (const Change& change : changes) {
    const FileOffset at = image_.table_at + std::uint64_t{change.block} * kEntryBytes;
    const std::uint64_t start = align_down(at.value, kSectorBytes);
    auto [place, fresh] = sectors.try_emplace(start, kSectorBytes);
    if (fresh) {
      OVHD_CHECK(file.read_exact({start}, place->second, "block allocation table: read (V03)"));
    }
    store(std::span{place->second}.subspan(at.value - start), Be32{change.sector});
  }
  for (auto& [at, bytes] : sectors) {
    steps.push_back(write_step({at}, std::move(bytes), "block allocation table: write"));
  }
  steps.push_back(sync_step("sync of the table"));
  return Ok{};
}

/// Ends the file at `end` and a footer behind it. What lies there is nobody's, durably.
void Compactor::cut(std::uint64_t end, std::vector<FileStep>& steps) {
  // Less than a footer apart, one would be written over the other.
  if (end + kFooterBytes > footer_now_) return;
  steps.push_back(durable_step({end}, bytes_of_footer(image_.footer), "footer: write"));
  steps.push_back(size_step(end + kFooterBytes, "file size of a compact image"));
  steps.push_back(sync_step("sync of the image"));
  footer_now_ = end;
  size_now_ = end + kFooterBytes;
}

Result<std::optional<std::vector<FileStep>>> Compactor::next(File& file) {
  batch_bytes_before_ = size_now_;
  std::vector<FileStep> steps;
  if (!released_ && !image_.copy_is_current && image_.footer_at_end) {
    // One of the two may be lost from here on.
    steps.push_back(durable_step({}, bytes_of_footer(image_.footer), "footer copy: write"));
  }
  if (!released_) {
    released_ = true;
    if (!releases_.empty()) OVHD_CHECK(put_entries(file, releases_, steps));
    const std::uint64_t end = end_of_rest(0);
    for (const Change& change : releases_) {
      if (change.from.value >= end) continue;
      steps.push_back(optionally(range_step(IoCommand::Kind::punch, change.from,
                                            std::min(image_.stride(), end - change.from.value),
                                            "space of blocks that need none")));
    }
    if (moves_.empty()) cut(end, steps);
    if (!releases_.empty() || moves_.empty()) {
      if (steps.empty()) return std::optional<std::vector<FileStep>>{};
      return std::optional{std::move(steps)};
    }
  }
  if (moved_ == moves_.size()) return std::optional<std::vector<FileStep>>{};
  std::vector<Change> batch;
  for (std::uint64_t bytes = 0; moved_ < moves_.size() && bytes < kBatchBytes;
       bytes += image_.stride()) {
    const Change& move = moves_[moved_++];
    batch.push_back(move);
    const FileOffset to{std::uint64_t{move.sector} * kSectorBytes};
    const std::uint64_t there = std::min(image_.stride(), footer_now_ - move.from.value);
    steps.push_back(copy_step(move.from, to, there, "block: move"));
  }
  steps.push_back(sync_step("sync of the image"));
  OVHD_CHECK(put_entries(file, batch, steps));
  cut(end_of_rest(moved_), steps);
  return std::optional{std::move(steps)};
}

}  // namespace openvhd::vhd
