/// Judging the block allocation table as a whole (X07, X12-X16, X18).
#pragma once

#include <cstdint>
#include <openvhd/error.hpp>
#include <openvhd/progress.hpp>
#include <span>

#include "io/file.hpp"
#include "vhdx/image_state.hpp"
#include "vhdx/judge.hpp"

namespace openvhd::vhdx {

struct TableFacts {
  /// End of the furthest extent that anything owns, in bytes; more than the file has where the
  /// last block is cut off.
  std::uint64_t extents_end = 0;
};

/// Reads every entry, holes of the file skipped, and the sector bitmap behind the end of the
/// disk. Memory: one bit per MiB of file that is in use. `logged` are offsets of sectors that a
/// log wrote, sorted: none may be payload (2.3). Errors: io, cancelled.
Result<TableFacts> check_table(File& file, const ParsedImage& image,
                               std::span<const FileOffset> logged, Judge& judge,
                               Progress* progress);

}  // namespace openvhd::vhdx
