#include "vhd/scan.hpp"

#include <algorithm>

#include "base/try.hpp"
#include "io/host.hpp"

namespace openvhd::vhd {
namespace {

constexpr std::uint32_t kEntriesAtOnce = 16384;

}  // namespace

EntryVerdict judge_place(const ParsedImage& image, std::uint32_t block, std::uint32_t start,
                         std::uint64_t data_limit) noexcept {
  const std::uint64_t at = std::uint64_t{start} * kSectorBytes;
  // Old writers left out what of the last block lies beyond the end of the disk.
  const std::uint64_t beyond =
      block + 1 == image.blocks
          ? std::uint64_t{image.blocks} * image.block_size - image.virtual_size
          : 0;
  if (!range_fits(at, image.stride() - beyond, data_limit)) return EntryVerdict::out_of_bounds;
  const bool hits = std::ranges::any_of(image.structures, [&](const Structure& s) {
    return ranges_overlap(at, image.stride(), s.at.value, s.length);
  });
  return hits ? EntryVerdict::overlaps_structure : EntryVerdict::good;
}

Result<ScanResult> scan_table(File& file, const ParsedImage& image, const EntryVisitor& visit) {
  ScanResult out;
  BlockClaims claims{narrow<std::uint32_t>(image.stride() / kSectorBytes), image.blocks,
                     random_seed(system_host())};
  std::vector<Be32> entries(kEntriesAtOnce);
  for (std::uint32_t first = 0; first < image.blocks; first += kEntriesAtOnce) {
    const auto count = std::min(kEntriesAtOnce, image.blocks - first);
    OVHD_CHECK(file.read_exact(image.table_at + std::uint64_t{first} * kEntryBytes,
                               std::as_writable_bytes(std::span{entries}.first(count)),
                               "block allocation table: read (V03)"));
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t start = entries[i];
      if (start == kUnused) continue;
      ++out.allocated;
      auto verdict = judge_place(image, first + i, start, image.data_limit());
      if (verdict == EntryVerdict::good && !claims.claim(start, first + i))
        verdict = EntryVerdict::shared;
      out.damaged = out.damaged || verdict != EntryVerdict::good;
      OVHD_TRY(const bool go_on, visit(first + i, start, verdict, claims.rival()));
      if (!go_on) return Error{.code = Errc::cancelled, .what = "stopped"};
    }
  }
  out.end = claims.end() * kSectorBytes;
  for (const Structure& s : image.structures)
    out.end = std::max(out.end, s.at.value + std::max(s.length, s.space));
  out.end = align_up(out.end, std::uint64_t{kSectorBytes});
  return out;
}

}  // namespace openvhd::vhd
