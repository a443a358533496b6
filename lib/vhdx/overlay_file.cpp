#include "vhdx/overlay_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/checked.hpp"
#include "base/try.hpp"

namespace openvhd::vhdx {
namespace {

// Copies to, or clears, bytes of a scattered buffer, from `skip` bytes into it.
void scatter(std::span<const iovec> buffers, std::uint64_t skip, const std::byte* from,
             std::uint64_t length) noexcept {
  for (const iovec& piece : buffers) {
    if (length == 0) return;
    if (skip >= piece.iov_len) {
      skip -= piece.iov_len;
      continue;
    }
    const std::uint64_t part = std::min<std::uint64_t>(piece.iov_len - skip, length);
    std::byte* to = static_cast<std::byte*>(piece.iov_base) + skip;
    if (from != nullptr) {
      std::memcpy(to, from, part);
      from += part;
    } else {
      std::memset(to, 0, part);
    }
    length -= part;
    skip = 0;
  }
}

}  // namespace

OverlayFile::OverlayFile(File& base, std::shared_ptr<const LogChanges> changes,
                         std::uint64_t least_bytes)
    : base_{&base},
      base_bytes_{base.size()},
      changes_{std::move(changes)},
      least_bytes_{least_bytes} {
  const auto& sectors = changes_->sectors();
  const auto zeros = changes_->zeros();
  if (!sectors.empty())
    least_bytes_ = std::max(least_bytes_, sectors.rbegin()->first + kLogSectorBytes);
  if (!zeros.empty())
    least_bytes_ = std::max(least_bytes_, zeros.back().at.value + zeros.back().length);
}

Result<std::uint64_t> OverlayFile::size() noexcept {
  OVHD_TRY(const std::uint64_t base, base_bytes_);
  return std::max(base, least_bytes_);
}

OverlayFile::Zeros OverlayFile::zeros_at(std::uint64_t at) const noexcept {
  const Zeros all = changes_->zeros();
  const auto first = std::ranges::partition_point(
      all, [&](const FileRange& range) { return range.at.value + range.length <= at; });
  return {first, all.end()};
}

bool OverlayFile::touches(std::uint64_t at, std::uint64_t length) const noexcept {
  const std::uint64_t end = at + length;
  const auto& sectors = changes_->sectors();
  const auto sector = sectors.lower_bound(align_down(at, std::uint64_t{kLogSectorBytes}));
  if (sector != sectors.end() && sector->first < end) return true;
  const Zeros zeros = zeros_at(at);
  return !zeros.empty() && zeros.front().at.value < end;
}

int OverlayFile::async_descriptor(const IoCommand& command) const noexcept {
  if (command.kind != IoCommand::Kind::read || command.length == 0) return -1;
  const auto end = checked_add(command.at.value, command.length);
  if (!end || touches(command.at.value, command.length)) return -1;
  // Past its end the base answers short, and this file with zeros.
  if (!base_bytes_ || (*end > *base_bytes_ && least_bytes_ > *base_bytes_)) return -1;
  return base_->async_descriptor(command);
}

std::int32_t OverlayFile::execute(const IoCommand& command) noexcept {
  if (command.kind == IoCommand::Kind::read) return read(command);
  return command.kind == IoCommand::Kind::sync ? 0 : -EROFS;
}

std::int32_t OverlayFile::read(const IoCommand& command) noexcept {
  const std::uint64_t at = command.at.value;
  if (!checked_add(at, command.length)) return -EINVAL;
  const std::int32_t got = base_->execute(command);
  if (got < 0) return got;
  if (!base_bytes_) return -EIO;

  auto done = static_cast<std::uint64_t>(got);
  if (at + done >= *base_bytes_ && least_bytes_ > at + done) {
    const std::uint64_t more = std::min(command.length - done, least_bytes_ - (at + done));
    scatter(command.buffers, done, nullptr, more);
    done += more;
  }
  const std::uint64_t end = at + done;
  for (const FileRange& zeros : zeros_at(at)) {
    if (zeros.at.value >= end) break;
    const std::uint64_t from = std::max(zeros.at.value, at);
    scatter(command.buffers, from - at, nullptr,
            std::min(zeros.at.value + zeros.length, end) - from);
  }
  const std::int32_t failed = read_sectors(command, end);
  return failed != 0 ? failed : static_cast<std::int32_t>(done);
}

std::int32_t OverlayFile::read_sectors(const IoCommand& command, std::uint64_t end) noexcept {
  const std::uint64_t at = command.at.value;
  const auto& sectors = changes_->sectors();
  auto sector = sectors.lower_bound(align_down(at, std::uint64_t{kLogSectorBytes}));
  std::array<std::byte, kLogSectorBytes> bytes;
  for (; sector != sectors.end() && sector->first < end; ++sector) {
    if (const Status read = LogChanges::restore(sector->second, *base_, bytes); !read) {
      return read.error().sys_errno != 0 ? -read.error().sys_errno : -EBADMSG;
    }
    const std::uint64_t from = std::max(sector->first, at);
    const std::uint64_t to = std::min(sector->first + kLogSectorBytes, end);
    scatter(command.buffers, from - at, bytes.data() + (from - sector->first), to - from);
  }
  return 0;
}

// Data of the base that no range of zeros hides.
Result<FileRange> OverlayFile::next_base_data(std::uint64_t at, std::uint64_t end) noexcept {
  OVHD_TRY(const std::uint64_t base, base_bytes_);
  const std::uint64_t stop = std::min(end, base);
  while (at < stop) {
    OVHD_TRY(const FileRange run, base_->next_data({at}, {stop}));
    if (run.length == 0) break;
    const Zeros zeros = zeros_at(run.at.value);
    const std::uint64_t run_end = run.at.value + run.length;
    if (zeros.empty() || zeros.front().at.value >= run_end) return run;
    const FileRange& hidden = zeros.front();
    if (hidden.at.value > run.at.value) return FileRange{run.at, hidden.at.value - run.at.value};
    at = hidden.at.value + hidden.length;
  }
  return FileRange{{end}, 0};
}

Result<FileRange> OverlayFile::next_data(FileOffset at, FileOffset end) noexcept {
  OVHD_TRY(const FileRange base, next_base_data(at.value, end.value));
  const auto& sectors = changes_->sectors();
  const auto sector = sectors.lower_bound(align_down(at.value, std::uint64_t{kLogSectorBytes}));
  if (sector == sectors.end() || sector->first >= end.value) return base;
  const std::uint64_t from = std::max(sector->first, at.value);
  if (base.length != 0 && base.at.value <= from) return base;
  const std::uint64_t to = std::min(sector->first + kLogSectorBytes, end.value);
  return FileRange{{from}, to - from};
}

}  // namespace openvhd::vhdx
