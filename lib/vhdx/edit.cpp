#include "vhdx/edit.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/try.hpp"
#include "vhdx/header_writer.hpp"

namespace openvhd::vhdx {

Status SectorEdits::put(File& file, FileOffset at, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::uint64_t start = align_down(at.value, kLogSectorBytes);
    auto place = sectors_.find(start);
    if (place == sectors_.end()) {
      Sector sector;
      OVHD_CHECK(file.read_exact({start}, sector, "metadata: the file ends inside it (X06)"));
      place = sectors_.emplace(start, sector).first;
    }
    const std::size_t inside = at.value - start;
    const std::size_t part = std::min(bytes.size(), kLogSectorBytes - inside);
    std::ranges::copy(bytes.first(part),
                      place->second.begin() + static_cast<std::ptrdiff_t>(inside));
    bytes = bytes.subspan(part);
    at = at + part;
  }
  return Ok{};
}

Status SectorEdits::clear(File& file, FileOffset at, std::uint64_t length) {
  static constexpr Sector kZeros{};
  const std::uint64_t end = at.value + length;
  const std::uint64_t whole = align_up(at.value, kLogSectorBytes);
  const std::uint64_t whole_end = align_down(end, kLogSectorBytes);
  if (whole >= whole_end) {
    // At most the ends of two sectors, less than one in all.
    while (at.value < end) {
      const std::uint64_t part =
          std::min(end, align_down(at.value, kLogSectorBytes) + kLogSectorBytes) - at.value;
      OVHD_CHECK(put(file, at, std::span{kZeros}.first(part)));
      at = at + part;
    }
    return Ok{};
  }
  if (at.value < whole) OVHD_CHECK(put(file, at, std::span{kZeros}.first(whole - at.value)));
  if (whole_end < end) OVHD_CHECK(put(file, {whole_end}, std::span{kZeros}.first(end - whole_end)));
  zeros_.push_back({.at = {whole}, .length = whole_end - whole});
  return Ok{};
}

struct EditSession::HeaderEdit {
  HeaderChange change{};
  bool commits = false;
  const char* what = "";
};

Result<EditSession> EditSession::open(const ParsedImage& image, Host& host) {
  if (image.log.length == 0) {
    return Error{.code = Errc::unsupported,
                 .where = kHeaderAt[image.current_header],
                 .what = "header: no log, so that metadata cannot be written (2.2.2, 2.3)"};
  }
  if (image.log.length > kMaxLogBytes) {
    return Error{
        .code = Errc::unsupported,
        .where = image.log.at,
        .what = "log: longer than 256 MiB, so that metadata cannot be written (2.2.2, D6)"};
  }
  OVHD_CHECK(require_header_updates(image.header, image.current_header));
  return EditSession{image.header, image.current_header, image.log, host};
}

Status EditSession::add_header(const HeaderEdit& edit, std::vector<FileStep>& steps) {
  OVHD_TRY(const HeaderUpdate update, next_header(header_, copy_, edit.change));
  steps.push_back(durable_step(update.at, {update.bytes.begin(), update.bytes.end()}, edit.what));
  steps.back().commits = edit.commits;
  header_ = update.header;
  copy_ = update.copy;
  return Ok{};
}

std::vector<std::byte> EditSession::entry(const Change& change, const Guid& log_guid) const {
  std::vector<LogWrite> writes;
  for (const auto& [at, sector] : change.edits.writes()) {
    writes.push_back({.at = {at}, .bytes = sector.data()});
  }
  std::vector<std::byte> out(change.edits.entry_bytes());
  // The only entry of its log, at the start: its GUID was never used, so nothing old matches.
  build_log_entry({.log_guid = log_guid,
                   .sequence = 1,
                   .tail = 0,
                   .flushed_file_bytes = change.file_bytes,
                   .last_file_bytes = change.file_bytes,
                   .writes = writes,
                   .zeros = change.edits.zeros()},
                  out);
  return out;
}

Status EditSession::add_commit(const Change& change, std::vector<FileStep>& steps) {
  steps.push_back(sync_step("sync before the log entry"));
  const Guid log_guid = host_->random_guid();
  // A header that names a log without an entry is a corrupt image (L01): the entry is first.
  steps.push_back(durable_step(log_.at, entry(change, log_guid), "log entry (2.3.1): write"));
  HeaderEdit commit{
      .change = {.log_guid = log_guid}, .commits = true, .what = "header (2.2.2): write"};
  if (change.visible) commit.change.data_write_guid = host_->random_guid();
  OVHD_CHECK(add_header(commit, steps));
  for (const auto& [at, sector] : change.edits.writes()) {
    steps.push_back(write_step({at}, {sector.begin(), sector.end()}, "metadata: write in place"));
  }
  for (const LogZero& zero : change.edits.zeros()) {
    steps.push_back(
        range_step(IoCommand::Kind::zero, zero.at, zero.length, "metadata: zeros in place"));
  }
  steps.push_back(sync_step("sync before the log is emptied"));
  OVHD_CHECK(add_header({.change = {.log_guid = Guid{}}, .what = "header (2.2.2): write"}, steps));
  // Both copies say that the log is empty: if one is lost, nothing old is replayed.
  OVHD_CHECK(add_header({.what = "header (2.2.2): write"}, steps));
  return Ok{};
}

Result<std::vector<FileStep>> EditSession::steps(Change change) {
  if (change.edits.entry_bytes() > most_entry_bytes()) {
    return Error{.code = Errc::unsupported,
                 .where = log_.at,
                 .what = "log: too small for the change in one entry (2.3.1)"};
  }
  std::vector<FileStep> steps;
  if (!announced_) {
    // 2.2.2.1: before the first change of anything in the file. Headers are never logged.
    OVHD_CHECK(add_header(
        {.change = {.file_write_guid = host_->random_guid()}, .what = "header (2.2.2): write"},
        steps));
    announced_ = true;
  }
  std::ranges::move(change.before, std::back_inserter(steps));
  if (!change.edits.empty()) OVHD_CHECK(add_commit(change, steps));
  if (!change.after.empty()) {
    std::ranges::move(change.after, std::back_inserter(steps));
    steps.push_back(sync_step("sync of the image"));
  }
  return steps;
}

}  // namespace openvhd::vhdx
