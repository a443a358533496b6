#include "vhdx/bat_math.hpp"

#include <algorithm>

#include "base/try.hpp"

namespace openvhd::vhdx {
namespace {

Error broken(FileOffset at, const char* what) noexcept {
  return {.code = Errc::corrupt, .where = at, .what = what};
}

bool over_fixed(FileOffset at, std::uint64_t length, const EntryRules& rules) noexcept {
  return !fixed_under(rules.fixed, at, length).empty();
}

}  // namespace

std::span<const OwnedRange> fixed_under(std::span<const OwnedRange> fixed, FileOffset at,
                                        std::uint64_t length) noexcept {
  // Disjoint and sorted by their starts, so sorted by their ends too.
  const auto ends_before = [&](const OwnedRange& range) {
    return range.at.value + range.length <= at.value;
  };
  const auto starts_before = [&](const OwnedRange& range) {
    return range.at.value < at.value + length;
  };
  const auto first = std::ranges::partition_point(fixed, ends_before);
  const auto end = std::partition_point(first, fixed.end(), starts_before);
  return {first, end};
}

std::optional<FileOffset> soft_anchor(BatEntry entry, const EntryRules& rules) noexcept {
  const bool may_keep = entry.payload_state() == PayloadState::undefined ||
                        entry.payload_state() == PayloadState::unmapped;
  const FileOffset at = entry.offset();
  if (!may_keep || at.value < kHeaderSectionBytes) return std::nullopt;
  if (!range_fits(at.value, rules.block_bytes, rules.file_bytes)) return std::nullopt;
  if (over_fixed(at, rules.block_bytes, rules)) return std::nullopt;
  return at;
}

Status validate_payload_entry(BatEntry entry, std::uint64_t block, const EntryRules& rules,
                              FileOffset at) noexcept {
  if (entry.state_bits() == 4 || entry.state_bits() == 5) {
    return broken(at, "BAT payload entry: reserved state (2.5.1.1, X12)");
  }
  if (entry.reserved_bits() != 0) {
    return broken(at, "BAT payload entry: reserved bits are not zero (2.5.1, X12)");
  }
  if (entry.payload_state() == PayloadState::partially_present && !rules.has_parent) {
    return broken(at, "BAT payload entry: PARTIALLY_PRESENT without a parent (2.5.1.1, X12)");
  }
  if (!payload_has_data(entry)) return Ok{};

  const FileOffset data = entry.offset();
  if (data.value < kHeaderSectionBytes) {
    return broken(at, "BAT payload entry: data at offset 0 (2.5.1, X13)");
  }
  // Cutting off is tolerated behind the end of the disk alone; bytes of the disk must be there.
  const std::uint64_t left = rules.virtual_bytes - block * rules.block_bytes;
  if (!range_fits(data.value, std::min(left, rules.block_bytes), rules.file_bytes)) {
    return broken(at, "BAT payload entry: block past the end of the file (2.5.1, X13)");
  }
  if (over_fixed(data, rules.block_bytes, rules)) {
    return broken(at, "BAT payload entry: block over a region or the log (2.1, X07)");
  }
  return Ok{};
}

Status validate_bitmap_entry(BatEntry entry, const EntryRules& rules, FileOffset at) noexcept {
  if (entry.state_bits() != 0 && entry.state_bits() != 6) {
    return broken(at, "BAT sector bitmap entry: reserved state (2.5.1.2, X12)");
  }
  if (entry.reserved_bits() != 0) {
    return broken(at, "BAT sector bitmap entry: reserved bits are not zero (2.5.1, X12)");
  }
  if (!bitmap_has_data(entry) || !rules.has_parent) return Ok{};

  const FileOffset data = entry.offset();
  if (data.value < kHeaderSectionBytes) {
    return broken(at, "BAT sector bitmap entry: data at offset 0 (2.5.1, X13)");
  }
  if (!range_fits(data.value, kBitmapBlockBytes, rules.file_bytes)) {
    return broken(at, "BAT sector bitmap entry: block past the end of the file (2.5.1, X13)");
  }
  if (over_fixed(data, kBitmapBlockBytes, rules)) {
    return broken(at, "BAT sector bitmap entry: block over a region or the log (2.1, X07)");
  }
  return Ok{};
}

}  // namespace openvhd::vhdx
