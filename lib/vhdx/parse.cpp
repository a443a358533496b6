#include "vhdx/parse.hpp"

#include "base/try.hpp"
#include "vhdx/metadata.hpp"
#include "vhdx/regions.hpp"

namespace openvhd::vhdx {

Status parse_body(File& file, const ParsedHead& head, ParsedImage& out, Judge& judge) {
  out.header = head.header();
  out.current_header = head.current;
  out.other_header_valid = head.copies[1 - head.current].problem == nullptr;
  out.creator = head.creator;
  out.log = head.log;
  out.log_summary.was_dirty = head.dirty();
  // A replayed log may have made the file longer.
  OVHD_TRY(out.file_bytes, file.size());
  OVHD_CHECK(parse_regions(file, out, judge));
  OVHD_CHECK(parse_metadata(file, out, judge));
  return Ok{};
}

Result<ParsedImage> parse_strictly(File& file, const ParsedHead& head, Judge& judge) {
  ParsedImage out;
  const Status parsed = parse_body(file, head, out, judge);
  // The first broken rule is the cause; the one that ended the parse may be its consequence.
  OVHD_CHECK(judge.status());
  OVHD_CHECK(parsed);
  out.notes = judge.notes();
  return out;
}

}  // namespace openvhd::vhdx
