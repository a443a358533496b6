#include "devices/ata_disk.hpp"

#include <algorithm>
#include <bit>
#include <string_view>

#include "base/checked.hpp"

namespace openvhd::vmm {
namespace {

constexpr std::uint32_t kMaxMultiple = 16;
constexpr std::uint32_t kHeads = 16, kSectorsPerTrack = 63;
constexpr std::uint64_t kMost28 = 0x0fff'ffff, kMost48 = 0xffff'ffff'ffff;
constexpr std::uint8_t kAbort = 0x04, kNotFound = 0x10, kUncorrectable = 0x40;

void put_text(std::span<std::uint16_t> words, std::string_view text) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto at = [&](std::size_t k) {
      return static_cast<std::uint16_t>(k < text.size() ? static_cast<unsigned char>(text[k])
                                                        : ' ');
    };
    words[i] = static_cast<std::uint16_t>(at(2 * i) << 8 | at(2 * i + 1));
  }
}

}  // namespace

AtaDisk::AtaDisk(Block& block) noexcept
    : IdeDrive{block}, sectors_{std::min(block.shape().bytes / kSector, kMost48)} {
  AtaDisk::signature();
}

void AtaDisk::signature() noexcept {
  now_ = {.count = 1, .low = 1};
  multiple_ = 1;
}

void AtaDisk::abort() noexcept { end(kReady | kErr, kAbort); }

void AtaDisk::completed() noexcept {
  if (!last_was_pio_read_) {
    end(kReady | kSeek, 0);
    return;
  }
  // The last piece was announced; its end is not (PIO data-in, 11.2).
  settle(kReady | kSeek);
}

void AtaDisk::failed(const Error& error) noexcept {
  end(kReady | kErr, error.code == Errc::out_of_range ? kNotFound : kUncorrectable);
}

// Sectors and first sector of the present command; false when they do not lie on the disk.
bool AtaDisk::locate(bool extended, std::uint64_t& sector, std::uint64_t& count) const noexcept {
  if (extended) {
    count = static_cast<std::uint64_t>(previous_.count) << 8 | now_.count;
    if (count == 0) count = 65'536;
    sector = std::uint64_t{previous_.high} << 40 | std::uint64_t{previous_.mid} << 32 |
             std::uint64_t{previous_.low} << 24 | std::uint64_t{now_.high} << 16 |
             std::uint64_t{now_.mid} << 8 | now_.low;
  } else {
    count = now_.count == 0 ? 256 : now_.count;
    const std::uint64_t head = now_.device & 0x0f;
    if ((now_.device & 0x40) != 0) {
      sector =
          head << 24 | std::uint64_t{now_.high} << 16 | std::uint64_t{now_.mid} << 8 | now_.low;
    } else {
      if (now_.low == 0) return false;  // sectors of a track count from 1
      const std::uint64_t cylinder = std::uint64_t{now_.high} << 8 | now_.mid;
      sector = (cylinder * kHeads + head) * kSectorsPerTrack + now_.low - 1;
    }
  }
  return range_fits(sector, count, sectors_);
}

void AtaDisk::move(bool to_memory, bool extended, Mode mode) noexcept {
  std::uint64_t sector = 0;
  std::uint64_t count = 0;
  if (!locate(extended, sector, count)) {
    end(kReady | kErr, kNotFound);
    return;
  }
  if (!to_memory && !block().shape().writable) {
    abort();
    return;
  }
  const auto piece = (mode == Mode::multiple ? multiple_ : 1) * kSector;
  // Firmware reads sector by sector: fetching many at a time is what makes that bearable.
  const auto load = to_memory ? kBufferBytes : piece;
  last_was_pio_read_ = to_memory && mode != Mode::dma;
  transfer({.to_memory = to_memory,
            .dma = mode == Mode::dma,
            .at = {sector * kSector},
            .bytes = count * kSector,
            .load = load,
            .piece = piece,
            .durable = !to_memory && !write_cache_});
}

void AtaDisk::verify(bool extended) noexcept {
  std::uint64_t sector = 0;
  std::uint64_t count = 0;
  const bool good = locate(extended, sector, count);
  end(good ? kReady | kSeek : kReady | kErr, good ? 0 : kNotFound);
}

void AtaDisk::set_address(std::uint64_t sector, bool extended) noexcept {
  now_.low = static_cast<std::uint8_t>(sector);
  now_.mid = static_cast<std::uint8_t>(sector >> 8);
  now_.high = static_cast<std::uint8_t>(sector >> 16);
  if (!extended) {
    now_.device = static_cast<std::uint8_t>((now_.device & 0xf0) | (sector >> 24 & 0x0f));
    return;
  }
  previous_.low = static_cast<std::uint8_t>(sector >> 24);
  previous_.mid = static_cast<std::uint8_t>(sector >> 32);
  previous_.high = static_cast<std::uint8_t>(sector >> 40);
}

void AtaDisk::read_max(bool extended) noexcept {
  const auto last = sectors_ == 0 ? 0 : sectors_ - 1;
  set_address(extended ? last : std::min(last, kMost28 - 1), extended);
  end(kReady | kSeek, 0);
}

void AtaDisk::set_features() noexcept {
  switch (now_.feature) {
    case 0x02:
    case 0x82:
      write_cache_ = now_.feature == 0x02;
      if (!write_cache_) {
        flush();  // what was written before must be as durable as what comes
        return;
      }
      break;
    case 0x03: {  // transfer mode: PIO, or multiword DMA 0 to 2
      const auto mode = now_.count;
      if ((mode & 0xf8) == 0x20 && (mode & 7) <= 2)
        dma_mode_ = mode & 7;
      else if ((mode & 0xf8) != 0x08 && mode > 1) {
        abort();
        return;
      }
      break;
    }
    case 0x55:  // read look-ahead off, on: nothing to switch
    case 0xaa:
    case 0x66:  // keep settings over a reset
    case 0xcc:
      break;
    default:
      abort();
      return;
  }
  end(kReady | kSeek, 0);
}

void AtaDisk::identify() noexcept {
  std::array<std::uint16_t, 256> w{};
  const auto cylinders = std::min<std::uint64_t>(sectors_ / (kHeads * kSectorsPerTrack), 16'383);
  const auto chs = static_cast<std::uint32_t>(cylinders * kHeads * kSectorsPerTrack);
  const auto low28 = static_cast<std::uint32_t>(std::min(sectors_, kMost28));
  w[0] = 0x0040;  // fixed
  w[1] = w[54] = static_cast<std::uint16_t>(cylinders);
  w[3] = w[55] = kHeads;
  w[6] = w[56] = kSectorsPerTrack;
  put_text(std::span{w}.subspan(10, 10), block().shape().serial);
  put_text(std::span{w}.subspan(23, 4), "1.0");
  put_text(std::span{w}.subspan(27, 20), "OpenVHD disk");
  w[47] = 0x8000 | kMaxMultiple;
  w[49] = 0x0f00;  // LBA, DMA, IORDY
  w[50] = 0x4000;
  w[53] = 0x0003;  // words 54 to 58 and 64 to 70 count
  w[57] = static_cast<std::uint16_t>(chs);
  w[58] = static_cast<std::uint16_t>(chs >> 16);
  w[59] = static_cast<std::uint16_t>(0x0100 | multiple_);
  w[60] = static_cast<std::uint16_t>(low28);
  w[61] = static_cast<std::uint16_t>(low28 >> 16);
  w[63] = static_cast<std::uint16_t>(0x0007 | 0x0100 << dma_mode_);
  w[64] = 0x0003;                       // PIO 3 and 4
  w[65] = w[66] = w[67] = w[68] = 120;  // ns per cycle
  w[80] = 0x00f0;                       // ATA-4 to 7
  w[82] = 0x4020;                       // NOP, write cache
  w[83] = 0x7400;                       // 48 bits, FLUSH CACHE (EXT)
  w[84] = w[87] = 0x4000;
  w[85] = static_cast<std::uint16_t>(0x4000 | (write_cache_ ? 0x20 : 0));
  w[86] = 0x3400;
  for (unsigned i = 0; i < 4; ++i) w[100 + i] = static_cast<std::uint16_t>(sectors_ >> (16 * i));
  const auto ratio = std::max<std::size_t>(block().shape().physical_sector / kSector, 1);
  w[106] = static_cast<std::uint16_t>(0x4000 | (ratio > 1 ? 0x2000 : 0) | std::countr_zero(ratio));
  w[217] = 1;  // does not turn
  for (std::size_t i = 0; i < w.size(); ++i) {
    buffer()[2 * i] = static_cast<std::byte>(w[i]);
    buffer()[2 * i + 1] = static_cast<std::byte>(w[i] >> 8);
  }
  last_was_pio_read_ = true;
  reply(kSector, kSector, false);
}

void AtaDisk::execute(std::uint8_t code) noexcept {
  last_was_pio_read_ = false;
  switch (code) {
    case 0xec:
      return identify();
    case 0x20:
    case 0x21:
      return move(true, false, Mode::pio);
    case 0x24:
      return move(true, true, Mode::pio);
    case 0x29:
      return move(true, true, Mode::multiple);
    case 0xc4:
      return move(true, false, Mode::multiple);
    case 0xc8:
    case 0xc9:
      return move(true, false, Mode::dma);
    case 0x25:
      return move(true, true, Mode::dma);
    case 0x30:
    case 0x31:
      return move(false, false, Mode::pio);
    case 0x34:
      return move(false, true, Mode::pio);
    case 0x39:
      return move(false, true, Mode::multiple);
    case 0xc5:
      return move(false, false, Mode::multiple);
    case 0xca:
    case 0xcb:
      return move(false, false, Mode::dma);
    case 0x35:
      return move(false, true, Mode::dma);
    case 0x40:
    case 0x41:
      return verify(false);
    case 0x42:
      return verify(true);
    case 0xe7:
    case 0xea:
      return flush();
    case 0xef:
      return set_features();
    case 0xf8:
      return read_max(false);
    case 0x27:
      return read_max(true);
    case 0xc6:
      if (now_.count > kMaxMultiple || !std::has_single_bit(unsigned{now_.count})) return abort();
      multiple_ = now_.count;
      return end(kReady | kSeek, 0);
    case 0xe5:  // CHECK POWER MODE: active
      now_.count = 0xff;
      return end(kReady | kSeek, 0);
    case 0x90:  // EXECUTE DEVICE DIAGNOSTIC
      signature();
      return end(kReady | kSeek, 1);
    case 0x10:  // RECALIBRATE, INITIALIZE DEVICE PARAMETERS, power states: nothing to do
    case 0x91:
    case 0xe0:
    case 0xe1:
    case 0xe2:
    case 0xe3:
      return end(kReady | kSeek, 0);
    default:
      return abort();
  }
}

}  // namespace openvhd::vmm
