#include "vhd/owned_space.hpp"

#include <algorithm>

#include "base/try.hpp"
#include "vhd/scan.hpp"

namespace openvhd::vhd {

Result<OwnedSpace> read_owned_space(File& file, const ParsedImage& image) {
  OwnedSpace out;
  OVHD_TRY(const ScanResult scan,
           scan_table(file, image,
                      [&](std::uint32_t block, std::uint32_t start, EntryVerdict verdict,
                          std::uint32_t) -> Result<bool> {
                        if (verdict == EntryVerdict::good) {
                          out.blocks.push_back({block, {std::uint64_t{start} * kSectorBytes}});
                        }
                        return true;
                      }));
  if (scan.damaged) {
    return Error{.code = Errc::corrupt,
                 .where = image.table_at,
                 .what = "block allocation table: damaged, so nothing is changed (V04)"};
  }
  out.structures = image.kept_ranges();
  std::ranges::sort(out.structures, {}, &FileRange::at);
  out.end = scan.end;
  for (const FileRange& range : out.structures) {
    out.end = std::max(out.end, align_up(range.at.value + range.length, kSectorBytes));
  }
  return out;
}

}  // namespace openvhd::vhd
