#include "vhdx/log_replay.hpp"

#include <algorithm>
#include <array>

#include "base/try.hpp"
#include "vhdx/header_writer.hpp"
#include "vhdx/log_ring.hpp"

namespace openvhd::vhdx {
namespace {

Error changed_while_read(const LogEntry& entry, Area log) noexcept {
  return {.code = Errc::corrupt,
          .where = log.at + entry.at,
          .what = "log entry: changed while it was read (L07)"};
}

// Reads one entry that the scan found valid, once: what is collected is what is checked, since the
// file may have changed since the scan.
class EntryCollector {
 public:
  EntryCollector(RingReader& ring, const LogEntry& entry, Area log, LogChanges& changes)
      : ring_{ring},
        entry_{entry},
        checker_{log},
        changed_{changed_while_read(entry, log)},
        changes_{changes},
        left_{std::uint64_t{entry.data_descriptors} + entry.zero_descriptors} {
    data_from_ = entry.at + descriptor_sectors(left_) * kLogSectorBytes;
    targets_.reserve(entry.data_descriptors);
  }

  Status run() {
    OVHD_TRY(auto sector, ring_.sector(entry_.at));
    OVHD_CHECK(checker_.begin(sector, entry_.at));
    const LogEntryHeader& header = checker_.header();
    if (header.entry_length != entry_.length || header.descriptor_count != left_) return changed_;
    OVHD_CHECK(take_descriptors(sector.subspan(sizeof(LogEntryHeader))));
    for (std::uint64_t done = kLogSectorBytes; done < entry_.length; done += kLogSectorBytes) {
      const std::uint64_t at = entry_.at + done;
      OVHD_TRY(sector, ring_.sector(at));
      OVHD_CHECK(checker_.feed(sector));
      if (left_ != 0) {
        OVHD_CHECK(take_descriptors(sector));
      } else if (filled_ != targets_.size()) {
        changes_.fill(targets_[filled_++], ring_.place(at), sector);
      }
    }
    OVHD_TRY(const LogEntry read, checker_.finish());
    if (read != entry_) return changed_;
    return Ok{};
  }

 private:
  Status take_descriptors(std::span<const std::byte> area) {
    for (; left_ != 0 && !area.empty(); area = area.subspan(kDescriptorBytes), --left_) {
      OVHD_TRY(const LogDescriptor descriptor,
               parse_descriptor(area, entry_.sequence, changed_.where));
      if (!descriptor.is_data) {
        changes_.zero(descriptor.at, descriptor.length);
        continue;
      }
      const std::uint64_t at = data_from_ + targets_.size() * kLogSectorBytes;
      changes_.replace(descriptor, ring_.place(at));
      targets_.push_back(descriptor.at);
    }
    return Ok{};
  }

  RingReader& ring_;
  const LogEntry& entry_;
  LogEntryChecker checker_;
  Error changed_;
  LogChanges& changes_;
  std::uint64_t left_;           // descriptors not seen yet
  std::uint64_t data_from_ = 0;  // where in the ring the data sectors begin
  std::vector<FileOffset> targets_;
  std::size_t filled_ = 0;
};

// Zeros take no space from the host: one descriptor in a log of 4 KiB may name all of the file.
Status make_changes(const LogPlan& plan, File& file) noexcept {
  OVHD_TRY(const std::uint64_t size, file.size());
  if (size < plan.file_bytes) OVHD_CHECK(file.set_size(plan.file_bytes));
  for (const FileRange& zeros : plan.changes->zeros()) {
    if (zeros.at.value >= size) break;  // what the extension left is zeros
    OVHD_CHECK(file.punch(zeros.at, std::min(zeros.length, size - zeros.at.value)));
  }
  std::array<std::byte, kLogSectorBytes> bytes;
  for (const auto& [target, sector] : plan.changes->sectors()) {
    OVHD_CHECK(LogChanges::restore(sector, file, bytes));
    OVHD_CHECK(file.write_all({target}, bytes));
  }
  return Ok{};
}

}  // namespace

Result<LogPlan> plan_replay(File& file, const ParsedHead& head, LogScan scan) {
  LogPlan plan;
  plan.entries = std::move(scan.active);
  scan = {};
  std::uint64_t zeros = 0;
  for (const LogEntry& entry : plan.entries) {
    zeros += entry.zero_descriptors;
    plan.file_bytes = std::max(plan.file_bytes, entry.targets_end);
  }
  plan.file_bytes = std::max(plan.file_bytes, plan.entries.back().last_file_bytes);
  if (zeros > kMaxLogZeros) {
    return Error{.code = Errc::unsupported,
                 .where = head.log.at,
                 .what = "log: more than 2^20 zero descriptors (2.3.1.2, open budget)"};
  }
  auto changes = std::make_shared<LogChanges>();
  RingReader ring{file, head.log};
  for (const LogEntry& entry : plan.entries) {
    OVHD_CHECK(EntryCollector(ring, entry, head.log, *changes).run());
  }
  changes->settle();
  plan.changes = std::move(changes);
  return plan;
}

Result<LogPlan> plan_replay(File& file, const ParsedHead& head) {
  OVHD_TRY(LogScan scan, scan_log(file, head.log, head.header().log_guid));
  OVHD_CHECK(judge_sequence(scan, head.log, head.file_bytes));
  return plan_replay(file, head, std::move(scan));
}

std::unique_ptr<OverlayFile> overlay_of(const LogPlan& plan, File& file) {
  return std::make_unique<OverlayFile>(file, plan.changes, plan.file_bytes);
}

Status apply_to_file(const LogPlan& plan, File& file, ParsedHead& head, Host& host) {
  Header header = head.header();
  unsigned copy = head.current;
  OVHD_CHECK(require_header_updates(header, copy));
  // 2.2.2.1: before the first change of anything in the file.
  OVHD_CHECK(update_header(file, header, copy, {.file_write_guid = host.random_guid()}));
  OVHD_CHECK(make_changes(plan, file));
  OVHD_CHECK(file.sync());
  // In both copies: with one of them lost, the other must not ask for the old log again.
  OVHD_CHECK(update_both_headers(file, header, copy, {.log_guid = Guid{}}));
  Judge judge;
  OVHD_TRY(head, parse_head(file, judge));
  return Ok{};
}

}  // namespace openvhd::vhdx
