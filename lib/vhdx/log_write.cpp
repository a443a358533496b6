#include "vhdx/log_write.hpp"

#include <algorithm>
#include <utility>

#include "base/try.hpp"
#include "vhdx/header_writer.hpp"

namespace openvhd::vhdx {
namespace {

HeaderChange log_guid(const Guid& guid) noexcept {
  return {.file_write_guid = std::nullopt, .data_write_guid = std::nullopt, .log_guid = guid};
}

Status apply(File& file, std::span<const LogWrite> writes) noexcept {
  for (const LogWrite& write : writes) {
    OVHD_CHECK(file.write_all(write.at, {write.bytes, kLogSectorBytes}));
  }
  return file.sync();
}

}  // namespace

Status SectorChanges::put(FileOffset at, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::uint64_t sector = align_down(at.value, kLogSectorBytes);
    const auto into = static_cast<std::size_t>(at.value - sector);
    const std::size_t length = std::min(bytes.size(), kLogSectorBytes - into);
    auto [known, fresh] = sectors_.try_emplace(sector, kLogSectorBytes);
    if (fresh) {
      OVHD_CHECK(file_->read_exact({sector}, known->second, "metadata: the file ends inside it"));
    }
    std::ranges::copy(bytes.first(length),
                      known->second.begin() + static_cast<std::ptrdiff_t>(into));
    at = at + length;
    bytes = bytes.subspan(length);
  }
  return Ok{};
}

std::vector<LogWrite> SectorChanges::writes() const {
  std::vector<LogWrite> out;
  for (const auto& [at, bytes] : sectors_) out.push_back({{at}, bytes.data()});
  return out;
}

std::size_t log_capacity(std::uint64_t log_bytes) noexcept {
  // Head and tail are never the same: a sector stays free (FORMAT 37).
  const std::uint64_t sectors = log_bytes / kLogSectorBytes;
  std::uint64_t count = sectors;
  while (count != 0 && log_entry_bytes(count, 0) >= log_bytes) --count;
  return static_cast<std::size_t>(std::min<std::uint64_t>(count, 1024));
}

Status write_through_log(File& file, ParsedHead& head, std::span<const LogWrite> writes,
                         Host& host) {
  if (writes.empty()) return Ok{};
  if (head.dirty()) {
    return Error{.code = Errc::invalid,
                 .where = kHeaderAt[head.current],
                 .what = "header: the log must be replayed before writing (2.3.3)"};
  }
  if (head.log.length == 0) {
    return Error{.code = Errc::unsupported,
                 .where = kHeaderAt[head.current],
                 .what = "header: no log, so that metadata cannot be written (2.2.2, 2.3)"};
  }
  if (writes.size() > log_capacity(head.log.length)) {
    return Error{.code = Errc::no_space,
                 .where = head.log.at,
                 .what = "log: too small for this change of metadata (2.3)"};
  }
  Header header = head.header();
  unsigned copy = head.current;
  OVHD_CHECK(require_header_updates(header, copy));
  OVHD_CHECK(update_header(file, header, copy, {.file_write_guid = host.random_guid()}));
  // What lies in the file now is durable with it: the sync just above covered its size.
  OVHD_TRY(const std::uint64_t file_bytes, file.size());
  const Guid guid = host.random_guid();
  std::vector<std::byte> entry(log_entry_bytes(writes.size(), 0));
  build_log_entry({.log_guid = guid,
                   .sequence = 1,
                   .tail = 0,
                   .flushed_file_bytes = file_bytes,
                   .last_file_bytes = file_bytes,
                   .writes = writes,
                   .zeros = {}},
                  entry);
  OVHD_CHECK(file.write_all(head.log.at, entry));
  OVHD_CHECK(file.sync());
  OVHD_CHECK(update_header(file, header, copy, log_guid(guid)));
  OVHD_CHECK(apply(file, writes));
  OVHD_CHECK(update_both_headers(file, header, copy, log_guid(Guid{})));
  Judge judge;
  OVHD_TRY(head, parse_head(file, judge));
  return Ok{};
}

}  // namespace openvhd::vhdx
