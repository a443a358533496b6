#include "vhdx/headers.hpp"

#include <algorithm>
#include <limits>

#include "base/crc32c.hpp"
#include "base/try.hpp"
#include "base/utf16.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::vhdx {
namespace {

Error no_current_header(const ParsedHead& head, Judge& judge) {
  return judge.error(
      {.id = "X02", .what = "headers: neither copy is valid (2.2.2, X02)", .at = kHeaderAt[0]},
      std::string{head.copies[0].problem} + "; " + head.copies[1].problem);
}

void report_bad_copy(const ParsedHead& head, unsigned copy, Judge& judge) {
  judge.warning({.id = "X02",
                 .what = "header: one copy is not valid (2.2.2, X02)",
                 .at = kHeaderAt[copy],
                 .repairable = true},
                head.copies[copy].problem);
}

// Sets head.current.
Status choose_header(ParsedHead& head, Judge& judge) {
  const auto& [a, b] = head.copies;
  if (a.problem != nullptr && b.problem != nullptr) return no_current_header(head, judge);
  if (a.problem != nullptr || b.problem != nullptr) {
    head.current = a.problem != nullptr ? 1 : 0;
    report_bad_copy(head, 1 - head.current, judge);
    return Ok{};
  }
  const std::uint64_t first = a.header.sequence_number;
  const std::uint64_t second = b.header.sequence_number;
  head.current = second > first ? 1 : 0;
  if (first != second) return Ok{};
  if (a.block != b.block) {
    return judge.error({.id = "X02",
                        .what = "headers: equal sequence numbers, different contents (2.2.2, X02)",
                        .at = kHeaderAt[0]});
  }
  // Disk2vhd ships this.
  judge.warning({.id = "X02",
                 .what = "headers: both copies are the same, with one sequence number (2.2.2, X02)",
                 .at = kHeaderAt[0]});
  return Ok{};
}

Status judge_log_area(const ParsedHead& head, Judge& judge) {
  const FileOffset at = kHeaderAt[head.current];
  const Area& log = head.log;
  if (!is_multiple(log.at.value, kAlignment) || !is_multiple(log.length, kAlignment)) {
    return judge.error(
        {.id = "X03", .what = "header: log is not aligned to 1 MiB (2.2.2, X03)", .at = at});
  }
  if (log.at.value < kHeaderSectionBytes && (log.length != 0 || head.dirty())) {
    return judge.error(
        {.id = "X03", .what = "header: log over the header section (2.2.2, X03)", .at = at});
  }
  if (log.length == 0 && head.dirty()) {
    return judge.error(
        {.id = "X03", .what = "header: a log to replay of length 0 (2.2.2, X03)", .at = at});
  }
  if (log.length == 0) {
    // Good for reading; nobody can write it.
    judge.warning({.id = "X03", .what = "header: no log (2.2.2, X03)", .at = at});
  }
  if (!range_fits(log.at.value, log.length, head.file_bytes)) {
    return judge.error(
        {.id = "X03", .what = "header: log past the end of the file (2.2.2, X03)", .at = at});
  }
  return Ok{};
}

Status judge_current(const ParsedHead& head, Judge& judge) {
  const FileOffset at = kHeaderAt[head.current];
  const Header& header = head.header();
  if (header.version != kVersion) {
    return judge.error({.id = "X03",
                        .what = "header: version is not 1 (2.2.2, X03)",
                        .at = at,
                        .code = Errc::unsupported});
  }
  if (header.log_version != kLogVersion) {
    const Breach breach{.id = "X03",
                        .what = "header: log version is not 0 (2.2.2, X03)",
                        .at = at,
                        .code = Errc::unsupported};
    if (head.dirty()) return judge.error(breach);
    judge.warning(breach);  // counts only where there is a log to replay
  }
  if (header.sequence_number == std::numeric_limits<std::uint64_t>::max()) {
    judge.fault({.id = "X04",
                 .what = "header: the sequence number cannot be raised (2.2.2, X04)",
                 .at = at});
  }
  return judge_log_area(head, judge);
}

}  // namespace

Result<std::string> read_identifier(File& file, Judge& judge) {
  constexpr const char* kShort = "file identifier: the file ends inside it (2.2.1, X01)";
  std::array<std::byte, sizeof(FileIdentifier)> block;
  if (auto got = file.read_exact({0}, block, kShort); !got) {
    if (got.error().code != Errc::corrupt) return got.error();
    return judge.error({.id = "X01", .what = kShort});
  }
  const auto identifier = load<FileIdentifier>(block);
  if (identifier.signature != kFileSignature) {
    return judge.error({.id = "X01", .what = "file identifier: signature (2.2.1, X01)"});
  }
  std::span<const std::byte> text = std::span<const std::byte>{block}.subspan(8);
  std::size_t length = 0;
  while (length < text.size() && (text[length] | text[length + 1]) != std::byte{0}) length += 2;
  return utf16_to_utf8_lossy(text.first(length), std::endian::little);
}

Result<HeaderCopy> read_header(File& file, unsigned copy) {
  HeaderCopy out;
  OVHD_CHECK(
      file.read_exact(kHeaderAt[copy], out.block, "header: the file ends inside it (2.2.2, X01)"));
  out.header = load<Header>(out.block);
  if (out.header.signature != kHeaderSignature) {
    out.problem = "signature";
  } else if (out.header.checksum != crc32c_without(out.block, kHeaderChecksumField)) {
    out.problem = "checksum";
  }
  return out;
}

Result<bool> probe(File& file) {
  std::array<std::byte, sizeof(Le64)> first;
  OVHD_TRY(const std::size_t got, file.read_some({0}, first));
  return got == first.size() && load<Le64>(first) == kFileSignature;
}

Result<bool> probe_header(File& file) {
  OVHD_TRY(const std::uint64_t bytes, file.size());
  for (unsigned copy = 0; copy < 2 && bytes >= kHeaderSectionBytes; ++copy) {
    OVHD_TRY(const HeaderCopy header, read_header(file, copy));
    if (header.problem == nullptr) return true;
  }
  return false;
}

Result<ParsedHead> parse_head(File& file, Judge& judge) {
  ParsedHead head;
  OVHD_TRY(head.file_bytes, file.size());
  OVHD_TRY(head.creator, read_identifier(file, judge));
  if (head.file_bytes < kHeaderSectionBytes) {
    return judge.error({.id = "X01",
                        .what = "header section: the file is shorter than 1 MiB (2.2, X01)",
                        .at = {head.file_bytes}});
  }
  for (unsigned copy = 0; copy < 2; ++copy) {
    OVHD_TRY(head.copies[copy], read_header(file, copy));
  }
  OVHD_CHECK(choose_header(head, judge));
  head.log = {.at = {head.header().log_offset}, .length = head.header().log_length};
  OVHD_CHECK(judge_current(head, judge));
  return head;
}

}  // namespace openvhd::vhdx
