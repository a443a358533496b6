#include "scsi_cd.hpp"

#include <algorithm>

#include "base/checked.hpp"

namespace openvhd::scsi {

ScsiCd::ScsiCd(ScsiIdentity identity, std::uint64_t bytes)
    : ScsiUnit{std::move(identity)},
      blocks_{static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes / kBlock, 0xffff'fffe))} {}

std::vector<ScsiUnit::Known> ScsiCd::known() const {
  return {{0x08, 6},  {0x1a, 6},  {0x1b, 6},  {0x1e, 6},  {0x25, 10}, {0x28, 10}, {0x43, 10},
          {0x46, 10}, {0x4a, 10}, {0x51, 10}, {0x5a, 10}, {0xa8, 12}, {0xbb, 12}};
}

void ScsiCd::inquiry(ScsiRequest& request) noexcept { standard_inquiry(request, 0x05, true); }

std::vector<std::uint8_t> ScsiCd::product_data(std::uint8_t page) noexcept {
  switch (page) {
    case 0x00:
      return {0x05, 0x00, 0x00, 3, 0x00, 0x80, 0x83};
    case 0x80: {
      auto bytes = serial_page();
      bytes[0] = 0x05;
      return bytes;
    }
    case 0x83:
      return identification_page(0x05);
    default:
      return {};
  }
}

void ScsiCd::read(ScsiRequest& request, std::uint64_t block, std::uint64_t count) noexcept {
  if (!range_fits(block, count, blocks_)) return fail(request, kOutOfRange);
  move(request, {.at = block * kBlock, .bytes = count * kBlock});
}

void ScsiCd::read_capacity(ScsiRequest& request) noexcept {
  std::array<std::uint8_t, 8> bytes{};
  put_big_endian(bytes, 0, blocks_ == 0 ? 0 : blocks_ - 1, 4);
  put_big_endian(bytes, 4, kBlock, 4);
  reply(request, bytes, bytes.size());
}

// One session with one data track.
void ScsiCd::read_toc(ScsiRequest& request) noexcept {
  const bool msf = (request.cdb[1] & 2) != 0;
  const unsigned format = request.cdb[2] & 0x0f;
  if (format > 1) return fail(request, kInvalidField);
  std::array<std::uint8_t, 20> bytes{0, 10, 1, 1, 0, 0x14, 1, 0};
  const auto address = [&](std::size_t at, std::uint32_t block) {
    const auto frame = block + 150;  // two seconds before the first block
    const auto minutes = std::min<std::uint32_t>(frame / 75 / 60, 0xff);
    put_big_endian(bytes, at, msf ? minutes << 16 | frame / 75 % 60 << 8 | frame % 75 : block, 4);
  };
  address(8, 0);
  if (format == 0) {
    bytes[1] = 18;
    bytes[13] = 0x16;
    bytes[14] = 0xaa;
    address(16, blocks_);
  }
  reply(request, std::span{bytes}.first(format == 0 ? 20 : 12), big_endian(request, 7, 2));
}

// Page 2Ah, capabilities: all that Linux and firmware ask for.
void ScsiCd::mode_sense(ScsiRequest& request, bool six) noexcept {
  const unsigned page = request.cdb[2] & 0x3f;
  if (page != 0x2a && page != 0x3f) return fail(request, kInvalidField);
  std::vector<std::uint8_t> bytes(six ? 4 : 8);
  bytes[six ? 0 : 1] = static_cast<std::uint8_t>(bytes.size() + 22 - (six ? 1 : 2));
  bytes[six ? 1 : 2] = 0x01;  // a data disc
  bytes.insert(bytes.end(), {0x2a, 20,   0x03, 0,    0x70, 0, 0x29, 0, 0x02, 0xc0, 0,
                             2,    0x02, 0,    0x02, 0xc0, 0, 0,    0, 0,    0,    0});
  reply(request, bytes, six ? request.cdb[4] : big_endian(request, 7, 2));
}

ScsiUnit::Served ScsiCd::serve(ScsiRequest& request) noexcept {
  const auto allocated = big_endian(request, 7, 2);
  switch (request.cdb[0]) {
    case 0x08:
      read(request, big_endian(request, 1, 3) & 0x1f'ffff,
           request.cdb[4] == 0 ? 256 : request.cdb[4]);
      break;
    case 0x28:
      read(request, big_endian(request, 2, 4), big_endian(request, 7, 2));
      break;
    case 0xa8:
      read(request, big_endian(request, 2, 4), big_endian(request, 6, 4));
      break;
    case 0x25:
      read_capacity(request);
      break;
    case 0x43:
      read_toc(request);
      break;
    case 0x1a:
    case 0x5a:
      mode_sense(request, request.cdb[0] == 0x1a);
      break;
    case 0x46:  // GET CONFIGURATION: the header, profile CD-ROM
      reply(request, std::array<std::uint8_t, 8>{0, 0, 0, 4, 0, 0, 0, 8}, allocated);
      break;
    case 0x4a:  // GET EVENT STATUS NOTIFICATION, polled: the medium is there, nothing new
      if ((request.cdb[1] & 1) == 0)
        fail(request, kInvalidField);
      else
        reply(request, std::array<std::uint8_t, 8>{0, 6, 0x04, 0x10, 0, 0x02, 0, 0}, allocated);
      break;
    case 0x51: {  // READ DISC INFORMATION: complete, one session, one track
      std::array<std::uint8_t, 34> bytes{0, 32, 0x0e, 1, 1, 1, 1, 0x20};
      reply(request, bytes, allocated);
      break;
    }
    case 0x1b:  // START STOP UNIT
    case 0x1e:  // PREVENT ALLOW MEDIUM REMOVAL
    case 0xbb:  // SET CD SPEED
      end(request);
      break;
    default:
      return Served::unknown;
  }
  return Served::yes;
}

}  // namespace openvhd::scsi
