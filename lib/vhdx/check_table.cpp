#include "vhdx/check_table.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/try.hpp"
#include "vhdx/space_map.hpp"
#include "vhdx/table_reader.hpp"

namespace openvhd::vhdx {
namespace {

// Overlaps whose other owner is looked for in a second walk over the table.
constexpr std::size_t kMostOverlaps = 256;

class TableCheck {
 public:
  TableCheck(File& file, const ParsedImage& image, std::span<const FileOffset> logged, Judge& judge,
             Progress* progress)
      : file_{file},
        image_{image},
        rules_{image.entry_rules(image.file_bytes)},
        logged_{logged},
        judge_{judge},
        progress_{progress} {
    for (const OwnedRange& range : image.fixed) {
      facts_.extents_end = std::max(facts_.extents_end, range.at.value + range.length);
    }
  }

  Result<TableFacts> run() {
    const std::uint64_t held = image_.bat.length / kBatEntryBytes;
    OVHD_CHECK(for_each_entry(
        file_, image_.bat, held, [this](const TableEntry& e) { return visit(e); },
        [this](std::uint64_t index) { return report(index); }));
    end_of_chunk();
    if (image_.type() == DiskType::fixed && present_ != image_.counts.payload_blocks) {
      const std::uint64_t missing = image_.counts.payload_blocks - present_;
      judge_.warning(
          {.id = "X16",
           .what = "BAT: blocks of a fixed disk are not FULLY_PRESENT (2.6.2.1, X16)",
           .at = image_.bat.at},
          std::to_string(missing) + " of " + std::to_string(image_.counts.payload_blocks));
    }
    if (!overlaps_.empty()) OVHD_CHECK(name_first_owners());
    OVHD_CHECK(check_last_bitmap());
    check_end();
    return facts_;
  }

 private:
  struct Overlap {
    TableEntry entry;
    std::uint64_t length = 0;
    bool anchor = false;
  };

  bool is_bitmap(std::uint64_t index) const {
    return is_bitmap_index(index, image_.counts.chunk_ratio);
  }
  std::uint64_t chunk_of(std::uint64_t index) const {
    return chunk_of_index(index, image_.counts.chunk_ratio);
  }

  std::string name(const TableEntry& e) const {
    if (is_bitmap(e.index)) return "sector bitmap of chunk " + std::to_string(chunk_of(e.index));
    return "block " + std::to_string(block_of_index(e.index, image_.counts.chunk_ratio));
  }

  Status report(std::uint64_t index) {
    if (progress_ == nullptr) return Ok{};
    const std::uint64_t total = image_.bat.length;
    if (progress_->update(std::min(index * kBatEntryBytes, total), total)) return Ok{};
    return Error{.code = Errc::cancelled, .what = "check"};
  }

  Status visit(const TableEntry& e) {
    const bool bitmap = is_bitmap(e.index);
    const std::uint64_t block = block_of_index(e.index, image_.counts.chunk_ratio);
    const bool counts =
        e.index < image_.counts.entries && (bitmap || block < image_.counts.payload_blocks);
    if (!counts) {
      judge_.warning({.id = "X12",
                      .what = "BAT: an entry that nothing uses is not zero (2.5, X12)",
                      .at = e.at},
                     "entry " + std::to_string(e.index));
      return Ok{};
    }
    if (bitmap) {
      visit_bitmap(e);
    } else {
      visit_payload(e, block);
    }
    return Ok{};
  }

  void visit_bitmap(const TableEntry& e) {
    if (auto valid = validate_bitmap_entry(e.entry, rules_, e.at); !valid) {
      refuse(e, kBitmapBlockBytes, valid.error());
      if (partial_chunk_ == chunk_of(e.index)) partial_chunk_.reset();  // told once
      return;
    }
    if (!bitmap_has_data(e.entry)) {
      stray_offset(e);
      return;
    }
    if (!image_.has_parent) {
      judge_.warning({.id = "X12",
                      .what = "BAT: sector bitmap entry in use without a parent (2.5.1.2, X12)",
                      .at = e.at},
                     name(e));
      if (!validate_bitmap_entry(e.entry, as_if_child(), e.at)) return;
    }
    if (partial_chunk_ == chunk_of(e.index)) partial_chunk_.reset();
    if (chunk_of(e.index) + 1 == image_.counts.bitmap_blocks) last_bitmap_ = e.entry.offset();
    own(e, kBitmapBlockBytes, false);
  }

  EntryRules as_if_child() const {
    EntryRules out = rules_;
    out.has_parent = true;
    return out;
  }

  void visit_payload(const TableEntry& e, std::uint64_t block) {
    const std::uint64_t bytes = image_.geometry.block_size;
    if (auto valid = validate_payload_entry(e.entry, block, rules_, e.at); !valid) {
      refuse(e, bytes, valid.error());
      return;
    }
    if (!payload_has_data(e.entry)) {
      visit_without_data(e, bytes);
      return;
    }
    if (e.entry.payload_state() == PayloadState::fully_present) ++present_;
    if (e.entry.payload_state() == PayloadState::partially_present) need_bitmap(e);
    own(e, bytes, false);
    if (e.entry.offset().value + bytes > image_.file_bytes) {
      judge_.warning(
          {.id = "X13",
           .what = "BAT: the file ends inside a block, behind the end of the disk (2.5, X13)",
           .at = e.at,
           .repairable = true},
          name(e));
    }
    find_logged(e, bytes);
  }

  // X18, once for all that lies past the end.
  void check_end() {
    const FileOffset at{image_.file_bytes};
    if (cut_off_) {
      judge_.fault(
          {.id = "X18", .what = "file: ends before the data of the disk (2.5, X18)", .at = at});
    } else if (facts_.extents_end > image_.file_bytes) {
      judge_.warning({.id = "X18",
                      .what = "file: ends inside its last block, behind the disk (2.5, X18)",
                      .at = at,
                      .repairable = true});
    }
  }

  // UNDEFINED and UNMAPPED may keep their place; it must be nobody else's.
  void visit_without_data(const TableEntry& e, std::uint64_t bytes) {
    if (e.entry.offset().value == 0) return;
    const bool may_keep = e.entry.payload_state() == PayloadState::undefined ||
                          e.entry.payload_state() == PayloadState::unmapped;
    if (!may_keep) {
      stray_offset(e);
    } else if (soft_anchor(e.entry, rules_)) {
      own(e, bytes, true);
    } else if (range_fits(e.entry.offset().value, bytes, image_.file_bytes)) {
      judge_.fault(
          {.id = "X13",
           .what = "BAT: kept place of an unused block over a fixed structure (2.5.1.1, X13)",
           .at = e.at},
          name(e));
      over_fixed(e, bytes);
    } else {
      judge_.warning(
          {.id = "X13",
           .what = "BAT: kept place of an unused block is not in the file (2.5.1.1, X13)",
           .at = e.at},
          name(e));
    }
  }

  void stray_offset(const TableEntry& e) {
    if (e.entry.offset().value == 0) return;
    judge_.warning(
        {.id = "X13", .what = "BAT: an offset where the state has none (2.5.1.1, X13)", .at = e.at},
        name(e));
  }

  void refuse(const TableEntry& e, std::uint64_t length, const Error& error) {
    judge_.error({.id = rule_in(error.what), .what = error.what, .at = error.where}, name(e));
    const bool bitmap = is_bitmap(e.index);
    const std::uint64_t at = e.entry.offset().value;
    if (!(bitmap ? bitmap_has_data(e.entry) : payload_has_data(e.entry))) return;
    if (!checked_add(at, length)) return;
    if (!over_fixed(e, length) && at + used_length(e) > image_.file_bytes) cut_off_ = true;
  }

  // What of an entry's space holds bytes of the disk, or bits.
  std::uint64_t used_length(const TableEntry& e) const {
    if (is_bitmap(e.index)) return kBitmapBlockBytes;
    const std::uint64_t block = block_of_index(e.index, image_.counts.chunk_ratio);
    const std::uint64_t bytes = image_.geometry.block_size;
    return std::min(bytes, image_.geometry.virtual_size - block * bytes);
  }

  // X07: whether an entry's space is that of a structure.
  bool over_fixed(const TableEntry& e, std::uint64_t length) {
    const auto under = fixed_under(image_.fixed, e.entry.offset(), length);
    for (const OwnedRange& range : under) tell_x07(e, name(e) + " and " + range.owner);
    return !under.empty();
  }

  void tell_x07(const TableEntry& e, const std::string& owners) {
    judge_.fault({.id = "X07", .what = "layout: two structures overlap (2.1, X07)", .at = e.at},
                 owners);
  }

  void own(const TableEntry& e, std::uint64_t length, bool anchor) {
    const std::uint64_t at = e.entry.offset().value;
    facts_.extents_end = std::max(facts_.extents_end, at + length);
    if (space_.claim(at / kMiB, length / kMiB)) return;
    space_.mark(at / kMiB, length / kMiB);
    if (overlaps_.size() == kMostOverlaps) return;
    overlaps_.push_back({e, length, anchor});
    disputed_.mark(at / kMiB, length / kMiB);
  }

  void need_bitmap(const TableEntry& e) {
    const std::uint64_t chunk = chunk_of(e.index);
    if (partial_chunk_ && *partial_chunk_ != chunk) end_of_chunk();
    if (!partial_chunk_) partial_at_ = e.at;
    partial_chunk_ = chunk;
  }

  // Called when entries of a later chunk come up: the bitmap entry did not.
  void end_of_chunk() {
    if (!partial_chunk_) return;
    judge_.error({.id = "X15",
                  .what = "BAT: PARTIALLY_PRESENT block without its sector bitmap (2.5.1.1, X15)",
                  .at = partial_at_},
                 "chunk " + std::to_string(*partial_chunk_));
    partial_chunk_.reset();
  }

  void find_logged(const TableEntry& e, std::uint64_t bytes) {
    const FileOffset at = e.entry.offset();
    const auto first = std::ranges::lower_bound(logged_, at);
    if (first == logged_.end() || first->value >= at.value + bytes) return;
    judge_.warning({.id = "L05",
                    .what = "log: the contents of a payload block are in the log (2.3, L05)",
                    .at = *first},
                   name(e));
  }

  // X14: who had the space first. One walk for all of them.
  Status name_first_owners() {
    std::size_t left = overlaps_.size();
    std::vector<bool> found(overlaps_.size(), false);
    const auto look = [&](const TableEntry& e) -> Status {
      if (left == 0 || e.index >= image_.counts.entries) return Ok{};
      const bool bitmap = is_bitmap(e.index);
      const bool owns = bitmap ? bitmap_has_data(e.entry)
                               : payload_has_data(e.entry) || soft_anchor(e.entry, rules_);
      const std::uint64_t length = bitmap ? kBitmapBlockBytes : image_.geometry.block_size;
      const std::uint64_t at = e.entry.offset().value;
      if (!owns || at >= kMaxSpaceBytes) return Ok{};
      const std::uint64_t end = (at + length) / kMiB;
      if (disputed_.next_set(at / kMiB, end) == end) return Ok{};
      for (std::size_t i = 0; i < overlaps_.size(); ++i) {
        const Overlap& other = overlaps_[i];
        if (found[i] || e.index >= other.entry.index) continue;
        if (!ranges_overlap(at, length, other.entry.entry.offset().value, other.length)) continue;
        found[i] = true;
        --left;
        tell_overlap(e, !bitmap && !payload_has_data(e.entry), other);
      }
      return Ok{};
    };
    return for_each_entry(file_, image_.bat, image_.counts.entries, look,
                          [](std::uint64_t) -> Status { return Ok{}; });
  }

  void tell_overlap(const TableEntry& first, bool first_is_anchor, const Overlap& second) {
    const std::string owners = name(first) + " and " + name(second.entry);
    const Breach shared{
        .id = "X14", .what = "BAT: two entries at one place (2.5, X14)", .at = second.entry.at};
    if (first_is_anchor || second.anchor) {
      judge_.fault({.id = "X13",
                    .what = "BAT: kept place of an unused block is another's (2.5.1.1, X13)",
                    .at = second.entry.at},
                   owners);
      judge_.fault(shared, owners);
    } else {
      judge_.error(shared, owners);
      tell_x07(second.entry, owners);
    }
  }

  // X15: bits behind the end of the disk. Only the last chunk has any.
  Status check_last_bitmap() {
    if (!last_bitmap_ || !image_.has_parent) return Ok{};
    const std::uint64_t sectors =
        image_.geometry.virtual_size / image_.geometry.logical_sector_size;
    const std::uint64_t used = sectors - (image_.counts.bitmap_blocks - 1) * kBitmapBlockSectors;
    const std::uint64_t first = used / 8;
    if (first == kBitmapBlockBytes) return Ok{};
    std::vector<std::byte> bits(kBitmapBlockBytes - first);
    OVHD_CHECK(file_.read_exact(*last_bitmap_ + first, bits,
                                "sector bitmap: the file ends inside it (2.4.2, X13)"));
    bits[0] &= static_cast<std::byte>(0xff << used % 8 & 0xff);
    const auto set = std::ranges::find_if(bits, [](std::byte b) { return b != std::byte{0}; });
    if (set == bits.end()) return Ok{};
    judge_.fault({.id = "X15",
                  .what = "sector bitmap: bits behind the end of the disk are set (2.4.2, X15)",
                  .at = *last_bitmap_ + first + static_cast<std::uint64_t>(set - bits.begin())});
    return Ok{};
  }

  File& file_;
  const ParsedImage& image_;
  EntryRules rules_;
  std::span<const FileOffset> logged_;
  Judge& judge_;
  Progress* progress_;
  TableFacts facts_;
  SpaceMap space_;
  SpaceMap disputed_;  // what overlaps_ are about
  std::vector<Overlap> overlaps_;
  std::uint64_t present_ = 0;
  bool cut_off_ = false;                        // data of the disk lies past the end of the file
  std::optional<std::uint64_t> partial_chunk_;  // has partial blocks, its bitmap not seen yet
  FileOffset partial_at_{};
  std::optional<FileOffset> last_bitmap_;
};

}  // namespace

Result<TableFacts> check_table(File& file, const ParsedImage& image,
                               std::span<const FileOffset> logged, Judge& judge,
                               Progress* progress) {
  return TableCheck{file, image, logged, judge, progress}.run();
}

}  // namespace openvhd::vhdx
