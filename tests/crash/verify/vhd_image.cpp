// The Virtual Hard Disk Image Format Specification 1.0. Each rule is named by its id.
#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "crash/verify/bytes.hpp"

namespace verify {
namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::uint32_t kFixed = 2;
constexpr std::uint32_t kDifferencing = 4;
constexpr std::uint64_t kMostDisk = std::uint64_t{2040} << 30;
constexpr std::uint32_t kUnused = 0xffffffff;

class VhdImage final : public Image {
 public:
  VhdImage(const Source& source, Report& report) : source_{source}, report_{report} {}

  bool judge() { return footers() && (type_ == kFixed || (header() && table() && bitmaps())); }

  Run find(std::uint64_t at, std::uint64_t length) const override;
  void read(std::uint64_t at, std::span<std::byte> into) const override { source_.read(at, into); }

 private:
  bool fail(const char* id, std::string text) {
    report_.fail(id, std::move(text));
    return false;
  }
  std::vector<std::byte> bytes(std::uint64_t at, std::uint64_t length) const {
    std::vector<std::byte> out(length);
    source_.read(at, out);
    return out;
  }
  std::optional<std::vector<std::byte>> footer_at(std::uint64_t at) const;
  bool footers();
  bool fields(std::span<const std::byte> footer);
  bool header();
  bool locators(std::span<const std::byte> raw);
  bool table();
  bool bitmaps();
  bool bitmap_of(std::uint64_t block);

  const Source& source_;
  Report& report_;
  std::uint32_t type_ = 0;
  std::uint64_t header_at_ = 0;
  std::uint64_t limit_ = 0;  // where the last footer begins, or the file ends
  std::uint64_t block_ = 0;
  std::uint64_t bitmap_bytes_ = 0;
  std::vector<std::uint32_t> entries_;
  Owners owners_;
};

std::optional<std::vector<std::byte>> VhdImage::footer_at(std::uint64_t at) const {
  auto raw = bytes(at, kSector);
  if (!spells(raw, 0, "conectix") || vhd_checksum(raw, 64) != big<std::uint32_t>(raw, 64))
    return std::nullopt;
  return raw;
}

bool VhdImage::footers() {
  if (source_.size() < kSector) return fail("V01", "shorter than a footer");
  const std::uint64_t last_at = source_.size() - kSector;
  const auto last = footer_at(last_at);
  auto copy = footer_at(0);
  if (copy && big<std::uint32_t>(*copy, 60) == kFixed) copy.reset();
  if (!last && !copy) return fail("V01", "no valid footer");
  clean_ = last.has_value();
  limit_ = last ? last_at : source_.size();
  if (last && copy && *last != *copy && big<std::uint32_t>(*last, 60) != kFixed)
    return fail("V02", "the copy of the footer differs");
  return fields(last ? *last : *copy);
}

bool VhdImage::fields(std::span<const std::byte> footer) {
  if (big<std::uint32_t>(footer, 12) != 0x10000) return fail("V01", "version");
  if ((big<std::uint32_t>(footer, 8) & 2) == 0) return fail("V01", "reserved feature bit");
  type_ = big<std::uint32_t>(footer, 60);
  virtual_size_ = big<std::uint64_t>(footer, 48);
  if (type_ < kFixed || type_ > kDifferencing) return fail("V01", "type of the disk");
  if (virtual_size_ == 0 || virtual_size_ % kSector != 0 || virtual_size_ > kMostDisk)
    return fail("V01", "size of the disk");
  if (type_ == kFixed && limit_ != virtual_size_) return fail("V01", "size of a fixed file");
  header_at_ = big<std::uint64_t>(footer, 16);
  std::memcpy(data_write_id.data(), footer.data() + 68, data_write_id.size());
  const std::uint64_t geometry = std::uint64_t{big<std::uint16_t>(footer, 56)} *
                                 std::to_integer<unsigned>(footer[58]) *
                                 std::to_integer<unsigned>(footer[59]) * kSector;
  if (geometry > virtual_size_) return fail("V07", "the geometry is more than the size");
  return true;
}

bool VhdImage::header() {
  if (header_at_ < kSector || header_at_ + 1024 > limit_) return fail("V02", "place of the header");
  const auto raw = bytes(header_at_, 1024);
  if (!spells(raw, 0, "cxsparse") || vhd_checksum(raw, 36) != big<std::uint32_t>(raw, 36) ||
      big<std::uint32_t>(raw, 24) != 0x10000)
    return fail("V02", "dynamic header");
  block_ = big<std::uint32_t>(raw, 32);
  if (!std::has_single_bit(block_) || block_ < 8 * kSector || block_ > 256 * kMegabyte)
    return fail("V03", "block size");
  const std::uint64_t blocks = (virtual_size_ + block_ - 1) / block_;
  const std::uint64_t count = big<std::uint32_t>(raw, 28);
  const std::uint64_t table_at = big<std::uint64_t>(raw, 16);
  const std::uint64_t table_bytes = (count * 4 + kSector - 1) / kSector * kSector;
  if (count < blocks || count > 1u << 22 || table_at % kSector != 0 ||
      table_at + table_bytes > limit_)
    return fail("V03", "block table");
  bitmap_bytes_ = (block_ / kSector / 8 + kSector - 1) / kSector * kSector;
  std::string clash;
  if (!owners_.claim(0, kSector, "footer copy", clash) ||
      !owners_.claim(header_at_, 1024, "header", clash) ||
      !owners_.claim(table_at, table_bytes, "table", clash))
    return fail("V04", "structures over " + clash);
  if (type_ == kDifferencing && !locators(raw)) return false;
  const auto table = bytes(table_at, count * 4);
  for (std::uint64_t i = 0; i < blocks; ++i) entries_.push_back(big<std::uint32_t>(table, i * 4));
  return true;
}

bool VhdImage::locators(std::span<const std::byte> raw) {
  bool named = big<std::uint16_t>(raw, 64) != 0;
  for (std::size_t at = 576; at < 576 + 8 * 24; at += 24) {
    if (big<std::uint32_t>(raw, at) == 0) continue;
    const std::uint64_t space = big<std::uint32_t>(raw, at + 4);
    const std::uint64_t length = big<std::uint32_t>(raw, at + 8);
    const std::uint64_t place = big<std::uint64_t>(raw, at + 16);
    if (length > space * kSector || place + length > limit_)
      return fail("V06", "data of a locator");
    std::string clash;
    if (!owners_.claim(place, length, "locator", clash))
      return fail("V04", "locator over " + clash);
    named = true;
  }
  return named || fail("V06", "the parent has no name");
}

bool VhdImage::table() {
  for (std::uint64_t block = 0; block < entries_.size(); ++block) {
    if (entries_[block] == kUnused) continue;
    const std::string name = "block " + std::to_string(block);
    const std::uint64_t at = entries_[block] * kSector;
    // Of the last block only what the disk has must be there.
    const std::uint64_t counts = std::min(block_, virtual_size_ - block * block_);
    if (at + bitmap_bytes_ + counts > limit_) return fail("V04", name + " past the footer");
    const std::uint64_t there = std::min(bitmap_bytes_ + block_, limit_ - at);
    std::string clash;
    if (!owners_.claim(at, there, name, clash)) return fail("V04", name + " over " + clash);
  }
  return true;
}

bool VhdImage::bitmaps() {
  for (std::uint64_t block = 0; block < entries_.size(); ++block)
    if (entries_[block] != kUnused && !bitmap_of(block)) return false;
  return true;
}

bool VhdImage::bitmap_of(std::uint64_t block) {
  if (type_ != kDifferencing) return true;
  const auto bits = bytes(entries_[block] * kSector, bitmap_bytes_);
  const std::uint64_t counts = std::min(block_, virtual_size_ - block * block_) / kSector;
  for (std::uint64_t s = counts; s < bitmap_bytes_ * 8; ++s) {
    if (s % 8 == 0 && bits[s / 8] == std::byte{0}) {
      s += 7;
      continue;
    }
    if ((std::to_integer<unsigned>(bits[s / 8]) >> (7 - s % 8) & 1) != 0)
      return fail("V05", "bits behind the last sector of block " + std::to_string(block));
  }
  return true;
}

Run VhdImage::find(std::uint64_t at, std::uint64_t length) const {
  length = std::min(length, virtual_size_ - at);
  if (type_ == kFixed) return {Run::Kind::data, at, length};
  const std::uint64_t block = at / block_;
  const std::uint64_t into = at % block_;
  length = std::min(length, block_ - into);
  const Run::Kind absent = type_ == kDifferencing ? Run::Kind::parent : Run::Kind::zero;
  if (entries_[block] == kUnused) return {absent, 0, length};
  const std::uint64_t start = entries_[block] * kSector;
  const std::vector<std::byte> bits = bytes(start, bitmap_bytes_);
  const auto present = [&](std::uint64_t s) {
    return (std::to_integer<unsigned>(bits[s / 8]) >> (7 - s % 8) & 1) != 0;
  };
  const bool first = present(into / kSector);
  std::uint64_t same = 1;
  while (same * kSector < length && present(into / kSector + same) == first) ++same;
  length = std::min(length, same * kSector);
  if (!first) return {absent, 0, length};
  return {Run::Kind::data, start + bitmap_bytes_ + into, length};
}

}  // namespace

std::unique_ptr<Image> judge_vhd(const Source& source, std::vector<Breach>& breaches) {
  Report report{breaches};
  auto image = std::make_unique<VhdImage>(source, report);
  if (!image->judge()) return nullptr;
  return image;
}

}  // namespace verify
