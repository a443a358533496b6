#include "vhdx/image_builder.hpp"

#include <algorithm>
#include <cstdlib>

#include "base/crc32c.hpp"
#include "support/bytes.hpp"

namespace openvhd::test {
namespace {

std::vector<std::byte> number(unsigned width, std::uint64_t value) {
  return Bytes{}.put(0, width, value).data;
}

std::vector<std::byte> header_block(const BuiltHeader& header) {
  Bytes out{4096};
  out.put(0, std::string{"head"}).put(8, 8, header.sequence);
  for (std::size_t i = 0; i < 16; ++i) {
    out.put(16 + i, 1, header.file_write_seed).put(32 + i, 1, 0xd1);
  }
  if (!header.log_guid.empty()) out.put_guid(48, header.log_guid);
  out.put(64, 2, header.log_version).put(66, 2, header.version);
  out.put(68, 4, header.log_length).put(72, 8, header.log_at);
  return out.seal(4).data;
}

std::vector<std::byte> region_table(const std::vector<BuiltRegion>& regions) {
  Bytes out{65536};
  out.put(0, std::string{"regi"}).put(8, 4, regions.size());
  std::size_t at = 16;
  for (const BuiltRegion& region : regions) {
    if (at + 32 > 65536) break;
    out.put_guid(at, region.guid).put(at + 16, 8, region.at);
    out.put(at + 24, 4, region.length).put(at + 28, 4, region.flags);
    at += 32;
  }
  return out.seal(4).data;
}

std::vector<std::byte> metadata_region(const std::vector<BuiltItem>& items) {
  Bytes out{2 * 65536};
  out.put(0, std::string{"metadata"}).put(10, 2, items.size());
  std::size_t at = 32;
  for (const BuiltItem& item : items) {
    if (at + 32 > 65536) break;
    out.put_guid(at, item.guid).put(at + 16, 4, item.offset).put(at + 20, 4, item.length);
    out.put(at + 24, 4, item.flags);
    at += 32;
    if (item.offset >= 65536 && item.offset < kMegabyte) out.put(item.offset, item.value);
  }
  return out.data;
}

}  // namespace

DiskGuid disk_guid(const std::string& text) {
  static constexpr std::array<std::size_t, 16> kOrder{3, 2, 1,  0,  5,  4,  7,  6,
                                                      8, 9, 10, 11, 12, 13, 14, 15};
  std::string digits = text;
  std::erase(digits, '-');
  DiskGuid out{};
  for (std::size_t i = 0; i < 16; ++i) {
    out[kOrder[i]] = static_cast<std::uint8_t>(std::stoul(digits.substr(2 * i, 2), nullptr, 16));
  }
  return out;
}

void Bytes::reach(std::size_t end) {
  if (data.size() < end) data.resize(end);
}

Bytes& Bytes::put(std::size_t at, unsigned width, std::uint64_t value) {
  reach(at + width);
  for (unsigned i = 0; i < width; ++i) {
    data[at + i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
  }
  return *this;
}

Bytes& Bytes::put(std::size_t at, const std::string& text) { return put(at, bytes_of(text)); }

Bytes& Bytes::put(std::size_t at, const std::vector<std::byte>& bytes) {
  reach(at + bytes.size());
  std::ranges::copy(bytes, data.begin() + static_cast<std::ptrdiff_t>(at));
  return *this;
}

Bytes& Bytes::put_guid(std::size_t at, const std::string& printed) {
  const DiskGuid guid = disk_guid(printed);
  for (std::size_t i = 0; i < 16; ++i) put(at + i, 1, guid[i]);
  return *this;
}

Bytes& Bytes::seal(std::size_t at) {
  put(at, 4, 0);
  return put(at, 4, crc32c(data));
}

Image::Image() {
  headers[1].sequence = 2;
  regions[0] = {{.guid = kMetadataGuid, .at = metadata_at}, {.guid = kBatGuid, .at = bat_at}};
  regions[1] = regions[0];
  items = {
      {.guid = kParametersGuid, .flags = 4, .value = number(8, kMegabyte)},
      {.guid = kSizeGuid, .flags = 6, .value = number(8, 16 * kMegabyte)},
      {.guid = kPage83Guid, .flags = 6, .value = number(8, 0x123456789abcdef0)},
      {.guid = kLogicalGuid, .flags = 6, .value = number(4, 512)},
      {.guid = kPhysicalGuid, .flags = 6, .value = number(4, 4096)},
  };
  items[2].value.resize(16);
  std::uint32_t at = 65536;
  for (BuiltItem& item : items) {
    item.offset = at;
    item.length = static_cast<std::uint32_t>(item.value.size());
    at += 64;
  }
  bat = {{0, 4 * kMegabyte | 6}};
}

BuiltRegion& Image::region(const std::string& guid, unsigned copy) {
  auto found = std::ranges::find(regions[copy], guid, &BuiltRegion::guid);
  if (found == regions[copy].end()) std::abort();
  return *found;
}

void Image::each_table(void (*change)(std::vector<BuiltRegion>&)) {
  for (auto& table : regions) change(table);
}

BuiltItem& Image::item(const std::string& guid) {
  auto found = std::ranges::find(items, guid, &BuiltItem::guid);
  if (found == items.end()) std::abort();
  return *found;
}

void Image::set_item(const std::string& guid, unsigned width, std::uint64_t value) {
  item(guid).value = number(width, value);
}

void Image::add_parent(const std::vector<std::pair<std::string, std::string>>& pairs) {
  item(kParametersGuid).value = Bytes{}.put(0, 4, kMegabyte).put(4, 4, 2).data;
  BuiltItem locator{.guid = kLocatorGuid, .flags = 4, .value = locator_item(pairs)};
  locator.offset = 65536 + 4096;
  locator.length = static_cast<std::uint32_t>(locator.value.size());
  items.push_back(std::move(locator));
}

void Image::make_dirty(std::vector<std::byte> log) {
  for (BuiltHeader& header : headers) header.log_guid = kLogGuid;
  extra.emplace_back(headers[1].log_at, std::move(log));
}

std::shared_ptr<MemoryStore> Image::build() const {
  auto store = std::make_shared<MemoryStore>();
  MemoryFile file{store};
  patch(file, 0, bytes_of(signature));
  if (headers[0].present) patch(file, 64 * 1024, header_block(headers[0]));
  if (headers[1].present) patch(file, 128 * 1024, header_block(headers[1]));
  patch(file, 192 * 1024, region_table(regions[0]));
  patch(file, 256 * 1024, region_table(regions[1]));
  patch(file, metadata_at, metadata_region(items));
  for (const auto& [index, entry] : bat) {
    patch(file, bat_at + 8 * index, number(8, entry));
    const std::uint64_t at = entry & ~(kMegabyte - 1);
    if ((entry & 7) == 6 && at + kMegabyte <= file_bytes && at >= 4 * kMegabyte) {
      patch(file, at, filled(kMegabyte, payload));
    }
  }
  for (const auto& [at, bytes] : extra) patch(file, at, bytes);
  if (!file.set_size(file_bytes)) std::abort();
  return store;
}

std::vector<std::byte> locator_item(const std::vector<std::pair<std::string, std::string>>& pairs,
                                    const std::string& type) {
  Bytes out{20 + 12 * pairs.size()};
  out.put_guid(0, type).put(18, 2, pairs.size());
  std::size_t entry = 20;
  const auto text = [&](const std::string& value) {
    const std::size_t at = out.data.size();
    for (std::size_t i = 0; i < value.size(); ++i) {
      out.put(at + 2 * i, 2, static_cast<unsigned char>(value[i]));
    }
    return at;
  };
  for (const auto& [key, value] : pairs) {
    out.put(entry, 4, text(key)).put(entry + 8, 2, 2 * key.size());
    out.put(entry + 4, 4, text(value)).put(entry + 10, 2, 2 * value.size());
    entry += 12;
  }
  return out.data;
}

std::vector<std::byte> sector_of(int value) { return filled(4096, value); }

std::vector<std::byte> log_entry(const BuiltEntry& entry) {
  const std::size_t count = entry.writes.size();
  const std::size_t head = count <= 126 ? 1 : 1 + (count - 126 + 127) / 128;
  Bytes out{head * 4096};
  out.put(0, std::string{"loge"}).put(12, 4, entry.tail).put(16, 8, entry.sequence);
  out.put(24, 4, count).put_guid(32, entry.guid);
  out.put(48, 8, entry.flushed).put(56, 8, entry.last);
  std::size_t at = 64;
  for (const BuiltWrite& write : entry.writes) {
    out.put(at + 16, 8, write.at).put(at + 24, 8, entry.sequence);
    if (write.sector.empty()) {
      out.put(at, std::string{"zero"}).put(at + 8, 8, write.zero_length);
    } else {
      const auto& s = write.sector;
      out.put(at, std::string{"desc"});
      out.put(at + 4, std::vector<std::byte>(s.end() - 4, s.end()));
      out.put(at + 8, std::vector<std::byte>(s.begin(), s.begin() + 8));
      const std::size_t data = out.data.size();
      out.put(data, std::string{"data"}).put(data + 4, 4, entry.sequence >> 32);
      out.put(data + 8, std::vector<std::byte>(s.begin() + 8, s.end() - 4));
      out.put(data + 4092, 4, entry.sequence & 0xffffffff);
    }
    at += 32;
  }
  out.put(8, 4, out.data.size());
  return out.seal(4).data;
}

std::size_t put_entry(std::vector<std::byte>& log, std::size_t at, const BuiltEntry& entry) {
  for (const std::byte byte : log_entry(entry)) {
    log[at] = byte;
    at = (at + 1) % log.size();
  }
  return at;
}

}  // namespace openvhd::test
