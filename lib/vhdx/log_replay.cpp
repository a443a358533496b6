#include "vhdx/log_replay.hpp"

#include <algorithm>

#include "base/try.hpp"
#include "vhdx/header_writer.hpp"

namespace openvhd::vhdx {
namespace {

// The bytes that are used are the bytes that were checked: the file may have changed since the
// scan.
Status check_again(std::span<const std::byte> bytes, const LogEntry& expected, Area log) noexcept {
  LogEntryChecker checker{log};
  OVHD_CHECK(checker.begin(bytes.first(kLogSectorBytes), expected.at));
  const bool same_length = checker.header().entry_length == expected.length;
  for (std::size_t at = kLogSectorBytes; same_length && at < bytes.size(); at += kLogSectorBytes) {
    OVHD_CHECK(checker.feed(bytes.subspan(at, kLogSectorBytes)));
  }
  if (same_length) {
    OVHD_TRY(const LogEntry entry, checker.finish());
    if (entry == expected) return Ok{};
  }
  return Error{.code = Errc::corrupt,
               .where = log.at + expected.at,
               .what = "log entry: changed while it was read (L07)"};
}

// Decodes the descriptors of one checked entry, and restores its data sectors in place.
Status collect_changes(std::span<std::byte> bytes, const LogEntry& entry, FileOffset at,
                       std::vector<LogChange>& changes) {
  const std::uint64_t count = std::uint64_t{entry.data_descriptors} + entry.zero_descriptors;
  std::size_t data = descriptor_sectors(count) * kLogSectorBytes;
  std::size_t place = sizeof(LogEntryHeader);
  for (std::uint64_t i = 0; i < count; ++i, place += kDescriptorBytes) {
    OVHD_TRY(const LogDescriptor descriptor,
             parse_descriptor(bytes.subspan(place), entry.sequence, at));
    LogChange change{.at = descriptor.at, .length = descriptor.length};
    if (descriptor.is_data) {
      const auto sector = bytes.subspan(data, kLogSectorBytes);
      restore_sector(descriptor, sector, sector);
      change.bytes = sector.data();
      data += kLogSectorBytes;
    }
    changes.push_back(change);
  }
  return Ok{};
}

// Zeros take no space from the host: one descriptor in a log of 4 KiB may name all of the file.
Status make_changes(const LogPlan& plan, File& file) noexcept {
  OVHD_TRY(const std::uint64_t size, file.size());
  if (size < plan.file_bytes) OVHD_CHECK(file.set_size(plan.file_bytes));
  std::uint64_t zeros_from = size;  // nothing behind it but what the extension left: zeros
  for (const LogChange& change : plan.changes) {
    if (change.bytes != nullptr) {
      OVHD_CHECK(file.write_all(change.at, {change.bytes, kLogSectorBytes}));
      zeros_from = std::max(zeros_from, change.at.value + kLogSectorBytes);
    } else if (change.length != 0 && change.at.value < zeros_from) {
      const std::uint64_t length = std::min(change.length, zeros_from - change.at.value);
      OVHD_CHECK(file.punch(change.at, length));
    }
  }
  return Ok{};
}

}  // namespace

Result<LogPlan> plan_replay(File& file, const ParsedHead& head) {
  OVHD_TRY(LogScan scan, scan_log(file, head.log, head.header().log_guid));
  OVHD_CHECK(judge_sequence(scan, head.log, head.file_bytes));
  LogPlan plan;
  plan.entries = std::move(scan.active);
  std::uint64_t total = 0;
  std::uint64_t data = 0;
  std::uint64_t zeros = 0;
  for (const LogEntry& entry : plan.entries) {
    total += entry.length;
    data += entry.data_descriptors;
    zeros += entry.zero_descriptors;
    plan.file_bytes = std::max(plan.file_bytes, entry.targets_end);
  }
  plan.file_bytes = std::max(plan.file_bytes, plan.entries.back().last_file_bytes);
  if (zeros > kMaxLogZeros) {
    return Error{.code = Errc::unsupported,
                 .where = head.log.at,
                 .what = "log: more than 2^20 zero descriptors (2.3.1.2, open budget)"};
  }
  OVHD_TRY(plan.bytes, read_ring(file, head.log, plan.entries.front().at, total));
  plan.changes.reserve(data + zeros);
  std::span<std::byte> rest{plan.bytes};
  for (const LogEntry& entry : plan.entries) {
    const auto bytes = rest.first(entry.length);
    OVHD_CHECK(check_again(bytes, entry, head.log));
    OVHD_CHECK(collect_changes(bytes, entry, head.log.at + entry.at, plan.changes));
    rest = rest.subspan(entry.length);
  }
  return plan;
}

void apply_to_overlay(const LogPlan& plan, OverlayFile& overlay) {
  overlay.extend(plan.file_bytes);
  for (const LogChange& change : plan.changes) {
    if (change.bytes != nullptr) {
      overlay.replace(change.at, change.bytes);
    } else {
      overlay.zero_out(change.at, change.length);
    }
  }
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
