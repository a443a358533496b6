#include <algorithm>

#include "base/try.hpp"
#include "vhd/bitmap_cache.hpp"
#include "vhd/scan.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::vhd {
namespace {

class Checker {
 public:
  Checker(File& file, std::vector<Finding>& findings, std::size_t limit, Progress* progress)
      : file_{file}, findings_{findings}, most_{findings.size() + limit}, progress_{progress} {}

  Status run(bool azure);

 private:
  void add(const char* id, Severity severity, FileOffset at, std::string text,
           bool repairable = false) {
    if (findings_.size() < most_)
      findings_.push_back({id, severity, at, std::move(text), repairable});
  }

  Severity severity_of(const Finding& finding) const;
  void check_footers();
  void check_geometry();
  void check_parent();
  void check_structures();
  Status check_padding();
  Status check_batmap();
  Status check_table();
  Result<bool> check_entry(std::uint32_t block, std::uint32_t start, EntryVerdict verdict,
                           std::uint32_t rival);
  Status check_bitmap(std::uint32_t block, std::uint32_t start);
  void check_tail(const ScanResult& scan);
  void check_azure();

  File& file_;
  std::vector<Finding>& findings_;
  std::size_t most_;
  Progress* progress_;
  ParsedImage image_;
  std::vector<std::byte> bitmap_;
  bool early_entries_ = false;
};

Status Checker::run(bool azure) {
  const Status parsed = parse(file_, image_);
  for (Finding& finding : image_.findings) {
    add(finding.id, severity_of(finding), finding.at, std::move(finding.text), finding.repairable);
  }
  if (!parsed) {
    const Error& error = parsed.error();
    if (error.code != Errc::corrupt && error.code != Errc::unsupported) return error;
    add(invariant_of(error), Severity::error, error.where, error.what);
    check_footers();
    return Ok{};
  }
  check_footers();
  check_geometry();
  if (image_.type != DiskType::fixed) {
    check_structures();
    if (image_.type == DiskType::differencing) check_parent();
    OVHD_CHECK(check_padding());
    OVHD_CHECK(check_batmap());
    OVHD_CHECK(check_table());
  }
  if (azure) check_azure();
  return Ok{};
}

/// Two valid footers of two disks: readers do not agree which of them counts (QEMU takes the copy).
Severity Checker::severity_of(const Finding& finding) const {
  if (!image_.footer_at_end || !image_.copy || finding.at != image_.copy->at)
    return finding.severity;
  if (!image_.copy->valid()) return finding.severity;
  const Footer& copy = image_.copy->footer;
  const Footer& footer = image_.footer;
  const bool same = copy.unique_id == footer.unique_id && copy.disk_type == footer.disk_type &&
                    copy.current_size == footer.current_size &&
                    copy.data_offset == footer.data_offset;
  return same ? finding.severity : Severity::error;
}

/// V08: what of the footers a writer that keeps the order can leave.
void Checker::check_footers() {
  const bool copy_lost = image_.copy && image_.copy->cookie && !image_.copy->valid();
  if (!image_.end.valid() && copy_lost && !image_.footer_at_end) {
    add("V08", Severity::error, image_.copy->at,
        "footers: neither is valid, which no interrupted growth leaves");
  } else if (image_.type != DiskType::fixed && !image_.footer_at_end) {
    add("V08", Severity::warning, image_.end.at, "footer: none at the end, as while it moves",
        true);
  }
}

void Checker::check_geometry() {
  const Chs stated = chs_of(image_.footer);
  if (stated == chs_for(image_.virtual_size) || stated == chs_for(image_.footer.current_size))
    return;
  if (stated == kMaxChs) {
    add("V07", Severity::note, image_.footer_at,
        "geometry: the maximum, as QEMU says that it means nothing");
    return;
  }
  add("V07", Severity::note, image_.footer_at,
      "geometry: " + std::to_string(stated.cylinders) + "/" + std::to_string(stated.heads) + "/" +
          std::to_string(stated.sectors_per_track) + " is not what the size gives");
}

void Checker::check_parent() {
  const FileOffset at = image_.header_at;
  if (image_.parent.linkage == Guid{image_.footer.unique_id})
    add("V06", Severity::error, at, "parent unique id: the disk's own");
  if (image_.parent.linkage.is_nil())
    add("V06", Severity::note, at, "parent unique id: none, as with Xen's raw parents");
  if (image_.parent.paths.empty()) add("V06", Severity::error, at, "parent: no name and no path");
  for (const ParentLocatorEntry& entry : image_.header.locators) {
    const bool has_data = entry.platform_data_length != 0 || entry.platform_data_offset != 0;
    if (entry.platform_code == kLocatorNone && has_data)
      add("V06", Severity::warning, at, "parent locator: not in use, but has data");
    const std::uint32_t code = entry.platform_code;
    const bool known = code == kLocatorNone || code == kLocatorW2ru || code == kLocatorW2ku ||
                       code == kLocatorWi2r || code == kLocatorWi2k || code == kLocatorMac ||
                       code == kLocatorMacX;
    if (!known) add("V06", Severity::warning, at, "parent locator: unknown platform code");
  }
}

void Checker::check_structures() {
  const auto& all = image_.structures;
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      if (ranges_overlap(all[i].at.value, all[i].length, all[k].at.value, all[k].length)) {
        add("V04", Severity::error, all[i].at,
            std::string{all[i].name} + ": overlaps the " + all[k].name);
      }
    }
  }
}

/// Behind the last entry that the disk uses there should be unused ones, up to a whole sector.
Status Checker::check_padding() {
  const std::uint64_t used = std::uint64_t{image_.blocks} * kEntryBytes;
  std::uint64_t odd = 0;
  std::vector<Be32> rest(16384);
  for (std::uint64_t done = used; done < image_.table_bytes;) {
    const std::size_t count = static_cast<std::size_t>(
        std::min<std::uint64_t>(rest.size(), (image_.table_bytes - done) / kEntryBytes));
    const std::span part{rest.data(), count};
    OVHD_CHECK(file_.read_exact(image_.table_at + done, std::as_writable_bytes(part),
                                "block allocation table: read (V03)"));
    odd += static_cast<std::uint64_t>(
        std::ranges::count_if(part, [](std::uint32_t entry) { return entry != kUnused; }));
    done += count * kEntryBytes;
  }
  if (odd != 0) {
    add("V03", Severity::note, image_.table_at + used,
        "block allocation table: " + std::to_string(odd) +
            " entries behind the disk's last one are not unused");
  }
  return Ok{};
}

Status Checker::check_batmap() {
  if (!image_.has_batmap) return Ok{};
  const FileOffset at = image_.table_at + image_.table_bytes;
  std::array<std::byte, sizeof(BatmapHeader)> raw;
  OVHD_CHECK(file_.read_exact(at, raw, "batmap header: read (V05)"));
  const auto header = load<BatmapHeader>(raw);
  std::uint32_t sum = 0;
  const bool is_signed = header.batmap_version == 0x0001'0001u;
  std::vector<std::byte> piece(64 * kKiB);
  const std::uint64_t end = header.batmap_offset + std::uint64_t{header.batmap_size} * kSectorBytes;
  for (std::uint64_t done = header.batmap_offset; done < end; done += piece.size()) {
    const std::span part{piece.data(), std::min<std::size_t>(piece.size(), end - done)};
    OVHD_CHECK(file_.read_exact({done}, part, "batmap: read (V05)"));
    for (const std::byte b : part) {
      const auto value = std::to_integer<std::uint32_t>(b);
      sum += is_signed && value >= 0x80 ? value | 0xffff'ff00u : value;
    }
  }
  if (~sum != header.checksum) add("V05", Severity::warning, at, "batmap: checksum");
  return Ok{};
}

Status Checker::check_table() {
  auto scan = scan_table(file_, image_,
                         [this](std::uint32_t block, std::uint32_t start, EntryVerdict verdict,
                                std::uint32_t rival) -> Result<bool> {
                           return check_entry(block, start, verdict, rival);
                         });
  if (!scan) return scan.error();
  if (early_entries_ && !image_.footer_at_end) {
    add("V08", Severity::error, image_.table_at,
        "block allocation table: entries past the end of a file without footer, "
        "so that they were written before their blocks");
  }
  if (!scan->damaged) check_tail(*scan);
  return Ok{};
}

Result<bool> Checker::check_entry(std::uint32_t block, std::uint32_t start, EntryVerdict verdict,
                                  std::uint32_t rival) {
  const std::string name = "block allocation table entry " + std::to_string(block);
  const FileOffset at = image_.table_at + std::uint64_t{block} * kEntryBytes;
  switch (verdict) {
    case EntryVerdict::good:
      if (!range_fits(std::uint64_t{start} * kSectorBytes, image_.stride(), image_.data_limit()))
        add("V04", Severity::warning, at, name + ": the block is cut off behind the disk's end");
      OVHD_CHECK(check_bitmap(block, start));
      break;
    case EntryVerdict::out_of_bounds:
      add("V04", Severity::error, at, name + ": the block ends outside the file");
      early_entries_ = true;
      break;
    case EntryVerdict::overlaps_structure:
      add("V04", Severity::error, at, name + ": the block overlaps a header, table or locator");
      break;
    case EntryVerdict::shared:
      add("V04", Severity::error, at, name + ": shares space with entry " + std::to_string(rival));
      break;
  }
  if (progress_ == nullptr || block % 256 != 0) return true;
  return progress_->update(block, image_.blocks);
}

bool any_set(std::span<const std::byte> bytes) {
  return std::ranges::any_of(bytes, [](std::byte b) { return b != std::byte{0}; });
}

/// A child's set bit says that a sector is here: behind the end of the disk it would bring up
/// what nobody wrote, once the disk grows. Dynamic disks may have all bits of a block set.
Status Checker::check_bitmap(std::uint32_t block, std::uint32_t start) {
  bitmap_.resize(image_.bitmap_length);
  const FileOffset at{std::uint64_t{start} * kSectorBytes};
  OVHD_CHECK(file_.read_exact(at, bitmap_, "sector bitmap: read (V05)"));
  const bool child = image_.type == DiskType::differencing;
  const std::string name = "sector bitmap of block " + std::to_string(block);
  if (any_set(std::span{bitmap_}.subspan(image_.block_size / kSectorBytes / 8))) {
    add("V05", child ? Severity::error : Severity::note, at,
        name + ": bits behind the block's last sector");
  }
  // Not virtual_size: where the creator means the geometry, others go by the size.
  const std::uint64_t left = image_.footer.current_size - std::uint64_t{block} * image_.block_size;
  if (!child || left >= image_.block_size) return Ok{};
  const std::uint64_t sectors = left / kSectorBytes;
  const auto bits = std::span{bitmap_}.first(image_.block_size / kSectorBytes / 8);
  const unsigned shared = static_cast<unsigned>(sectors % 8);  // of the byte with the last sector
  const std::byte past{
      static_cast<std::uint8_t>(image_.lsb_first ? 0xffu << shared : 0xffu >> shared)};
  if ((bits[sectors / 8] & past) != std::byte{0} || any_set(bits.subspan(sectors / 8 + 1)))
    add("V05", Severity::error, at, name + ": bits behind the end of the disk");
  return Ok{};
}

void Checker::check_tail(const ScanResult& scan) {
  const std::uint64_t limit = image_.data_limit();
  // Xen's tools set space aside on purpose; others leave less than a block.
  if (!image_.footer_at_end || image_.has_batmap || limit < scan.end + image_.stride()) return;
  add("V08", Severity::warning, {scan.end},
      std::to_string(limit - scan.end) +
          " bytes between the last block and the footer, as an interrupted growth leaves them",
      true);
}

/// FORMAT 95.
void Checker::check_azure() {
  const std::uint64_t size = image_.footer.current_size;
  const FileOffset at = image_.footer_at;
  if (image_.type != DiskType::fixed)
    add("AZ1", Severity::error, at, "Azure: takes fixed disks only");
  if (!is_multiple(size, kMiB))
    add("AZ2", Severity::error, at, "Azure: the disk is no whole number of MiB");
  if (size < 20 * kMiB) add("AZ3", Severity::error, at, "Azure: the disk is smaller than 20 MiB");
  if (image_.type == DiskType::fixed && image_.file_size != size + kFooterBytes)
    add("AZ4", Severity::error, at, "Azure: the file is not the disk and 512 bytes");
}

}  // namespace

Status check(File& file, bool azure, std::vector<Finding>& findings, std::size_t limit,
             Progress* progress) {
  Checker checker{file, findings, limit, progress};
  return checker.run(azure);
}

}  // namespace openvhd::vhd
