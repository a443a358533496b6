#include <algorithm>
#include <string>
#include <vector>

#include "base/try.hpp"
#include "vhdx/check_table.hpp"
#include "vhdx/log_replay.hpp"
#include "vhdx/overlay_file.hpp"
#include "vhdx/parse.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::vhdx {
namespace {

bool is_finding(const Error& error) noexcept {
  return error.code == Errc::corrupt || error.code == Errc::unsupported;
}

// Why there is no sequence: what is wrong with each entry, and with runs whose tail is elsewhere.
void tell_why_not(const LogScan& scan, Area log, Judge& judge) {
  for (const BadLogEntry& bad : scan.bad) judge.error(bad.error);
  for (const LogEntry& entry : scan.entries) {
    judge.error({.id = "L03",
                 .what = "log entry: its tail is no entry of its sequence (2.3.2, L03)",
                 .at = log.at + entry.at},
                "sequence " + std::to_string(entry.sequence));
  }
}

void note_log(const LogScan& scan, Area log, Judge& judge) {
  const LogEntry& head = scan.active.back();
  judge.note({.id = "L01",
              .what = "log: holds entries to be replayed (2.3.3, L01)",
              .at = log.at,
              .repairable = true},
             std::to_string(scan.active.size()));
  for (const BadLogEntry& bad : scan.bad) {
    judge.note({.id = rule_in(bad.error.what), .what = bad.error.what, .at = bad.error.where});
  }
  if (!is_multiple(head.last_file_bytes, kAlignment)) {
    judge.warning({.id = "L06",
                   .what = "log entry: LastFileOffset is not a multiple of 1 MiB (2.3.1.1, L06)",
                   .at = log.at + head.at});
  }
}

// The log judged by itself, then put over the file. Empty: it cannot be replayed, and what lies
// behind it cannot be judged.
Result<std::optional<LogPlan>> judge_log(File& file, const ParsedHead& head, Judge& judge) {
  auto scan = scan_log(file, head.log, head.header().log_guid);
  if (!scan) {
    if (!is_finding(scan.error())) return scan.error();
    judge.error(scan.error());
    return std::optional<LogPlan>{};
  }
  if (auto fits = judge_sequence(*scan, head.log, head.file_bytes); !fits) {
    if (scan->active.empty()) tell_why_not(*scan, head.log, judge);
    judge.error(fits.error());
    return std::optional<LogPlan>{};
  }
  note_log(*scan, head.log, judge);
  auto plan = plan_replay(file, head, *std::move(scan));
  if (plan) return std::optional<LogPlan>{std::move(*plan)};
  if (!is_finding(plan.error())) return plan.error();
  judge.error(plan.error());
  return std::optional<LogPlan>{};
}

std::vector<FileOffset> logged_sectors(const LogPlan& plan) {
  std::vector<FileOffset> out;
  out.reserve(plan.changes->sectors().size());
  for (const auto& [target, sector] : plan.changes->sectors()) out.push_back({target});
  return out;
}

// Everything behind the header section and the log, which lies replayed in `file`.
Status judge_body(File& file, const ParsedHead& head, std::span<const FileOffset> logged,
                  Judge& judge, Progress* progress) {
  ParsedImage image;
  if (auto parsed = parse_body(file, head, image, judge); !parsed) {
    if (!is_finding(parsed.error())) return parsed.error();
    // Told already, unless the file ended while it was read.
    if (judge.status()) judge.error(parsed.error());
    return Ok{};
  }
  if (image.counts.entries * kBatEntryBytes > image.bat.length) return Ok{};
  auto table = check_table(file, image, logged, judge, progress);
  if (!table) {
    if (!is_finding(table.error())) return table.error();
    judge.error(table.error());
  }
  if (!is_multiple(image.file_bytes, kAlignment)) {
    judge.warning({.id = "X18",
                   .what = "file: its size is not a multiple of 1 MiB (2.1, X18)",
                   .at = {image.file_bytes},
                   .repairable = true});
  }
  return Ok{};
}

Status judge_file(File& file, Judge& judge, Progress* progress) {
  auto head = parse_head(file, judge);
  if (!head) {
    if (!is_finding(head.error())) return head.error();
    if (judge.status()) judge.error(head.error());
    return Ok{};
  }
  if (!head->dirty()) return judge_body(file, *head, {}, judge, progress);
  OVHD_TRY(const std::optional<LogPlan> plan, judge_log(file, *head, judge));
  if (!plan) return Ok{};
  const auto overlay = overlay_of(*plan, file);
  OVHD_CHECK(judge_body(*overlay, *head, logged_sectors(*plan), judge, progress));
  if (auto rules = judge.status(); !rules) {
    judge.error({.id = "L10",
                 .what = "log: after its replay the file breaks a rule (2.3.3, L10)",
                 .at = head->log.at},
                rules.error().what);
  }
  return Ok{};
}

}  // namespace

Status check(File& file, std::vector<Finding>& findings, std::size_t limit, Progress* progress) {
  Judge judge{findings, limit};
  return judge_file(file, judge, progress);
}

}  // namespace openvhd::vhdx
