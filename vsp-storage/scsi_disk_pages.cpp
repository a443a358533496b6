// What a disk says of itself: INQUIRY, vital product data, mode pages (SBC-3, 6.4 and 6.5).
#include <algorithm>

#include "base/checked.hpp"
#include "scsi_disk.hpp"

namespace openvhd::scsi {
namespace {

constexpr std::uint8_t kCaching = 0x08, kControl = 0x0a, kAllPages = 0x3f;
constexpr std::uint8_t kWriteCache = 0x04, kDescriptorSense = 0x04;
constexpr std::uint8_t kWriteProtect = 0x80, kDurableBit = 0x10;  // device-specific parameter
constexpr std::size_t kMostParameters = 256;
constexpr Sense kSavingNotSupported{0x05, 0x39, 0x00};

bool is_six(const ScsiRequest& request) noexcept { return (request.cdb[0] >> 5) == 0; }

}  // namespace

void ScsiDisk::inquiry(ScsiRequest& request) noexcept { standard_inquiry(request, 0x00, false); }

std::vector<std::uint8_t> ScsiDisk::block_limits() const {
  std::vector<std::uint8_t> page(64);
  page[1] = 0xb0;
  page[3] = 60;
  page[4] = 1;  // WRITE SAME of no blocks is refused
  const auto set = [&](std::size_t at, std::uint64_t value, std::size_t width) {
    put_big_endian(page, at, value, width);
  };
  set(6, shape_.physical_block / shape_.logical_block, 2);
  set(8, kMostTransfer / shape_.logical_block, 4);
  if (shape_.thin) {
    set(20, 0xffff'ffff, 4);
    set(24, kMostExtents, 4);
    if (shape_.allocation_unit >= shape_.logical_block) {
      set(28, std::min<std::uint64_t>(shape_.allocation_unit / shape_.logical_block, 0x7fff'ffff),
          4);
      set(32, 0x8000'0000, 4);  // units count from block 0
    }
  }
  set(36, kMostSame / shape_.logical_block, 8);
  return page;
}

std::vector<std::uint8_t> ScsiDisk::product_data(std::uint8_t page) noexcept {
  switch (page) {
    case 0x00:
      return {0x00, 0x00, 0x00, 6, 0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2};
    case 0x80:
      return serial_page();
    case 0x83:
      return identification_page(0x00);
    case 0xb0:
      return block_limits();
    case 0xb1: {
      std::vector<std::uint8_t> bytes(64);
      bytes[1] = 0xb1;
      bytes[3] = 60;
      bytes[5] = 1;  // does not rotate
      return bytes;
    }
    case 0xb2:
      if (!shape_.thin) return {0x00, 0xb2, 0x00, 4, 0, 0, 0, 0};
      // UNMAP and both WRITE SAMEs unmap; what is unmapped reads as zeros; thin provisioning.
      return {0x00, 0xb2, 0x00, 4, 0, 0xe4, 0x02, 0};
    default:
      return {};
  }
}

// `control`: 0 current, 1 changeable, 2 default.
std::vector<std::uint8_t> ScsiDisk::mode_pages(std::uint8_t page, std::uint8_t control) const {
  std::vector<std::uint8_t> bytes;
  if (page == kCaching || page == kAllPages) {
    const bool cache = control != 0 || write_cache_;
    bytes.insert(bytes.end(), {kCaching, 18, static_cast<std::uint8_t>(cache ? kWriteCache : 0)});
    bytes.resize(bytes.size() + 17);
  }
  if (page == kControl || page == kAllPages) {
    const bool descriptor = control == 0 ? descriptor_sense_.load() : control == 1;
    bytes.insert(bytes.end(),
                 {kControl, 10, static_cast<std::uint8_t>(descriptor ? kDescriptorSense : 0)});
    bytes.resize(bytes.size() + 9);
  }
  return bytes;
}

void ScsiDisk::mode_sense(ScsiRequest& request) noexcept {
  const std::uint8_t control = request.cdb[2] >> 6;
  const std::uint8_t page = request.cdb[2] & 0x3f;
  const auto subpage = request.cdb[3];
  if (control == 3) return fail(request, kSavingNotSupported);
  if (subpage != 0 && subpage != 0xff) return fail(request, kInvalidField);
  const auto pages = mode_pages(page, control);
  if (pages.empty()) return fail(request, kInvalidField);
  const std::uint8_t specific =
      static_cast<std::uint8_t>(kDurableBit | (shape_.writable ? 0 : kWriteProtect));
  std::vector<std::uint8_t> bytes(is_six(request) ? 4 : 8);
  if (is_six(request)) {
    bytes[0] = static_cast<std::uint8_t>(3 + pages.size());
    bytes[2] = specific;
  } else {
    bytes[1] = static_cast<std::uint8_t>(6 + pages.size());
    bytes[3] = specific;
  }
  bytes.insert(bytes.end(), pages.begin(), pages.end());
  reply(request, bytes, is_six(request) ? request.cdb[4] : big_endian(request, 7, 2));
}

// One page of MODE SELECT: only what mode_pages() says is changeable may differ.
bool ScsiDisk::select_page(std::span<const std::byte> page) noexcept {
  std::vector<std::uint8_t> now;
  for (const auto byte : page) now.push_back(std::to_integer<std::uint8_t>(byte));
  const auto changeable = mode_pages(now[0] & 0x3f, 1);
  const auto current = mode_pages(now[0] & 0x3f, 0);
  if ((now[0] & 0x3f) == kAllPages || now.size() != current.size()) return false;
  for (std::size_t i = 2; i < now.size(); ++i)
    if (((now[i] ^ current[i]) & ~changeable[i]) != 0) return false;
  if ((now[0] & 0x3f) == kControl)
    descriptor_sense_ = (now[2] & kDescriptorSense) != 0;
  else if (shape_.writable)
    write_cache_ = (now[2] & kWriteCache) != 0;
  return true;
}

void ScsiDisk::mode_select(ScsiRequest& request) noexcept {
  const auto length = is_six(request) ? request.cdb[4] : big_endian(request, 7, 2);
  const std::size_t header = is_six(request) ? 4 : 8;
  if ((request.cdb[1] & 0x11) != 0x10) return fail(request, kInvalidField);  // PF, and no SP
  if (length == 0) return end(request);
  if (length < header || length > kMostParameters) return fail(request, kParameterListLength);
  std::vector<std::byte> list(length);
  if (!take(request, list)) return overrun(request);
  const auto at = [&](std::size_t i) { return std::to_integer<std::size_t>(list[i]); };
  const auto descriptors = is_six(request) ? at(3) : at(6) << 8 | at(7);
  if (descriptors > list.size() - header) return fail(request, kParameterListLength);
  const bool cached = write_cache_;
  auto rest = std::span<const std::byte>{list}.subspan(header + descriptors);
  while (!rest.empty()) {
    const auto bytes = rest.size() < 2 ? 0 : 2 + std::to_integer<std::size_t>(rest[1]);
    if (bytes == 0 || bytes > rest.size()) return fail(request, kParameterListLength);
    if (!select_page(rest.first(bytes))) return fail(request, kInvalidParameter);
    rest = rest.subspan(bytes);
  }
  // What was acknowledged while the cache was on becomes durable when it is turned off.
  if (cached && !write_cache_) return start(request, ScsiBackend::Kind::flush, nullptr);
  end(request);
}

}  // namespace openvhd::scsi
