#include "vhdx/overlay_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <limits>

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

void OverlayFile::replace(FileOffset at, const std::byte* bytes) {
  sectors_[at.value] = bytes;
  extend(at.value + kSectorBytes);
}

void OverlayFile::zero_out(FileOffset at, std::uint64_t length) {
  if (length == 0) return;
  std::uint64_t start = at.value;
  std::uint64_t end = at.value + length;
  extend(end);
  sectors_.erase(sectors_.lower_bound(start), sectors_.lower_bound(end));
  // Merge with what touches it.
  auto range = zeros_.upper_bound(start);
  if (range != zeros_.begin() && std::prev(range)->second >= start) --range;
  while (range != zeros_.end() && range->first <= end) {
    start = std::min(start, range->first);
    end = std::max(end, range->second);
    range = zeros_.erase(range);
  }
  zeros_.emplace(start, end);
}

void OverlayFile::extend(std::uint64_t bytes) { least_bytes_ = std::max(least_bytes_, bytes); }

Result<std::uint64_t> OverlayFile::size() noexcept {
  OVHD_TRY(const std::uint64_t base, base_bytes_);
  return std::max(base, least_bytes_);
}

OverlayFile::Zeros::const_iterator OverlayFile::zeros_at(std::uint64_t at) const noexcept {
  auto range = zeros_.upper_bound(at);
  if (range != zeros_.begin() && std::prev(range)->second > at) --range;
  return range;
}

bool OverlayFile::touches(std::uint64_t at, std::uint64_t length) const noexcept {
  const std::uint64_t end = at + length;
  const auto sector = sectors_.lower_bound(align_down(at, kSectorBytes));
  if (sector != sectors_.end() && sector->first < end) return true;
  const auto zeros = zeros_at(at);
  return zeros != zeros_.end() && zeros->first < end;
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
  for (auto zeros = zeros_at(at); zeros != zeros_.end() && zeros->first < end; ++zeros) {
    const std::uint64_t from = std::max(zeros->first, at);
    scatter(command.buffers, from - at, nullptr, std::min(zeros->second, end) - from);
  }
  auto sector = sectors_.lower_bound(align_down(at, kSectorBytes));
  for (; sector != sectors_.end() && sector->first < end; ++sector) {
    const std::uint64_t from = std::max(sector->first, at);
    const std::uint64_t to = std::min(sector->first + kSectorBytes, end);
    scatter(command.buffers, from - at, sector->second + (from - sector->first), to - from);
  }
  return static_cast<std::int32_t>(done);
}

// Data of the base that no range of zeros hides.
Result<FileRange> OverlayFile::next_base_data(std::uint64_t at, std::uint64_t end) noexcept {
  OVHD_TRY(const std::uint64_t base, base_bytes_);
  const std::uint64_t stop = std::min(end, base);
  while (at < stop) {
    OVHD_TRY(const FileRange run, base_->next_data({at}, {stop}));
    if (run.length == 0) break;
    const auto zeros = zeros_at(run.at.value);
    const std::uint64_t run_end = run.at.value + run.length;
    if (zeros == zeros_.end() || zeros->first >= run_end) return run;
    if (zeros->first > run.at.value) return FileRange{run.at, zeros->first - run.at.value};
    at = zeros->second;
  }
  return FileRange{{end}, 0};
}

Result<FileRange> OverlayFile::next_data(FileOffset at, FileOffset end) noexcept {
  OVHD_TRY(const FileRange base, next_base_data(at.value, end.value));
  const auto sector = sectors_.lower_bound(align_down(at.value, kSectorBytes));
  if (sector == sectors_.end() || sector->first >= end.value) return base;
  const std::uint64_t from = std::max(sector->first, at.value);
  if (base.length != 0 && base.at.value <= from) return base;
  const std::uint64_t to = std::min(sector->first + kSectorBytes, end.value);
  return FileRange{{from}, to - from};
}

}  // namespace openvhd::vhdx
