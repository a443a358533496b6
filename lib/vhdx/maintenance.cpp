#include <algorithm>
#include <string>
#include <vector>

#include "base/try.hpp"
#include "vhdx/check_table.hpp"
#include "vhdx/header_writer.hpp"
#include "vhdx/log_replay.hpp"
#include "vhdx/parse.hpp"
#include "vhdx/regions.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::vhdx {
namespace {

// A plan after which the file parses; the file is as it was.
Result<LogPlan> checked_plan(File& file, const ParsedHead& head) {
  OVHD_TRY(LogPlan plan, plan_replay(file, head));
  const auto overlay = overlay_of(plan, file);
  Judge judge;
  OVHD_TRY(const ParsedImage image, parse_strictly(*overlay, head, judge));
  static_cast<void>(image);
  return plan;
}

ReplayResult summary(const LogPlan& plan, std::uint64_t before) {
  ReplayResult out;
  out.was_dirty = true;
  out.entries = plan.entries.size();
  for (const LogEntry& entry : plan.entries) {
    out.sectors += entry.data_descriptors;
    out.zeroed_bytes += entry.zeroed_bytes;
  }
  out.first_sequence = plan.entries.front().sequence;
  out.last_sequence = plan.entries.back().sequence;
  out.file_size_before = before;
  out.file_size_after = std::max(before, plan.file_bytes);
  return out;
}

// 2.2.2.1: a new FileWriteGuid before the first change of anything in the file. It also writes
// the header copy that does not count, which mends it.
Status announce_writer(File& file, ParsedHead& head, Host& host) {
  Header header = head.header();
  unsigned copy = head.current;
  OVHD_CHECK(require_header_updates(header, copy));
  OVHD_CHECK(update_both_headers(file, header, copy, {.file_write_guid = host.random_guid()}));
  Judge judge;
  OVHD_TRY(head, parse_head(file, judge));
  return Ok{};
}

Status copy_region_table(File& file, unsigned from) {
  std::vector<std::byte> table(kRegionTableBytes);
  OVHD_CHECK(file.read_exact(kRegionTableAt[from], table,
                             "region table: the file ends inside it (2.2.3, X01)"));
  OVHD_CHECK(file.write_all(kRegionTableAt[1 - from], table));
  return file.sync();
}

std::string copy_name(unsigned copy) { return copy == 0 ? "the first copy" : "the second copy"; }

// What repair() may do to a file whose log is empty and that breaks no rule that forbids its use.
struct Damage {
  bool header = false;
  bool region_table = false;
  std::uint64_t file_bytes = 0;  // what it should have
};

Result<Damage> find_damage(File& file, const ParsedHead& head, ParsedImage& image) {
  Judge judge;
  OVHD_TRY(image, parse_strictly(file, head, judge));
  OVHD_TRY(const TableFacts table, check_table(file, image, {}, judge, nullptr));
  OVHD_CHECK(judge.status());
  OVHD_TRY(const RegionTableCopy first, read_region_table(file, 0));
  OVHD_TRY(const RegionTableCopy second, read_region_table(file, 1));
  Damage out;
  out.header = !image.other_header_valid;
  out.region_table =
      !image.other_region_table_valid || first.header.checksum != second.header.checksum;
  // Never cut: what lies behind the last extent may be somebody's last hope.
  out.file_bytes = align_up(std::max(image.file_bytes, table.extents_end), kAlignment);
  return out;
}

}  // namespace

Result<ReplayResult> replay(File& file, bool dry_run, Host& host) {
  Judge judge;
  OVHD_TRY(ParsedHead head, parse_head(file, judge));
  if (!head.dirty()) {
    return ReplayResult{.file_size_before = head.file_bytes, .file_size_after = head.file_bytes};
  }
  OVHD_TRY(const LogPlan plan, checked_plan(file, head));
  const ReplayResult out = summary(plan, head.file_bytes);
  if (!dry_run) OVHD_CHECK(apply_to_file(plan, file, head, host));
  return out;
}

Status repair(File& file, Host& host, std::vector<std::string>& actions) {
  OVHD_TRY(const ReplayResult replayed, replay(file, false, host));
  if (replayed.was_dirty) {
    actions.push_back("replayed " + std::to_string(replayed.entries) + " log entries");
  }
  Judge judge;
  OVHD_TRY(ParsedHead head, parse_head(file, judge));
  ParsedImage image;
  OVHD_TRY(const Damage damage, find_damage(file, head, image));
  const bool resize = damage.file_bytes != image.file_bytes;
  if (!damage.header && !damage.region_table && !resize) return Ok{};

  const unsigned other_header = 1 - head.current;
  OVHD_CHECK(announce_writer(file, head, host));
  if (damage.header) actions.push_back("rewrote " + copy_name(other_header) + " of the header");
  if (damage.region_table) {
    OVHD_CHECK(copy_region_table(file, image.current_region_table));
    actions.push_back("rewrote " + copy_name(1 - image.current_region_table) +
                      " of the region table");
  }
  if (resize) {
    OVHD_CHECK(file.set_size(damage.file_bytes));
    OVHD_CHECK(file.sync());
    actions.push_back("extended the file to " + std::to_string(damage.file_bytes) + " bytes");
  }
  return Ok{};
}

}  // namespace openvhd::vhdx
