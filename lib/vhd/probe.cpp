#include <algorithm>
#include <array>

#include "base/try.hpp"
#include "vhd/parse.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::vhd {
namespace {

/// A damaged footer is still recognised, so that its damage is reported and not "unknown
/// format". What passes: a cookie, and what never varies behind it. A tar file whose first
/// member is called "conectix..." has the rest of a name there.
bool looks_like_footer(const FooterSighting& seen) {
  if (seen.valid()) return true;
  const std::string_view cookie{seen.footer.cookie.data(), seen.footer.cookie.size()};
  if (cookie != kFooterCookie && cookie != kPoisonCookie) return false;
  return seen.footer.file_format_version >> 16 == kVersion >> 16 &&
         (seen.footer.features & ~(kFeatureTemporary | kFeatureReserved)) == 0;
}

/// Both footers lost, the header behind the copy intact: a damaged image all the same.
Result<bool> header_at_usual_place(File& file) {
  std::array<std::byte, kHeaderBytes> raw{};
  OVHD_TRY(const std::size_t got, file.read_some({kFooterBytes}, raw));
  if (got < raw.size()) return false;
  const auto header = load<DynamicHeader>(raw);
  return std::string_view{header.cookie.data(), header.cookie.size()} == kHeaderCookie &&
         checksum_of(header) == header.checksum;
}

}  // namespace

Result<bool> probe(File& file) {
  OVHD_TRY(const std::uint64_t size, file.size());
  OVHD_TRY(const auto copy, sight_footer(file, {}, kFooterBytes));
  if (looks_like_footer(copy)) return true;
  if (size < kShortFooterBytes) return false;
  for (const std::size_t length : {kFooterBytes, kShortFooterBytes}) {
    if (size < length) continue;
    OVHD_TRY(const auto end, sight_footer(file, {size - length}, length));
    if (looks_like_footer(end)) return true;
  }
  OVHD_TRY(const bool header, header_at_usual_place(file));
  if (header) return true;
  OVHD_TRY(const auto inside, search_fixed_footer(file, size));
  return inside.has_value();
}

}  // namespace openvhd::vhd
