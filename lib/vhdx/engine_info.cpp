// What an Engine tells about its image.
#include <algorithm>
#include <string>
#include <vector>

#include "base/try.hpp"
#include "vhdx/engine_impl.hpp"

namespace openvhd::vhdx {
namespace {

void count(BlockCounts& counts, BatEntry entry) noexcept {
  switch (entry.payload_state()) {
    case PayloadState::not_present:
      ++counts.not_present;
      return;
    case PayloadState::undefined:
      ++counts.undefined;
      return;
    case PayloadState::zero:
      ++counts.zero;
      return;
    case PayloadState::unmapped:
      ++counts.unmapped;
      return;
    case PayloadState::fully_present:
      ++counts.fully_present;
      return;
    case PayloadState::partially_present:
      ++counts.partially_present;
      return;
  }
}

}  // namespace

LayerInfo Engine::info() const {
  LayerInfo out;
  out.format = Format::vhdx;
  out.type = type();
  out.geometry = image_.geometry;
  out.creator = image_.creator;
  out.identifier = image_.page83_id;
  out.data_write_guid = journal_.header().data_write_guid.value();
  out.file_write_guid = journal_.header().file_write_guid.value();
  out.log = image_.log_summary.was_dirty ? LogState::dirty : LogState::clean;
  out.log_bytes = image_.log.length;
  out.replayed_entries = image_.log_summary.replayed_entries;
  out.leave_blocks_allocated = image_.leave_blocks_allocated;
  if (image_.parent) {
    for (const ParentPath& path : image_.parent->paths) {
      out.parent_paths.push_back(std::string{path.key} + ": " + path.text);
    }
    out.parent_linkage = image_.parent->linkage;
  }
  out.notes = image_.notes;
  return out;
}

Result<BlockCounts> Engine::count_blocks(File& file, std::uint64_t max_table_bytes) {
  std::uint64_t to_read = 0;
  for (std::uint64_t page = 0; page < bat_page_count_; ++page) {
    if (!is_hole(page) && bat_pages_[page].load() == nullptr) to_read += kTablePageBytes;
  }
  if (to_read > max_table_bytes) {
    return Error{.code = Errc::out_of_range, .what = "counting blocks would read too much"};
  }
  BlockCounts counts;
  counts.total = image_.counts.payload_blocks;
  std::uint64_t seen = 0;
  std::vector<Le64> words(kTablePageWords);
  for (std::uint64_t page = 0; page < bat_page_count_; ++page) {
    if (is_hole(page)) continue;
    const TablePage* loaded = bat_pages_[page].load();
    if (loaded == nullptr) {
      OVHD_CHECK(file.read_exact(bat_page_at(page), std::as_writable_bytes(std::span{words}),
                                 "BAT (2.5): past the end of the file"));
    }
    const std::uint64_t first = page * kTablePageWords;
    const std::uint64_t end = std::min(first + kTablePageWords, image_.counts.entries);
    for (std::uint64_t index = first; index < end; ++index) {
      const BatEntry entry =
          loaded != nullptr ? entry_in(*loaded, index) : BatEntry{words[index - first]};
      if (!is_bitmap_index(index, image_.counts.chunk_ratio)) {
        if (block_of_index(index, image_.counts.chunk_ratio) >= counts.total) continue;
        count(counts, entry);
        ++seen;
      } else if (bitmap_has_data(entry)) {
        ++counts.bitmap_blocks;
      }
    }
  }
  counts.not_present += counts.total - seen;
  return counts;
}

}  // namespace openvhd::vhdx
