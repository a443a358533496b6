/// Goes through a whole table in one pass: what check, repair and dump have in common.
#pragma once

#include <functional>

#include "vhd/block_claims.hpp"
#include "vhd/parse.hpp"

namespace openvhd::vhd {

struct ScanResult {
  std::uint64_t allocated = 0;
  bool damaged = false;
  /// Where the last block or other structure ends: the place of the footer.
  std::uint64_t end = 0;
};

enum class EntryVerdict : std::uint8_t { good, out_of_bounds, overlaps_structure, shared };

/// Whether the block at sector `start` lies where a block may; not whether others do too.
EntryVerdict judge_place(const ParsedImage& image, std::uint32_t block, std::uint32_t start,
                         std::uint64_t data_limit) noexcept;

/// One entry that is in use. `rival` is the entry that a shared one overlaps. False: stop.
using EntryVisitor = std::function<Result<bool>(std::uint32_t block, std::uint32_t start,
                                                EntryVerdict verdict, std::uint32_t rival)>;

/// Reads the table in pieces. Memory: 12 bytes for each allocated block.
Result<ScanResult> scan_table(File& file, const ParsedImage& image, const EntryVisitor& visit);

}  // namespace openvhd::vhd
