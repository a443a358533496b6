#include "image/convert/run_cursor.hpp"

#include <algorithm>

#include "base/checked.hpp"
#include "base/try.hpp"

namespace openvhd {

Result<RunCursor::Run> RunCursor::run_at(std::uint64_t at) noexcept {
  if (at < known_.end) return known_;
  if (at >= spec_.length) {
    known_ = {.end = spec_.total, .zero = true};
    return known_;
  }
  const std::uint64_t left = spec_.length - at;
  OVHD_TRY(const EndpointRun run, source_.map(spec_.source_at + at, left));
  if (run.length == 0) return Error{.code = Errc::io, .what = "a source's map made no progress"};
  known_ = {.end = at + std::min(run.length, left), .zero = run.zero};
  return known_;
}

Result<RunCursor::Piece> RunCursor::next() noexcept {
  const std::uint64_t at = position_;
  if (at >= spec_.total) return Piece{.at = at};
  const std::uint64_t chunk_end =
      std::min(spec_.total, align_up(checked_add(at, 1).value_or(at), spec_.chunk));
  std::uint64_t end = at;  // of the data so far
  while (end < chunk_end) {
    OVHD_TRY(const Run run, run_at(end));
    if (run.zero) {
      const std::uint64_t first = align_up(end, spec_.unit);
      const bool last = run.end == spec_.total;
      const std::uint64_t stop = last ? run.end : align_down(run.end, spec_.unit);
      if (stop > first && (last || stop - first >= spec_.gap)) {
        if (first == at) {
          position_ = at + std::min(stop - at, spec_.max_zero);
          return Piece{.at = at, .length = position_ - at, .zero = true};
        }
        end = first;
        break;
      }
    }
    end = std::min(run.end, chunk_end);
  }
  position_ = end;
  return Piece{.at = at, .length = end - at};
}

}  // namespace openvhd
