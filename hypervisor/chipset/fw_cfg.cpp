#include "chipset/fw_cfg.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/stored.hpp"

namespace openvhd::vmm {
namespace {

//  offset  width  access
//   0      2      w       selector (little-endian)
//   1      1      r       data stream
//   4      4      rw      DMA address, high half (big-endian)
//   8      4      rw      DMA address, low half; a write starts
constexpr std::uint16_t kSelector = 0, kData = 1, kDmaHigh = 4, kDmaLow = 8;
constexpr std::uint16_t kDirectory = 0x19, kFirstFile = 0x20;
constexpr std::uint32_t kError = 1, kRead = 2, kSkip = 4, kSelect = 8, kWrite = 16;

struct DmaRequest {
  Be32 control;  //  0  bits above; the key to select in bits 31:16
  Be32 length;   //  4
  Be64 address;  //  8
};
static_assert(OnDisk<DmaRequest, 16>);

struct DirectoryEntry {
  Be32 size;                          //  0
  Be16 key;                           //  4
  Be16 reserved;                      //  6
  std::array<std::uint8_t, 56> name;  //  8
};
static_assert(OnDisk<DirectoryEntry, 64>);

}  // namespace

std::vector<std::byte> little_endian(std::uint64_t value, std::size_t width) {
  std::vector<std::byte> bytes(width);
  for (std::size_t i = 0; i < width; ++i) bytes[i] = static_cast<std::byte>(value >> (8 * i));
  return bytes;
}

FwCfg::FwCfg(GuestMemory& memory) : memory_{&memory} {
  add_item(0, {std::byte{'Q'}, std::byte{'E'}, std::byte{'M'}, std::byte{'U'}});
  add_item(1, little_endian(3, 4));  // ports and DMA
  write_directory();
}

void FwCfg::add_item(std::uint16_t key, std::vector<std::byte> bytes) {
  items_[key] = std::move(bytes);
}

void FwCfg::add_file(const std::string& name, std::vector<std::byte> bytes) {
  if (files_.size() == kMaxFiles || name.size() > 55) __builtin_trap();  // our own mistake
  const auto key = static_cast<std::uint16_t>(kFirstFile + files_.size());
  files_.emplace_back(name, key);
  add_item(key, std::move(bytes));
  write_directory();
}

void FwCfg::write_directory() {
  auto sorted = files_;
  std::ranges::sort(sorted);
  std::vector<std::byte> bytes(4 + sorted.size() * sizeof(DirectoryEntry));
  store(std::span{bytes}, Be32{static_cast<std::uint32_t>(sorted.size())});
  auto rest = std::span{bytes}.subspan(4);
  for (const auto& [name, key] : sorted) {
    DirectoryEntry entry{};
    entry.size = static_cast<std::uint32_t>(items_[key].size());
    entry.key = key;
    std::memcpy(entry.name.data(), name.data(), name.size());
    store(rest, entry);
    rest = rest.subspan(sizeof entry);
  }
  add_item(kDirectory, std::move(bytes));
}

void FwCfg::select(std::uint16_t key) noexcept {
  const auto found = items_.find(key);
  selected_ = found == items_.end() ? std::span<const std::byte>{} : std::span{found->second};
  position_ = 0;
}

std::uint8_t FwCfg::next_byte() noexcept {
  if (position_ >= selected_.size()) return 0;
  return std::to_integer<std::uint8_t>(selected_[position_++]);
}

bool FwCfg::copy(GuestAddress to, std::uint32_t length) noexcept {
  const auto into = memory_->slice(to, length, GuestMemory::Use::write);
  if (!into) return false;
  const auto rest = selected_.subspan(std::min<std::uint64_t>(position_, selected_.size()));
  const auto some = std::min<std::size_t>(rest.size(), length);
  if (some > 0) std::memcpy(into->data(), rest.data(), some);
  std::memset(into->data() + some, 0, length - some);  // what is beyond an item reads as zero
  position_ += some;
  return true;
}

void FwCfg::transfer(GuestAddress at) noexcept {
  std::array<std::byte, sizeof(DmaRequest)> bytes{};
  if (!memory_->read(at, bytes)) return;  // nowhere to say so
  const auto request = load<DmaRequest>(bytes);
  const std::uint32_t control = request.control;
  const std::uint32_t length = request.length;
  if ((control & kSelect) != 0) select(static_cast<std::uint16_t>(control >> 16));
  bool good = (control & kWrite) == 0;
  if (good && (control & kRead) != 0)
    good = length <= kMaxTransfer && copy({request.address.value()}, length);
  else if (good && (control & kSkip) != 0)
    position_ = std::min<std::uint64_t>(position_ + length, selected_.size());
  std::array<std::byte, 4> answer{};
  store(std::span<std::byte>{answer}, Be32{good ? 0 : kError});
  // It could be read; if it cannot be written, the guest has no answer to wait for.
  static_cast<void>(memory_->write(at, answer));
}

Answer FwCfg::read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept {
  if (offset == kData) {
    if (width != 1) return Answer::bad_width;
    value = next_byte();
    return Answer::ok;
  }
  if (offset != kDmaHigh && offset != kDmaLow) return Answer::no_register;
  if (width != 4) return Answer::bad_width;
  value = byteswap(offset == kDmaHigh ? 0x5145'4d55U : 0x2043'4647U);  // "QEMU", " CFG"
  return Answer::ok;
}

Answer FwCfg::write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept {
  if (offset == kSelector) {
    if (width != 2) return Answer::bad_width;
    select(static_cast<std::uint16_t>(value));
    return Answer::ok;
  }
  if (offset == kDmaHigh || offset == kDmaLow) {
    if (width != 4) return Answer::bad_width;
    if (offset == kDmaHigh) {
      dma_high_ = byteswap(value);
      return Answer::ok;
    }
    const auto high = std::uint64_t{dma_high_} << 32;
    dma_high_ = 0;
    transfer({high | byteswap(value)});
    return Answer::ok;
  }
  return Answer::no_register;
}

}  // namespace openvhd::vmm
