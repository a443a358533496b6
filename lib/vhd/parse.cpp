#include "vhd/parse.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/try.hpp"

namespace openvhd::vhd {
namespace {

constexpr Error corrupt(FileOffset at, const char* what) noexcept {
  return {.code = Errc::corrupt, .where = at, .what = what};
}

/// Volumes are multiples of this, mostly: LVM's default extent.
constexpr std::uint64_t kSearchBytes = 4 * kMiB;

template <std::size_t N>
bool is(const std::array<char, N>& field, std::string_view text) noexcept {
  return std::string_view{field.data(), field.size()} == text;
}

Error no_footer(const ParsedImage& out) {
  if (out.end.cookie) return corrupt(out.end.at, "footer: checksum (V01)");
  if (out.copy && out.copy->cookie && !out.copy->checksum)
    return corrupt(out.copy->at, "footer missing, its copy: checksum (V01)");
  if (out.copy && out.copy->valid())
    return corrupt(out.copy->at, "footer missing, its copy is of no sparse disk (V01)");
  return corrupt(out.end.at, "footer and its copy: cookie (V01)");
}

bool is_sparse(const Footer& footer) noexcept {
  return footer.disk_type == kTypeDynamic || footer.disk_type == kTypeDifferencing;
}

bool is_poisoned(const FooterSighting& seen) noexcept {
  return is(seen.footer.cookie, kPoisonCookie);
}

Error poisoned_at(FileOffset at) {
  return corrupt(at, "footer: poison cookie of an unfinished update (V01)");
}

/// Chooses among the footer at the end, its copy and one in between. Without the first, the other
/// two together mean nothing certain. On a fixed disk the guest writes what is at 0, so it may
/// neither say what the disk is nor keep it from being opened.
Status choose_footer(File& file, ParsedImage& out) {
  if (is_poisoned(out.end)) return poisoned_at(out.end.at);
  if (out.end.valid()) {
    if (is_sparse(out.end.footer) && is_poisoned(*out.copy)) return poisoned_at(out.copy->at);
    out.footer = out.end.footer;
    out.footer_at = out.end.at;
    out.footer_at_end = true;
    if (out.end.length == kShortFooterBytes)
      add_finding(out, "V01", Severity::note, out.end.at, "footer: 511 bytes, as of old");
    return Ok{};
  }
  OVHD_TRY(const auto inside, search_fixed_footer(file, out.file_size));
  const bool poisoned = is_poisoned(*out.copy);
  if (poisoned && !inside) return poisoned_at(out.copy->at);
  if ((out.copy->cookie || poisoned) && out.copy->checksum && is_sparse(out.copy->footer)) {
    if (inside) {
      return corrupt(
          inside->at,
          "footer: a fixed disk's before the end of the file, a sparse disk's at 0 (V01)");
    }
    out.footer = out.copy->footer;
    out.footer_at = out.copy->at;
    add_finding(out, "V02", Severity::warning, out.end.at,
                out.end.cookie ? "footer: checksum; its copy at 0 serves"
                               : "footer: missing at the end of the file; its copy at 0 serves",
                true);
    return Ok{};
  }
  if (!inside) return no_footer(out);
  out.footer = inside->footer;
  out.footer_at = inside->at;
  add_finding(out, "V01", Severity::warning, inside->at, "footer: bytes follow it", true);
  return Ok{};
}

Status judge_footer(ParsedImage& out) {
  const Footer& footer = out.footer;
  const FileOffset at = out.footer_at;
  if (footer.file_format_version >> 16 != kVersion >> 16) {
    return Error{.code = Errc::unsupported, .where = at, .what = "footer: version (V01)"};
  }
  switch (std::uint32_t{footer.disk_type}) {
    case kTypeFixed:
      out.type = DiskType::fixed;
      break;
    case kTypeDynamic:
      out.type = DiskType::dynamic;
      break;
    case kTypeDifferencing:
      out.type = DiskType::differencing;
      break;
    default:
      return corrupt(at, "footer: disk type is none of 2, 3, 4 (V01)");
  }
  const std::uint64_t size = footer.current_size;
  if (size == 0) return corrupt(at, "footer: current size is zero (V01)");
  if (!is_multiple(size, kSectorBytes))
    return corrupt(at, "footer: current size is no multiple of 512 (V01)");
  if (size > kMaxVirtualSize) return corrupt(at, "footer: current size above 2040 GiB (V01)");
  out.virtual_size = virtual_size_of(footer);
  if (out.virtual_size != size) {
    add_finding(out, "V07", Severity::note, at,
                "geometry: this creator means it, so the disk is " +
                    std::to_string(out.virtual_size) + " bytes, not " + std::to_string(size));
  }
  if ((footer.features & kFeatureReserved) == 0)
    add_finding(out, "V01", Severity::note, at, "footer: reserved feature bit is clear");
  if ((footer.features & ~(kFeatureReserved | kFeatureTemporary)) != 0)
    add_finding(out, "V01", Severity::note, at, "footer: unknown feature bits");
  if ((footer.features & kFeatureTemporary) != 0)
    add_finding(out, "V01", Severity::note, at, "footer: marked as temporary");
  if (footer.saved_state != 0)
    add_finding(out, "V01", Severity::note, at, "footer: in saved state, not to be written");
  return Ok{};
}

Status judge_fixed(ParsedImage& out) {
  const std::uint64_t size = out.footer.current_size;
  if (out.footer_at.value < size)
    return corrupt(out.footer_at, "fixed disk: the file ends before its data (V01)");
  if (out.footer_at.value > size) {
    add_finding(out, "V01", Severity::warning, {size},
                "fixed disk: " + std::to_string(out.footer_at.value - size) +
                    " bytes between the data and the footer");
  }
  if (out.footer.data_offset != kNoOffset)
    add_finding(out, "V01", Severity::note, out.footer_at, "fixed disk: data offset is set");
  return Ok{};
}

Status judge_header(ParsedImage& out) {
  const DynamicHeader& header = out.header;
  const FileOffset at = out.header_at;
  if (!is(header.cookie, kHeaderCookie)) return corrupt(at, "dynamic header: cookie (V02)");
  if (checksum_of(header) != header.checksum) return corrupt(at, "dynamic header: checksum (V02)");
  if (header.header_version >> 16 != kVersion >> 16)
    return Error{.code = Errc::unsupported, .where = at, .what = "dynamic header: version (V02)"};
  out.block_size = header.block_size;
  if (!std::has_single_bit(out.block_size) || out.block_size < kMinBlockSize ||
      out.block_size > kMaxBlockSize)
    return corrupt(at, "dynamic header: block size (V03)");
  out.bitmap_length = bitmap_bytes(out.block_size);
  const std::uint64_t blocks = div_ceil(out.virtual_size, out.block_size);
  if (blocks > kMaxBlocks) return corrupt(at, "dynamic header: more than 2^22 blocks (V03)");
  out.blocks = narrow<std::uint32_t>(blocks);
  out.table_entries = header.max_table_entries;
  if (out.table_entries < out.blocks)
    return corrupt(at, "dynamic header: max table entries below the disk's blocks (V03)");
  out.table_at = {header.table_offset};
  out.table_bytes = align_up(std::uint64_t{out.table_entries} * kEntryBytes, kSectorBytes);
  if (!is_multiple(out.table_at.value, kSectorBytes))
    return corrupt(at, "dynamic header: table offset is no multiple of 512 (V03)");
  if (!range_fits(out.table_at.value, out.table_bytes, out.data_limit()))
    return corrupt(at, "dynamic header: the table ends outside the file (V03)");
  if (ranges_overlap(out.table_at.value, out.table_bytes, at.value, kHeaderBytes) ||
      out.table_at.value < kFooterBytes)
    return corrupt(at, "dynamic header: the table overlaps a header (V03)");
  if (header.data_offset != kNoOffset)
    add_finding(out, "V02", Severity::note, at, "dynamic header: data offset is set");
  if (out.table_entries > out.blocks) {
    add_finding(out, "V03", Severity::note, at,
                "dynamic header: " + std::to_string(out.table_entries - out.blocks) +
                    " table entries more than the disk has blocks");
  }
  return Ok{};
}

/// Behind the table, where Xen's tools put it; its header says where the map is.
Status find_batmap(File& file, ParsedImage& out) {
  const FileOffset at = out.table_at + out.table_bytes;
  if (!range_fits(at.value, kSectorBytes, out.data_limit())) return Ok{};
  std::array<std::byte, sizeof(BatmapHeader)> raw;
  OVHD_CHECK(file.read_exact(at, raw, "batmap header: read (V05)"));
  const auto header = load<BatmapHeader>(raw);
  if (!is(header.cookie, kBatmapCookie)) return Ok{};
  const std::uint64_t length = std::uint64_t{header.batmap_size} * kSectorBytes;
  if (!range_fits(header.batmap_offset, length, out.data_limit())) {
    add_finding(out, "V05", Severity::warning, at, "batmap: outside the file, ignored");
    return Ok{};
  }
  out.has_batmap = true;
  out.structures.push_back({"batmap header", at, kSectorBytes, 0});
  out.structures.push_back({"batmap", {header.batmap_offset}, length, 0});
  return Ok{};
}

Status parse_sparse(File& file, ParsedImage& out) {
  out.header_at = {out.footer.data_offset};
  if (!range_fits(out.header_at.value, kHeaderBytes, out.data_limit()))
    return corrupt(out.footer_at, "footer: data offset outside the file (V02)");
  if (out.header_at.value < kFooterBytes)
    return corrupt(out.footer_at, "footer: data offset inside the footer's copy (V02)");
  std::array<std::byte, kHeaderBytes> raw;
  OVHD_CHECK(file.read_exact(out.header_at, raw, "dynamic header: read (V02)"));
  out.header = load<DynamicHeader>(raw);
  OVHD_CHECK(judge_header(out));
  out.lsb_first = bitmaps_are_lsb_first(out.footer);
  out.structures = {{"footer copy", {}, kFooterBytes, 0},
                    {"dynamic header", out.header_at, kHeaderBytes, 0},
                    {"block allocation table", out.table_at, out.table_bytes, 0}};
  OVHD_CHECK(find_batmap(file, out));
  if (out.type == DiskType::differencing) OVHD_CHECK(parse_parent(file, out));
  return Ok{};
}

void judge_copy(ParsedImage& out) {
  if (!out.footer_at_end) return;
  if (!out.copy->valid()) {
    add_finding(out, "V02", Severity::warning, out.copy->at,
                "footer copy: damaged; the footer at the end serves", true);
    return;
  }
  Footer mine = out.footer;
  Footer other = out.copy->footer;
  if (other.unique_id != mine.unique_id) {
    add_finding(out, "V02", Severity::warning, out.copy->at,
                "footer copy: has another unique id; the footer at the end counts", true);
    return;
  }
  out.copy_is_current = std::memcmp(&mine, &other, sizeof mine) == 0;
  if (!out.copy_is_current) {
    add_finding(out, "V02", Severity::warning, out.copy->at,
                "footer copy: differs from the footer, which counts", true);
  }
}

}  // namespace

std::vector<FileRange> ParsedImage::kept_ranges() const {
  std::vector<FileRange> out = set_aside;
  for (const Structure& s : structures) out.push_back({s.at, std::max(s.length, s.space)});
  return out;
}

namespace {

/// One past the last byte that the host does not know to be zero, or a little more. A file that
/// was about to grow when power was lost may be much longer than what is in it.
Result<std::uint64_t> end_of_data(File& file, std::uint64_t file_size) {
  constexpr std::uint64_t kStep = 4096;
  std::uint64_t low = 0;  // in steps: there is data behind it, or it is 0
  std::uint64_t high = div_ceil(file_size, kStep);
  while (low + 1 < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    OVHD_TRY(const FileRange run, file.next_data({middle * kStep}, {file_size}));
    (run.length != 0 ? low : high) = middle;
  }
  return std::min(high * kStep, file_size);
}

}  // namespace

Result<std::optional<FooterSighting>> search_fixed_footer(File& file, std::uint64_t file_size) {
  OVHD_TRY(const std::uint64_t end, end_of_data(file, file_size));
  const std::uint64_t first =
      align_up(end > kSearchBytes ? end - kSearchBytes : kSectorBytes, kSectorBytes);
  // The last one: a guest may have put another into its data.
  std::optional<FooterSighting> found;
  std::vector<std::byte> buffer(64 * kKiB);
  for (std::uint64_t at = first; at < end; at += buffer.size()) {
    OVHD_TRY(const std::size_t got, file.read_some({at}, buffer));
    for (std::size_t i = 0; i + kFooterBytes <= got; i += kSectorBytes) {
      if (std::memcmp(buffer.data() + i, kFooterCookie.data(), kFooterCookie.size()) != 0) continue;
      OVHD_TRY(const auto seen, sight_footer(file, {at + i}, kFooterBytes));
      if (seen.valid() && seen.footer.disk_type == kTypeFixed &&
          seen.footer.current_size == at + i) {
        found = seen;
      }
    }
    if (got < buffer.size()) break;
  }
  return found;
}

Result<FooterSighting> sight_footer(File& file, FileOffset at, std::size_t length) {
  std::array<std::byte, kFooterBytes> raw{};
  OVHD_TRY(const std::size_t got, file.read_some(at, std::span{raw}.first(length)));
  FooterSighting out{.at = at, .length = got, .footer = load<Footer>(raw)};
  out.cookie = is(out.footer.cookie, kFooterCookie);
  out.checksum = got >= kShortFooterBytes && checksum_of(out.footer) == out.footer.checksum;
  return out;
}

Status parse(File& file, ParsedImage& out) {
  OVHD_TRY(out.file_size, file.size());
  if (out.file_size < kShortFooterBytes)
    return corrupt({}, "footer: the file is shorter than one (V01)");
  const std::uint64_t last = out.file_size - std::min<std::uint64_t>(out.file_size, kFooterBytes);
  OVHD_TRY(out.end, sight_footer(file, {last}, kFooterBytes));
  if (!out.end.valid()) {
    OVHD_TRY(const auto brief,
             sight_footer(file, {out.file_size - kShortFooterBytes}, kShortFooterBytes));
    if (brief.valid()) out.end = brief;
  }
  OVHD_TRY(out.copy, sight_footer(file, {}, kFooterBytes));
  OVHD_CHECK(choose_footer(file, out));
  OVHD_CHECK(judge_footer(out));
  if (out.type == DiskType::fixed) return judge_fixed(out);
  OVHD_CHECK(parse_sparse(file, out));
  judge_copy(out);
  return Ok{};
}

void add_finding(ParsedImage& out, const char* id, Severity severity, FileOffset at,
                 std::string text, bool repairable) {
  out.findings.push_back({id, severity, at, std::move(text), repairable});
}

const char* invariant_of(const Error& error) noexcept {
  constexpr std::array kIds{"V01", "V02", "V03", "V04", "V05", "V06", "V07"};
  for (const char* id : kIds) {
    if (std::strstr(error.what, id) != nullptr) return id;
  }
  return "V01";
}

}  // namespace openvhd::vhd
