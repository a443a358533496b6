#include "vhdx/log_changes.hpp"

#include <algorithm>
#include <cstring>

#include "base/crc32c.hpp"
#include "base/try.hpp"

namespace openvhd::vhdx {

void LogChanges::replace(const LogDescriptor& descriptor, FileOffset data_at) {
  Sector& sector = sectors_[descriptor.at.value];
  sector.data_at = data_at;
  sector.leading = descriptor.leading;
  sector.trailing = descriptor.trailing;
}

void LogChanges::fill(FileOffset target, FileOffset data_at,
                      std::span<const std::byte> data_sector) {
  const auto found = sectors_.find(target.value);
  // A later descriptor of the same entry has the last word.
  if (found == sectors_.end() || found->second.data_at != data_at) return;
  Sector& sector = found->second;
  sector.checksum = crc32c(data_sector);
  if (sector.bytes == nullptr && kept_ < most_kept_) {
    sector.bytes = std::make_unique_for_overwrite<std::byte[]>(kLogSectorBytes);
    ++kept_;
  }
  if (sector.bytes == nullptr) return;
  restore_sector({.leading = sector.leading, .trailing = sector.trailing}, data_sector,
                 {sector.bytes.get(), kLogSectorBytes});
}

void LogChanges::zero(FileOffset at, std::uint64_t length) {
  if (length == 0) return;
  auto sector = sectors_.lower_bound(at.value);
  while (sector != sectors_.end() && sector->first < at.value + length) {
    if (sector->second.bytes != nullptr) --kept_;
    sector = sectors_.erase(sector);
  }
  zeros_.push_back({at, length});
}

void LogChanges::settle() {
  // Which came first no longer matters: sectors that were zeroed later are gone already.
  std::ranges::sort(zeros_, {}, [](const FileRange& range) { return range.at.value; });
  std::size_t last = 0;
  for (std::size_t i = 1; i < zeros_.size(); ++i) {
    const std::uint64_t end = zeros_[last].at.value + zeros_[last].length;
    const FileRange& next = zeros_[i];
    if (next.at.value > end) {
      zeros_[++last] = next;
    } else {
      zeros_[last].length = std::max(end, next.at.value + next.length) - zeros_[last].at.value;
    }
  }
  if (!zeros_.empty()) zeros_.resize(last + 1);
}

Status LogChanges::restore(const Sector& sector, File& file, std::span<std::byte> out) noexcept {
  if (sector.bytes != nullptr) {
    std::memcpy(out.data(), sector.bytes.get(), kLogSectorBytes);
    return Ok{};
  }
  OVHD_CHECK(file.read_exact(sector.data_at, out, "log: the file ends inside it (X03)"));
  if (crc32c(out) != sector.checksum) {
    return Error{.code = Errc::corrupt,
                 .where = sector.data_at,
                 .what = "log data sector: changed while it was in use (2.3.1.4, L07)"};
  }
  restore_sector({.leading = sector.leading, .trailing = sector.trailing}, out, out);
  return Ok{};
}

}  // namespace openvhd::vhdx
