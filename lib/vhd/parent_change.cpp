// What a differencing file says of its parent, changed in place. VHD has no log: the order of
// writes has to do what a log would.
#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/try.hpp"
#include "base/utf16.hpp"
#include "vhd/create.hpp"
#include "vhd/scan.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::vhd {
namespace {

/// RELIABILITY b.1.
constexpr std::size_t kMaxPathBytes = 64 * 1024;

constexpr Error invalid(const char* what) noexcept { return {.code = Errc::invalid, .what = what}; }

template <class T>
std::span<const std::byte> bytes_of(const T& structure) noexcept {
  return std::as_bytes(std::span{&structure, 1});
}

/// A file whose footer ends it, and whose copy says the same.
Result<ParsedImage> open_differencing(File& file, Host& host) {
  ParsedImage image;
  OVHD_CHECK(parse(file, image));
  if (image.type != DiskType::differencing) return invalid("the image has no parent");
  if (image.footer.saved_state != 0) {
    return Error{
        .code = Errc::read_only,
        .where = image.footer_at,
        .what = "footer: in saved state, a write would break the saved machine (FORMAT 93)"};
  }
  if (image.footer_at_end && image.copy_is_current && is_multiple(image.file_size, kSectorBytes)) {
    return image;
  }
  std::vector<std::string> actions;
  OVHD_CHECK(repair(file, host, actions));
  image = {};
  OVHD_CHECK(parse(file, image));
  if (image.footer_at_end && image.copy_is_current && is_multiple(image.file_size, kSectorBytes)) {
    return image;
  }
  return Error{.code = Errc::corrupt,
               .where = image.footer_at,
               .what = "footer: to be repaired before the parent can be changed (V02)"};
}

Status expect_sound(const ParsedImage& image, const ScanResult& scan) {
  if (!scan.damaged) return Ok{};
  return Error{.code = Errc::corrupt,
               .where = image.table_at,
               .what = "BAT: entries break a rule, the image is not to be written (V04)"};
}

/// The header as it will be, and the locator's text that goes with it.
struct NewHeader {
  DynamicHeader header{};
  std::uint32_t disk_type = kTypeDifferencing;
  std::vector<std::byte> text;        // of W2ru; empty: none is written
  std::optional<std::uint64_t> room;  // where an earlier text may be overwritten
};

class HeaderSwap {
 public:
  /// `blocks_end`: where the last block ends, also where the file leaves out a part of it.
  HeaderSwap(File& file, const ParsedImage& image, const NewHeader& next, std::uint64_t blocks_end)
      : file_{file},
        image_{image},
        next_{next},
        text_at_{
            std::max(image.footer_at.value, align_up(blocks_end, std::uint64_t{kSectorBytes}))} {}

  /// See vhd.hpp. Space behind the last block holds the header while its own place is rewritten.
  Status run();

 private:
  std::uint64_t text_bytes() const noexcept {
    return align_up(next_.text.size(), std::uint64_t{kSectorBytes});
  }
  Status put_text(std::uint64_t at) {
    if (next_.text.empty()) return Ok{};
    std::vector<std::byte> padded = next_.text;
    padded.resize(text_bytes());
    return file_.write_all({at}, padded);
  }
  Status put_header(std::uint64_t at, std::uint64_t text_at) {
    DynamicHeader header = next_.header;
    if (!next_.text.empty()) header.locators[0].platform_data_offset = text_at;
    seal(header);
    return file_.write_all({at}, bytes_of(header));
  }
  /// The footer at `end`, durable, and then its copy.
  Status point_to(std::uint64_t header_at, std::uint64_t end) {
    Footer footer = image_.footer;
    footer.data_offset = header_at;
    footer.disk_type = next_.disk_type;
    seal(footer);
    OVHD_CHECK(file_.write_all({end}, bytes_of(footer)));
    OVHD_CHECK(file_.sync());
    OVHD_CHECK(file_.write_all({}, bytes_of(footer)));
    return file_.sync();
  }

  File& file_;
  const ParsedImage& image_;
  const NewHeader& next_;
  std::uint64_t text_at_;
};

Status HeaderSwap::run() {
  const std::uint64_t own = image_.header_at.value;
  const std::uint64_t spare = text_at_ + text_bytes();
  const std::uint64_t end = spare + kHeaderBytes;
  // The old footer first where the file will end, so that one is there whatever is lost.
  OVHD_CHECK(file_.write_all({end}, bytes_of(image_.footer)));
  OVHD_CHECK(file_.sync());
  OVHD_CHECK(put_text(text_at_));
  OVHD_CHECK(put_header(spare, text_at_));
  OVHD_CHECK(file_.sync());
  OVHD_CHECK(point_to(spare, end));
  // From here on the new one counts, and the old header's place is free.
  const std::uint64_t text_at = next_.room.value_or(text_at_);
  if (next_.room) OVHD_CHECK(put_text(text_at));
  OVHD_CHECK(put_header(own, text_at));
  OVHD_CHECK(file_.sync());
  OVHD_CHECK(point_to(own, end));
  // What is behind the blocks is not needed any more, but for a text that found no room before.
  const std::uint64_t last = next_.room || next_.text.empty() ? text_at_ : spare;
  Footer footer = image_.footer;
  footer.data_offset = own;
  footer.disk_type = next_.disk_type;
  seal(footer);
  OVHD_CHECK(file_.write_all({last}, bytes_of(footer)));
  OVHD_CHECK(file_.sync());
  OVHD_CHECK(file_.set_size(last + kFooterBytes));
  return file_.sync();
}

/// The space of a locator that nobody will need: where it lies clear of everything else.
std::optional<std::uint64_t> room_for(const ParsedImage& image, std::size_t bytes) {
  for (const ParentLocatorEntry& entry : image.header.locators) {
    if (entry.platform_code == kLocatorNone || entry.platform_data_length == 0) continue;
    // A space below 512 counts sectors.
    const std::uint64_t said = entry.platform_data_space;
    const std::uint64_t space = said < kSectorBytes ? said * kSectorBytes : said;
    const std::uint64_t at = entry.platform_data_offset;
    const std::uint64_t needed = align_up(bytes, std::uint64_t{kSectorBytes});
    if (space < needed || !is_multiple(at, kSectorBytes)) continue;
    if (!range_fits(at, needed, image.data_limit())) continue;
    const bool clear = std::ranges::none_of(image.structures, [&](const Structure& other) {
      return other.at.value != at && ranges_overlap(at, needed, other.at.value, other.length);
    });
    // Spaces of locators that overlap each other are nobody's to reuse.
    const bool alone =
        std::ranges::count_if(image.header.locators, [&](const ParentLocatorEntry& other) {
          return other.platform_code != kLocatorNone && other.platform_data_length != 0 &&
                 ranges_overlap(at, needed, other.platform_data_offset,
                                std::max<std::uint64_t>(other.platform_data_length, 1));
        }) == 1;
    if (clear && alone) return at;
  }
  return std::nullopt;
}

/// Whether a block of the table lies over [at, at + length), and where the last one ends.
struct BlocksSeen {
  bool under = false;
  std::uint64_t end = 0;
};
Result<BlocksSeen> see_blocks(File& file, const ParsedImage& image, std::uint64_t at,
                              std::uint64_t length) {
  BlocksSeen out;
  const auto visit = [&](std::uint32_t, std::uint32_t start, EntryVerdict,
                         std::uint32_t) -> Result<bool> {
    const std::uint64_t block = std::uint64_t{start} * kSectorBytes;
    out.under = out.under || ranges_overlap(block, image.stride(), at, length);
    return true;
  };
  OVHD_TRY(const ScanResult scan, scan_table(file, image, visit));
  OVHD_CHECK(expect_sound(image, scan));
  out.end = scan.end;
  return out;
}

Status set_path(NewHeader& next, const ParentChange& change) {
  auto text = utf8_to_utf16(*change.relative, std::endian::little);
  const auto name = utf8_to_utf16(change.name, std::endian::big);
  if (!text || text->empty() || text->size() > kMaxPathBytes) {
    return invalid("VHD: the parent's path is no text, or too long, for a locator (V06)");
  }
  DynamicHeader& header = next.header;
  if (!name || name->size() + 2 > header.parent_unicode_name.size()) {
    return invalid("VHD: the parent's name is no text, or too long (V06)");
  }
  header.parent_unicode_name = {};
  std::ranges::copy(*name, header.parent_unicode_name.begin());
  header.locators = {};
  ParentLocatorEntry& entry = header.locators[0];
  entry.platform_code = kLocatorW2ru;
  entry.platform_data_space =
      narrow<std::uint32_t>(align_up(text->size(), std::uint64_t{kSectorBytes}));
  entry.platform_data_length = narrow<std::uint32_t>(text->size());
  next.text = *std::move(text);
  return Ok{};
}

/// Bits that are set of a block's bitmap, of the sectors that lie inside the disk.
Status expect_whole_block(File& file, const ParsedImage& image, std::uint32_t block,
                          std::uint32_t start) {
  const std::uint64_t left = image.virtual_size - std::uint64_t{block} * image.block_size;
  const std::uint64_t sectors = std::min<std::uint64_t>(image.block_size, left) / kSectorBytes;
  std::vector<std::byte> bits(image.bitmap_length);
  const FileOffset at{std::uint64_t{start} * kSectorBytes};
  OVHD_CHECK(file.read_exact(at, bits, "bitmap: the file ends inside it (V05)"));
  for (std::uint64_t i = 0; i < sectors; ++i) {
    const auto bit = static_cast<unsigned>(image.lsb_first ? i % 8 : 7 - i % 8);
    if ((bits[i / 8] >> bit & std::byte{1}) != std::byte{0}) continue;
    return Error{.code = Errc::invalid,
                 .where = at,
                 .what = "bitmap: a block is present in parts, the parent is still needed (V05)"};
  }
  return Ok{};
}

}  // namespace

Status set_parent(File& file, const ParentChange& change, Host& host) {
  OVHD_TRY(const ParsedImage image, open_differencing(file, host));
  if (!change.linkage && !change.relative) return Ok{};
  NewHeader next{.header = image.header, .disk_type = kTypeDifferencing, .text = {}, .room = {}};
  if (change.linkage) {
    next.header.parent_unique_id = change.linkage->bytes;
    next.header.parent_time_stamp = change.timestamp;
  }
  if (change.relative) {
    OVHD_CHECK(set_path(next, change));
    next.room = room_for(image, next.text.size());
  }
  OVHD_TRY(const BlocksSeen blocks,
           see_blocks(file, image, next.room.value_or(0), next.text.size()));
  if (blocks.under) next.room.reset();
  return HeaderSwap{file, image, next, blocks.end}.run();
}

Status detach(File& file, Host& host) {
  OVHD_TRY(const ParsedImage image, open_differencing(file, host));
  OVHD_TRY(const ScanResult scan,
           scan_table(file, image,
                      [&](std::uint32_t block, std::uint32_t start, EntryVerdict verdict,
                          std::uint32_t) -> Result<bool> {
                        if (verdict != EntryVerdict::good || block >= image.blocks) return true;
                        OVHD_CHECK(expect_whole_block(file, image, block, start));
                        return true;
                      }));
  OVHD_CHECK(expect_sound(image, scan));
  NewHeader next{.header = image.header, .disk_type = kTypeDynamic, .text = {}, .room = {}};
  next.header.parent_unique_id = {};
  next.header.parent_time_stamp = 0;
  next.header.parent_unicode_name = {};
  next.header.locators = {};
  return HeaderSwap{file, image, next, scan.end}.run();
}

}  // namespace openvhd::vhd
