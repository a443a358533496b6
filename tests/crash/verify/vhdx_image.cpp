// [MS-VHDX] 8.0, structure by structure. Each rule is named by its id.
#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <set>

#include "crash/verify/bytes.hpp"
#include "crash/verify/vhdx_log.hpp"

namespace verify {
namespace {

constexpr std::uint64_t kKilobyte = 1024;
constexpr std::uint64_t kMostDisk = std::uint64_t{64} << 40;
constexpr std::uint64_t kBitmapSectors = std::uint64_t{1} << 23;

/// A GUID as VHDX stores it, from its printed groups.
Image::Id stored(std::uint32_t a, std::uint16_t b, std::uint16_t c, std::uint64_t rest) {
  Image::Id out{};
  for (std::size_t i = 0; i < 4; ++i) out[i] = static_cast<std::byte>(a >> (8 * i));
  for (std::size_t i = 0; i < 2; ++i) {
    out[4 + i] = static_cast<std::byte>(b >> (8 * i));
    out[6 + i] = static_cast<std::byte>(c >> (8 * i));
  }
  for (std::size_t i = 0; i < 8; ++i) out[8 + i] = static_cast<std::byte>(rest >> (56 - 8 * i));
  return out;
}

Image::Id id_at(std::span<const std::byte> from, std::size_t at) {
  Image::Id out{};
  std::memcpy(out.data(), from.data() + at, out.size());
  return out;
}

const Image::Id kBat = stored(0x2dc27766, 0xf623, 0x4200, 0x9d64115e9bfd4a08);
const Image::Id kMetadata = stored(0x8b7ca206, 0x4790, 0x4b9a, 0xb8fe575f050f886e);
const Image::Id kParameters = stored(0xcaa16737, 0xfa36, 0x4d43, 0xb3b633f0aa44e76b);
const Image::Id kSize = stored(0x2fa54224, 0xcd1b, 0x4876, 0xb2115dbed83bf4b8);
const Image::Id kDiskId = stored(0xbeca12ab, 0xb2e6, 0x4523, 0x93efc309e000c746);
const Image::Id kLogical = stored(0x8141bf1d, 0xa96f, 0x4709, 0xba47f233a8faab5f);
const Image::Id kPhysical = stored(0xcda348c7, 0x445d, 0x4471, 0x9cc9e9885251c556);
const Image::Id kLocator = stored(0xa8d35f2d, 0xb30b, 0x454d, 0xabf7d3d84834ab0c);
const Image::Id kLocatorType = stored(0xb04aefb7, 0xd19e, 0x4a81, 0xb78925b8e9445913);

struct Area {
  std::uint64_t at = 0;
  std::uint64_t length = 0;
};

class VhdxImage final : public Image {
 public:
  VhdxImage(const Source& source, Report& report)
      : source_{source}, file_{source}, report_{report} {}

  bool judge() {
    return headers() && regions() && metadata() && counts() && table() && bitmaps() && places();
  }

  Run find(std::uint64_t at, std::uint64_t length) const override;
  void read(std::uint64_t at, std::span<std::byte> into) const override { file_.read(at, into); }

 private:
  bool fail(const char* id, std::string text) {
    report_.fail(id, std::move(text));
    return false;
  }
  std::vector<std::byte> bytes(std::uint64_t at, std::uint64_t length) const {
    std::vector<std::byte> out(length);
    file_.read(at, out);
    return out;
  }
  bool headers();
  bool regions();
  bool region_entries(std::span<const std::byte> raw, std::uint32_t count);
  bool metadata();
  bool metadata_values();
  bool locator();
  bool counts();
  bool table();
  bool payload_entry(std::uint64_t block);
  bool bitmaps();
  bool bitmap_of(std::uint64_t chunk);
  bool places();
  std::uint64_t entry_of(std::uint64_t block) const { return entries_[block + block / ratio_]; }
  std::uint64_t bitmap_entry(std::uint64_t chunk) const {
    return entries_[chunk * (ratio_ + 1) + ratio_];
  }

  const Source& source_;
  Replayed file_;
  Report& report_;
  Area log_{}, bat_{}, metadata_{};
  std::map<Image::Id, std::vector<std::byte>> items_;
  std::uint64_t block_ = 0;
  bool fixed_ = false;
  bool has_parent_ = false;
  std::uint64_t ratio_ = 0;
  std::uint64_t blocks_ = 0;
  std::vector<std::uint64_t> entries_;
  Owners owners_;
  std::uint64_t data_end_ = 0;
};

bool VhdxImage::headers() {
  if (source_.size() < kMegabyte) return fail("X01", "shorter than 1 MiB");
  if (!spells(bytes(0, 8), 0, "vhdxfile")) return fail("X01", "signature of the file");
  std::optional<std::vector<std::byte>> current;
  std::uint64_t best = 0;
  for (const std::uint64_t at : {64 * kKilobyte, 128 * kKilobyte}) {
    auto raw = bytes(at, 4096);
    if (!spells(raw, 0, "head") || crc32c_of(raw, 4) != little<std::uint32_t>(raw, 4)) continue;
    const auto sequence = little<std::uint64_t>(raw, 8);
    if (current && sequence == best && raw != *current)
      return fail("X02", "two headers with one sequence number");
    if (current && sequence <= best) continue;
    best = sequence;
    current = std::move(raw);
  }
  if (!current) return fail("X02", "no valid header");
  const auto& raw = *current;
  if (little<std::uint16_t>(raw, 66) != 1 || little<std::uint16_t>(raw, 64) != 0)
    return fail("X03", "versions");
  if (best == ~std::uint64_t{0}) return fail("X04", "no next sequence number");
  log_ = {little<std::uint64_t>(raw, 72), little<std::uint32_t>(raw, 68)};
  if (log_.at % kMegabyte != 0 || log_.length % kMegabyte != 0 || log_.at < kMegabyte ||
      log_.length == 0 || log_.at + log_.length > source_.size())
    return fail("X03", "place of the log");
  file_write_id = id_at(raw, 16);
  data_write_id = id_at(raw, 32);
  const Image::Id log_id = id_at(raw, 48);
  clean_ = log_id == Image::Id{};
  if (!clean_) replay_log(source_, {log_.at, log_.length, log_id}, file_, report_);
  return report_.sound();
}

bool VhdxImage::regions() {
  std::optional<std::vector<std::byte>> table;
  for (const std::uint64_t at : {192 * kKilobyte, 256 * kKilobyte}) {
    auto raw = bytes(at, 64 * kKilobyte);
    if (!spells(raw, 0, "regi") || crc32c_of(raw, 4) != little<std::uint32_t>(raw, 4)) continue;
    if (table && std::memcmp(table->data(), raw.data(), raw.size()) != 0)
      return fail("X05", "the two region tables differ");
    table = std::move(raw);
  }
  if (!table) return fail("X05", "no valid region table");
  const auto count = little<std::uint32_t>(*table, 8);
  if (count > 2047 || little<std::uint32_t>(*table, 12) != 0)
    return fail("X05", "entry count or reserved field");
  std::string clash;
  owners_.claim(0, kMegabyte, "header section", clash);
  if (!owners_.claim(log_.at, log_.length, "log", clash)) return fail("X07", "log over " + clash);
  return region_entries(*table, count);
}

bool VhdxImage::region_entries(std::span<const std::byte> raw, std::uint32_t count) {
  std::set<Image::Id> seen;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto entry = raw.subspan(16 + std::size_t{32} * i, 32);
    const Image::Id id = id_at(entry, 0);
    const Area area{little<std::uint64_t>(entry, 16), little<std::uint32_t>(entry, 24)};
    if (!seen.insert(id).second) return fail("X05", "a region listed twice");
    if (area.at % kMegabyte != 0 || area.length % kMegabyte != 0 || area.at < kMegabyte ||
        area.length == 0 || area.at + area.length > file_.size())
      return fail("X06", "place of a region");
    std::string clash;
    if (!owners_.claim(area.at, area.length, "region", clash))
      return fail("X07", "region over " + clash);
    if (id == kBat)
      bat_ = area;
    else if (id == kMetadata)
      metadata_ = area;
    else if ((little<std::uint32_t>(entry, 28) & 1) != 0)
      return fail("X06", "unknown, required");
  }
  if (bat_.length == 0 || metadata_.length == 0) return fail("X06", "BAT or metadata missing");
  return true;
}

bool VhdxImage::metadata() {
  const auto table = bytes(metadata_.at, 64 * kKilobyte);
  if (!spells(table, 0, "metadata")) return fail("X08", "signature of the metadata table");
  const auto count = little<std::uint16_t>(table, 10);
  if (count > 2047) return fail("X08", "entry count");
  Owners inside;
  std::set<std::pair<Image::Id, std::uint32_t>> seen;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto entry = std::span{table}.subspan(32 + std::size_t{32} * i, 32);
    const Image::Id id = id_at(entry, 0);
    const std::uint64_t at = little<std::uint32_t>(entry, 16);
    const std::uint64_t length = little<std::uint32_t>(entry, 20);
    const auto flags = little<std::uint32_t>(entry, 24);
    std::string clash;
    if (!seen.emplace(id, flags & 1).second) return fail("X08", "an item listed twice");
    if (length == 0 && at == 0) continue;
    if (at < 64 * kKilobyte || at + length > metadata_.length || length > kMegabyte ||
        !inside.claim(at, length, "item", clash))
      return fail("X08", "place of an item");
    const bool known = id == kParameters || id == kSize || id == kDiskId || id == kLogical ||
                       id == kPhysical || id == kLocator;
    if (!known && (flags & 4) != 0) return fail("X09", "unknown, required item");
    if (known) items_[id] = bytes(metadata_.at + at, length);
  }
  return metadata_values();
}

bool VhdxImage::metadata_values() {
  if (items_[kParameters].size() != 8 || items_[kSize].size() != 8 ||
      items_[kDiskId].size() != 16 || items_[kLogical].size() != 4 || items_[kPhysical].size() != 4)
    return fail("X09", "a required item is missing or of another size");
  block_ = little<std::uint32_t>(items_[kParameters], 0);
  const auto flags = little<std::uint32_t>(items_[kParameters], 4);
  fixed_ = (flags & 1) != 0;
  has_parent_ = (flags & 2) != 0;
  virtual_size_ = little<std::uint64_t>(items_[kSize], 0);
  sector_bytes_ = little<std::uint32_t>(items_[kLogical], 0);
  const auto physical = little<std::uint32_t>(items_[kPhysical], 0);
  if (!std::has_single_bit(block_) || block_ < kMegabyte || block_ > 256 * kMegabyte)
    return fail("X10", "block size");
  if ((sector_bytes_ != 512 && sector_bytes_ != 4096) || (physical != 512 && physical != 4096))
    return fail("X10", "sector sizes");
  if (virtual_size_ == 0 || virtual_size_ > kMostDisk || virtual_size_ % sector_bytes_ != 0)
    return fail("X10", "size of the disk");
  if (has_parent_ != !items_[kLocator].empty()) return fail("X17", "parent flag and locator");
  return !has_parent_ || locator();
}

bool VhdxImage::locator() {
  const auto& raw = items_[kLocator];
  if (raw.size() < 20 || id_at(raw, 0) != kLocatorType) return fail("X17", "type of the locator");
  const auto count = little<std::uint16_t>(raw, 18);
  if (20 + std::size_t{12} * count > raw.size()) return fail("X17", "entries of the locator");
  std::set<std::string> keys;
  for (std::size_t i = 0; i < count; ++i) {
    std::string key;
    for (std::size_t part = 0; part < 2; ++part) {  // the key, then its value
      const std::uint64_t at = little<std::uint32_t>(raw, 20 + 12 * i + 4 * part);
      const std::uint64_t length = little<std::uint16_t>(raw, 28 + 12 * i + 2 * part);
      if (length == 0 || length % 2 != 0 || at < 20 || at + length > raw.size())
        return fail("X17", "text of the locator");
      for (std::uint64_t c = 0; c < length; c += 2) {
        const auto unit = little<std::uint16_t>(raw, at + c);
        if (unit == 0) return fail("X17", "NUL in a text of the locator");
        if (part == 0) key += static_cast<char>(unit);
      }
    }
    if (!keys.insert(key).second) return fail("X17", "a key twice");
  }
  if (!keys.contains("parent_linkage")) return fail("X17", "no parent_linkage");
  if (!keys.contains("relative_path") && !keys.contains("absolute_win32_path") &&
      !keys.contains("volume_path"))
    return fail("X17", "no path");
  return true;
}

bool VhdxImage::counts() {
  ratio_ = kBitmapSectors * sector_bytes_ / block_;
  if (ratio_ == 0) return fail("X11", "chunk ratio");
  blocks_ = (virtual_size_ + block_ - 1) / block_;
  const std::uint64_t chunks = (blocks_ + ratio_ - 1) / ratio_;
  const std::uint64_t count =
      has_parent_ ? chunks * (ratio_ + 1) : blocks_ + (blocks_ - 1) / ratio_;
  if (count > bat_.length / 8) return fail("X11", "the table does not hold all entries");
  entries_.resize(count);
  std::vector<std::byte> piece(4096);
  for (std::uint64_t at = 0; at < count * 8; at += piece.size()) {
    const std::uint64_t left = std::min<std::uint64_t>(piece.size(), count * 8 - at);
    if (file_.next_data(bat_.at + at, bat_.at + at + left) == bat_.at + at + left) continue;
    file_.read(bat_.at + at, std::span{piece}.first(left));
    for (std::uint64_t i = 0; i < left; i += 8)
      entries_[(at + i) / 8] = little<std::uint64_t>(piece, i);
  }
  // The end of the region means nothing, and is zeros.
  for (std::uint64_t at = bat_.at + count * 8; at < bat_.at + bat_.length;) {
    at = file_.next_data(at, bat_.at + bat_.length);
    if (at == bat_.at + bat_.length) break;
    const auto part = bytes(at, std::min<std::uint64_t>(4096, bat_.at + bat_.length - at));
    if (std::ranges::any_of(part, [](std::byte b) { return b != std::byte{0}; }))
      return fail("X12", "unused entries are not zero");
    at += part.size();
  }
  return true;
}

bool VhdxImage::payload_entry(std::uint64_t block) {
  const std::uint64_t entry = entry_of(block);
  if (entry == 0) return !fixed_ || has_parent_ || fail("X16", "a block of a fixed disk is absent");
  const std::string name = "block " + std::to_string(block);
  const unsigned state = entry & 7;
  if (state == 4 || state == 5 || (state == 7 && !has_parent_) || (entry >> 3 & 0x1ffff) != 0)
    return fail("X12", "entry of " + name);
  if (fixed_ && !has_parent_ && state != 6) return fail("X16", name + " of a fixed disk");
  if (state < 6) return true;
  const std::uint64_t at = entry & ~(kMegabyte - 1);
  if (at < kMegabyte || at + block_ < at || at + block_ > file_.size())
    return fail("X13", name + " is not inside the file");
  std::string clash;
  if (!owners_.claim(at, block_, name, clash))
    return fail(clash.starts_with("block") ? "X14" : "X07", name + " over " + clash);
  return true;
}

bool VhdxImage::table() {
  for (std::uint64_t block = 0; block < blocks_; ++block)
    if (!payload_entry(block)) return false;
  return true;
}

bool VhdxImage::bitmaps() {
  const std::uint64_t chunks = entries_.size() / (ratio_ + 1);
  for (std::uint64_t chunk = 0; chunk < chunks; ++chunk) {
    const std::uint64_t entry = bitmap_entry(chunk);
    const unsigned state = entry & 7;
    if ((state != 0 && state != 6) || (entry >> 3 & 0x1ffff) != 0)
      return fail("X12", "entry of bitmap " + std::to_string(chunk));
    if (has_parent_ && !bitmap_of(chunk)) return false;
  }
  return true;
}

bool VhdxImage::bitmap_of(std::uint64_t chunk) {
  const std::string name = "bitmap " + std::to_string(chunk);
  const std::uint64_t entry = bitmap_entry(chunk);
  const std::uint64_t end = std::min(blocks_, (chunk + 1) * ratio_);
  if ((entry & 7) == 0) {
    for (std::uint64_t block = chunk * ratio_; block < end; ++block)
      if ((entry_of(block) & 7) == 7) return fail("X15", "no " + name + " for a partial block");
    return true;
  }
  const std::uint64_t at = entry & ~(kMegabyte - 1);
  if (at < kMegabyte || at + kMegabyte > file_.size())
    return fail("X13", name + " is not inside the file");
  std::string clash;
  if (!owners_.claim(at, kMegabyte, name, clash))
    return fail(clash.starts_with("b") ? "X14" : "X07", name + " over " + clash);
  const std::uint64_t sectors = virtual_size_ / sector_bytes_ - chunk * kBitmapSectors;
  if (sectors >= kBitmapSectors) return true;
  // Bits of sectors that the disk does not have are zero.
  for (std::uint64_t byte = at + sectors / 8; byte < at + kMegabyte; ++byte) {
    byte = file_.next_data(byte, at + kMegabyte);
    if (byte == at + kMegabyte) break;
    const auto raw = bytes(byte, 1);
    const unsigned keep = byte == at + sectors / 8 ? (1u << sectors % 8) - 1 : 0;
    if ((std::to_integer<unsigned>(raw[0]) & ~keep) != 0)
      return fail("X15", "bits past the end of the disk in " + name);
  }
  return true;
}

bool VhdxImage::places() {
  if (owners_.end() > file_.size()) return fail("X18", "the file ends before its last structure");
  return true;
}

Run VhdxImage::find(std::uint64_t at, std::uint64_t length) const {
  const std::uint64_t block = at / block_;
  const std::uint64_t into = at % block_;
  length = std::min({length, block_ - into, virtual_size_ - at});
  const std::uint64_t entry = entry_of(block);
  const std::uint64_t place = (entry & ~(kMegabyte - 1)) + into;
  switch (entry & 7) {
    case 6:
      return {Run::Kind::data, place, length};
    case 0:
      return {has_parent_ ? Run::Kind::parent : Run::Kind::zero, 0, length};
    case 7:
      break;
    default:
      return {Run::Kind::zero, 0, length};
  }
  const std::uint64_t sector = at / sector_bytes_;
  const std::uint64_t bits = bitmap_entry(sector / kBitmapSectors) & ~(kMegabyte - 1);
  // The bits of what is asked for, in one piece: a block never crosses a bitmap.
  const std::uint64_t bit = sector % kBitmapSectors;
  const std::uint64_t count = length / sector_bytes_;
  std::vector<std::byte> raw((bit % 8 + count + 7) / 8);
  file_.read(bits + bit / 8, raw);
  const auto present = [&](std::uint64_t i) {
    const std::uint64_t place = bit % 8 + i;
    return (std::to_integer<unsigned>(raw[place / 8]) >> place % 8 & 1) != 0;
  };
  const bool first = present(0);
  std::uint64_t same = 1;
  const std::byte eight = first ? std::byte{0xff} : std::byte{0};
  while (same < count && present(same) == first)
    same += (bit + same) % 8 == 0 && raw[(bit % 8 + same) / 8] == eight ? 8 : 1;
  same = std::min(same, count);
  length = std::min(length, same * sector_bytes_);
  return {first ? Run::Kind::data : Run::Kind::parent, first ? place : 0, length};
}

}  // namespace

std::unique_ptr<Image> judge_vhdx(const Source& source, std::vector<Breach>& breaches) {
  Report report{breaches};
  auto image = std::make_unique<VhdxImage>(source, report);
  if (!image->judge()) return nullptr;
  return image;
}

}  // namespace verify
