#include "vhdx/owned_space.hpp"

#include <algorithm>

#include "base/try.hpp"
#include "vhdx/check_table.hpp"
#include "vhdx/judge.hpp"
#include "vhdx/table_reader.hpp"

namespace openvhd::vhdx {
namespace {

bool owns(const ParsedImage& image, const EntryRules& rules, const TableEntry& e, bool& anchor) {
  anchor = false;
  if (is_bitmap_index(e.index, image.counts.chunk_ratio)) {
    // Marked present without a parent it means nothing, but may be somebody's (FORMAT 46).
    return bitmap_has_data(e.entry) && e.entry.offset().value >= kHeaderSectionBytes &&
           range_fits(e.entry.offset().value, kBitmapBlockBytes, rules.file_bytes);
  }
  if (block_of_index(e.index, image.counts.chunk_ratio) >= image.counts.payload_blocks) {
    return false;
  }
  if (payload_has_data(e.entry)) return true;
  anchor = soft_anchor(e.entry, rules).has_value();
  return anchor;
}

}  // namespace

Result<OwnedSpace> read_owned_space(File& file, const ParsedImage& image) {
  Judge judge;
  OVHD_CHECK(check_table(file, image, {}, judge, nullptr));
  OVHD_CHECK(judge.status());
  OwnedSpace out;
  const EntryRules rules = image.entry_rules(image.file_bytes);
  for (const OwnedRange& range : image.fixed) {
    out.map.mark(range.at.value / kAlignment, range.length / kAlignment);
  }
  OVHD_CHECK(for_each_entry(
      file, image.bat, image.counts.entries,
      [&](const TableEntry& e) -> Status {
        OwnedBlock block{.at = e.entry.offset(), .index = e.index, .entry = e.entry};
        if (!owns(image, rules, e, block.anchor)) return Ok{};
        const std::uint64_t bytes = block.is_bitmap(image.counts.chunk_ratio)
                                        ? kBitmapBlockBytes
                                        : image.geometry.block_size;
        out.map.mark(block.at.value / kAlignment, bytes / kAlignment);
        out.allocated += bytes;
        out.blocks.push_back(block);
        return Ok{};
      },
      [](std::uint64_t) -> Status { return Ok{}; }));
  return out;
}

}  // namespace openvhd::vhdx
