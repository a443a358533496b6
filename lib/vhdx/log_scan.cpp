#include "vhdx/log_scan.hpp"

#include <algorithm>
#include <unordered_map>

#include "base/crc32c.hpp"
#include "base/try.hpp"
#include "vhdx/log_ring.hpp"

namespace openvhd::vhdx {
namespace {

// A disk of 64 TiB, its bitmaps, its table, a log and two thousand regions stay below.
constexpr std::uint64_t kMaxFileBytes = 128 * kTiB;

Error broken(FileOffset at, const char* what) noexcept {
  return {.code = Errc::corrupt, .where = at, .what = what};
}

std::uint32_t signature_in(std::span<const std::byte> sector) noexcept {
  return load<Le32>(sector);
}

// Collects entries while sectors go by.
class Scanner {
 public:
  Scanner(Area log, const Guid& guid, LogScan& out) : log_{log}, guid_{guid}, out_{out} {}

  bool inside_entry() const { return checker_.has_value(); }

  void start(std::span<const std::byte> sector, std::uint64_t at) {
    if (checker_) drop(broken(log_.at + at_, "log entry: cut off by another one (2.3.1, L02)"));
    if (load<LogEntryHeader>(sector).log_guid != guid_) {
      ++out_.foreign;
      return;
    }
    at_ = at;
    checker_.emplace(log_);
    settle(checker_->begin(sector, at));
  }

  void feed(std::span<const std::byte> sector) { settle(checker_->feed(sector)); }

  void end() {
    if (checker_) drop(broken(log_.at + at_, "log entry: cut off (2.3.1, L02)"));
  }

 private:
  void settle(const Status& status) {
    if (!status) return drop(status.error());
    if (!checker_->complete()) return;
    if (auto entry = checker_->finish()) {
      out_.entries.push_back(*entry);
      checker_.reset();
    } else {
      drop(entry.error());
    }
  }

  void drop(const Error& error) {
    if (out_.bad.size() < kMaxBadEntries) out_.bad.push_back({.at = at_, .error = error});
    checker_.reset();
  }

  Area log_;
  Guid guid_;
  LogScan& out_;
  std::optional<LogEntryChecker> checker_;
  std::uint64_t at_ = 0;
};

// 2.3.2: runs of entries that follow each other in the ring with consecutive numbers; a run counts
// when the tail of its head is one of its entries; the greatest head wins. An entry has one
// successor at most and numbers only rise, so the walk visits each entry once.
std::vector<LogEntry> active_sequence(const std::vector<LogEntry>& entries,
                                      std::uint64_t log_bytes) {
  std::unordered_map<std::uint64_t, std::size_t> by_place;
  for (std::size_t i = 0; i < entries.size(); ++i) by_place.emplace(entries[i].at, i);
  const auto next_of = [&](std::size_t i) -> std::optional<std::size_t> {
    const auto found = by_place.find((entries[i].at + entries[i].length) % log_bytes);
    if (found == by_place.end()) return std::nullopt;
    const bool consecutive = entries[i].sequence + 1 == entries[found->second].sequence;
    return consecutive ? std::optional{found->second} : std::nullopt;
  };
  std::vector<bool> follows(entries.size(), false);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (const auto next = next_of(i)) follows[*next] = true;
  }
  std::vector<LogEntry> best;
  for (std::size_t first = 0; first < entries.size(); ++first) {
    if (follows[first]) continue;
    std::vector<LogEntry> run;
    for (std::optional<std::size_t> i = first; i; i = next_of(*i)) run.push_back(entries[*i]);
    const LogEntry& head = run.back();
    if (!best.empty() && best.back().sequence >= head.sequence) continue;
    const auto tail = std::ranges::find(run, std::uint64_t{head.tail}, &LogEntry::at);
    if (tail != run.end()) best.assign(tail, run.end());
  }
  return best;
}

}  // namespace

Status LogEntryChecker::begin(std::span<const std::byte> sector, std::uint64_t at) noexcept {
  header_ = load<LogEntryHeader>(sector);
  entry_ = {.at = at,
            .length = header_.entry_length,
            .sequence = header_.sequence_number,
            .tail = header_.tail,
            .flushed_file_bytes = header_.flushed_file_offset,
            .last_file_bytes = header_.last_file_offset};
  OVHD_CHECK(check_entry_header(header_, log_.length, here()));
  crc_ = crc32c_without(sector, kLogChecksumField);
  seen_bytes_ = kLogSectorBytes;
  descriptors_left_ = header_.descriptor_count;
  data_left_ = 0;
  return take_descriptors(sector.subspan(sizeof(LogEntryHeader)));
}

void LogEntryChecker::judge_target(const LogDescriptor& descriptor) noexcept {
  const std::uint64_t at = descriptor.at.value;
  if (descriptor.length == 0) return;
  entry_.targets_end = std::max(entry_.targets_end, at + descriptor.length);
  if (at < kRegionTableAt[0].value) {
    entry_.forbidden = "log descriptor: target over the file identifier or a header (2.3, L05)";
  } else if (ranges_overlap(at, descriptor.length, log_.at.value, log_.length)) {
    entry_.forbidden = "log descriptor: target inside the log (2.3, L05)";
  }
}

Status LogEntryChecker::take_descriptors(std::span<const std::byte> area) noexcept {
  for (; descriptors_left_ != 0 && !area.empty(); area = area.subspan(kDescriptorBytes)) {
    OVHD_TRY(const LogDescriptor descriptor, parse_descriptor(area, entry_.sequence, here()));
    --descriptors_left_;
    judge_target(descriptor);
    if (descriptor.is_data) {
      ++entry_.data_descriptors;
      ++data_left_;
    } else {
      ++entry_.zero_descriptors;
      // Targets do not overflow one by one; their sum may.
      entry_.zeroed_bytes =
          checked_add(entry_.zeroed_bytes, descriptor.length).value_or(~std::uint64_t{0});
    }
  }
  const std::uint64_t room = (entry_.length - seen_bytes_) / kLogSectorBytes;
  if (descriptors_left_ == 0 && data_left_ > room) {
    return broken(here(), "log entry: data sectors do not fit (2.3.1, L04)");
  }
  return Ok{};
}

Status LogEntryChecker::feed(std::span<const std::byte> sector) noexcept {
  crc_ = crc32c(sector, crc_);
  seen_bytes_ += kLogSectorBytes;
  if (descriptors_left_ != 0) return take_descriptors(sector);
  if (data_left_ == 0) return Ok{};  // an entry may be longer than it needs
  --data_left_;
  return check_data_sector(sector, entry_.sequence, here());
}

Result<LogEntry> LogEntryChecker::finish() const noexcept {
  if (descriptors_left_ != 0 || data_left_ != 0) {
    return broken(here(), "log entry: shorter than its descriptors say (2.3.1, L04)");
  }
  if (crc_ != header_.checksum) return broken(here(), "log entry: checksum (2.3.1.1, L02)");
  return entry_;
}

Result<LogScan> scan_log(File& file, Area log, const Guid& log_guid) {
  if (log.length > kMaxLogBytes) {
    return Error{.code = Errc::unsupported,
                 .where = log.at,
                 .what = "log: longer than 256 MiB (2.3, open budget)"};
  }
  LogScan out;
  RingReader ring{file, log};
  Scanner scanner{log, log_guid, out};
  // Once around, and on for the entry that wraps, if there is one.
  for (std::uint64_t at = 0; at < 2 * log.length; at += kLogSectorBytes) {
    const bool again = at >= log.length;
    if (again && !scanner.inside_entry()) break;
    OVHD_TRY(const auto sector, ring.sector(at % log.length));
    const bool first_sector = signature_in(sector) == kLogEntrySignature;
    if (first_sector && again) break;
    if (first_sector) {
      scanner.start(sector, at);
    } else if (scanner.inside_entry()) {
      scanner.feed(sector);
    }
  }
  scanner.end();
  out.active = active_sequence(out.entries, log.length);
  return out;
}

Status judge_sequence(const LogScan& scan, Area log, std::uint64_t file_bytes) noexcept {
  if (scan.active.empty()) {
    return broken(log.at, "log: no valid sequence of entries (2.3.2, L01)");
  }
  const LogEntry& head = scan.active.back();
  const FileOffset head_at = log.at + head.at;
  if (head.flushed_file_bytes > file_bytes) {
    return broken(head_at, "log: the file was truncated (2.3.3, FlushedFileOffset, L06)");
  }
  // An entry from before the file shrank may reach past the end that the head tells.
  std::uint64_t end = 0;
  for (const LogEntry& entry : scan.active) end = std::max(end, entry.last_file_bytes);
  if (end > kMaxFileBytes) {
    return broken(head_at, "log entry: LastFileOffset past any possible file (2.3.1.1, L06)");
  }
  for (const LogEntry& entry : scan.active) {
    if (entry.forbidden != nullptr) return broken(log.at + entry.at, entry.forbidden);
    if (entry.targets_end > end) {
      return broken(log.at + entry.at, "log descriptor: target past LastFileOffset (2.3.1, L05)");
    }
  }
  return Ok{};
}

}  // namespace openvhd::vhdx
