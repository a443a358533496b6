/// Walking over the entries of a block allocation table that are not zero, in order, with a
/// bounded buffer; holes in the file are not read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <openvhd/error.hpp>
#include <vector>

#include "base/try.hpp"
#include "io/file.hpp"
#include "vhdx/image_state.hpp"
#include "vhdx/layout.hpp"

namespace openvhd::vhdx {

struct TableEntry {
  std::uint64_t index = 0;
  BatEntry entry;
  FileOffset at{};  ///< Of the entry itself.
};

/// Calls `visit(entry)` for every entry that is not zero in [0, count), until it returns an
/// error, and `step(index)` before each piece. Both return a Status.
template <class Visit, class BeforePiece>
Status for_each_entry(File& file, const Area& bat, std::uint64_t count, Visit&& visit,
                      BeforePiece&& step) {
  constexpr std::uint64_t kPieceBytes = 256 * kKiB;
  const std::uint64_t end = bat.at.value + count * kBatEntryBytes;
  std::vector<std::byte> piece;
  FileOffset at = bat.at;
  while (at.value < end) {
    OVHD_CHECK(step((at.value - bat.at.value) / kBatEntryBytes));
    OVHD_TRY(const FileRange run, file.next_data(at, {end}));
    if (run.length == 0) break;
    at = {align_down(run.at.value, kBatEntryBytes)};
    const std::uint64_t stop = align_up(run.at.value + run.length, kBatEntryBytes);
    piece.resize(std::min({kPieceBytes, stop - at.value, end - at.value}));
    OVHD_CHECK(file.read_exact(at, piece, "BAT: the file ends inside it (2.5, X06)"));
    for (std::size_t i = 0; i < piece.size(); i += kBatEntryBytes) {
      const BatEntry entry{load<Le64>(std::span<const std::byte>{piece}.subspan(i))};
      if (entry.raw == 0) continue;
      const std::uint64_t index = (at.value - bat.at.value + i) / kBatEntryBytes;
      OVHD_CHECK(visit(TableEntry{.index = index, .entry = entry, .at = at + i}));
    }
    at = at + piece.size();
  }
  return Ok{};
}

}  // namespace openvhd::vhdx
