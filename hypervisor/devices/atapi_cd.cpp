#include "devices/atapi_cd.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "base/checked.hpp"

namespace openvhd::vmm {
namespace {

constexpr std::uint8_t kAbort = 0x04;
constexpr std::uint8_t kMediumError = 3, kIllegalRequest = 5;
constexpr std::uint8_t kInvalidCommand = 0x20, kOutOfRange = 0x21, kInvalidField = 0x24,
                       kReadError = 0x11;
// Sector count register, as "interrupt reason": a command, or which way data goes.
constexpr std::uint8_t kIsCommand = 1, kToHost = 2;

void put(std::span<std::byte> to, std::size_t at, std::initializer_list<unsigned> bytes) {
  for (const unsigned byte : bytes) to[at++] = static_cast<std::byte>(byte);
}

void put32(std::span<std::byte> to, std::size_t at, std::uint32_t value) {
  put(to, at, {value >> 24, value >> 16 & 0xff, value >> 8 & 0xff, value & 0xff});
}

void put_words(std::span<std::byte> to, std::size_t word, std::string_view text,
               std::size_t words) {
  for (std::size_t i = 0; i < 2 * words; ++i)
    to[2 * word + (i ^ 1)] = static_cast<std::byte>(i < text.size() ? text[i] : ' ');
}

}  // namespace

AtapiCd::AtapiCd(Block& block) noexcept
    : IdeDrive{block},
      sectors_{static_cast<std::uint32_t>(
          std::min<std::uint64_t>(block.shape().bytes / kCdSector, 0xffff'fffe))} {
  AtapiCd::signature();
}

void AtapiCd::signature() noexcept { now_ = {.count = 1, .low = 1, .mid = 0x14, .high = 0xeb}; }

void AtapiCd::piece_waits(std::size_t bytes) noexcept {
  if (identifying_) return;
  now_.count = kToHost;
  now_.mid = static_cast<std::uint8_t>(bytes);
  now_.high = static_cast<std::uint8_t>(bytes >> 8);
}

void AtapiCd::completed() noexcept {
  if (identifying_) {
    settle(kReady | kSeek);
    return;
  }
  now_.count = kIsCommand | kToHost;
  sense_key_ = sense_code_ = 0;
  end(kReady | kSeek, 0);
}

void AtapiCd::sense(std::uint8_t key, std::uint8_t code) noexcept {
  sense_key_ = key;
  sense_code_ = code;
  now_.count = kIsCommand | kToHost;
  end(kReady | kErr, static_cast<std::uint8_t>(key << 4 | kAbort));
}

void AtapiCd::failed(const Error&) noexcept { sense(kMediumError, kReadError); }

void AtapiCd::identify() noexcept {
  const auto to = buffer().first(kSector);
  std::ranges::fill(to, std::byte{0});
  const auto word = [&](std::size_t i, unsigned value) {
    put(to, 2 * i, {value & 0xff, value >> 8});
  };
  word(0, 0x85c0);  // ATAPI, CD, removable, answers in 50 us, 12-byte packets
  put_words(to, 10, "0", 10);
  put_words(to, 23, "1.0", 4);
  put_words(to, 27, "OpenVHD CD", 20);
  word(49, 0x0f00);
  word(53, 0x0003);
  word(63, 0x0407);
  word(64, 0x0003);
  for (const std::size_t i : {65U, 66U, 67U, 68U}) word(i, 120);
  word(80, 0x00f0);
  word(82, 0x4210);  // NOP, DEVICE RESET, PACKET
  word(83, 0x4000);
  word(84, 0x4000);
  word(85, 0x4210);
  word(87, 0x4000);
  identifying_ = true;
  reply(kSector, kSector, false);
}

void AtapiCd::execute(std::uint8_t code) noexcept {
  identifying_ = false;
  switch (code) {
    case 0xa0:
      dma_ = (now_.feature & 1) != 0;
      limit_ = static_cast<std::size_t>(now_.high) << 8 | now_.mid;
      // An odd limit is one less, and none at all is the most (ATA/ATAPI-7, 6.24).
      limit_ = limit_ == 0 || limit_ == 0xffff ? 0xfffe : std::max<std::size_t>(limit_ & ~1U, 2);
      now_.count = kIsCommand;
      return want_packet();
    case 0xa1:
      return identify();
    case 0x08:
      return reset();
    case 0xec:
      signature();
      return end(kReady | kErr, kAbort);
    case 0x90:
      signature();
      return end(kReady | kSeek, 1);
    case 0xef:
    case 0xe0:
    case 0xe1:
    case 0xe3:
      return end(kReady | kSeek, 0);
    case 0xe5:
      now_.count = 0xff;
      return end(kReady | kSeek, 0);
    default:
      return end(kReady | kErr, kAbort);
  }
}

void AtapiCd::answer(std::size_t bytes, std::size_t allocated) noexcept {
  reply(std::min(bytes, allocated), limit_, dma_);
}

void AtapiCd::read(std::uint32_t sector, std::uint32_t count) noexcept {
  if (!range_fits(sector, count, sectors_)) return sense(kIllegalRequest, kOutOfRange);
  transfer({.to_memory = true,
            .dma = dma_,
            .at = {std::uint64_t{sector} * kCdSector},
            .bytes = std::uint64_t{count} * kCdSector,
            .load = kBufferBytes,
            .piece = limit_});
}

void AtapiCd::inquiry() noexcept {
  const auto to = buffer().first(36);
  std::ranges::fill(to, std::byte{' '});
  put(to, 0, {0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0});
  std::memcpy(&to[8], "OpenVHD", 7);
  std::memcpy(&to[16], "CD", 2);
  std::memcpy(&to[32], "1.0", 3);
  answer(36, packet_[4]);
}

void AtapiCd::request_sense() noexcept {
  const auto to = buffer().first(18);
  std::ranges::fill(to, std::byte{0});
  put(to, 0, {0x70, 0, sense_key_, 0, 0, 0, 0, 10, 0, 0, 0, 0, sense_code_});
  answer(18, packet_[4]);
}

// One session with one data track.
void AtapiCd::read_toc() noexcept {
  const bool msf = (packet_[1] & 2) != 0;
  const unsigned format = packet_[2] & 0x0f;
  const std::size_t allocated = static_cast<std::size_t>(packet_[7]) << 8 | packet_[8];
  if (format > 1) return sense(kIllegalRequest, kInvalidField);
  const auto to = buffer().first(20);
  std::ranges::fill(to, std::byte{0});
  const auto address = [&](std::size_t at, std::uint32_t sector) {
    const auto frame = sector + 150;  // two seconds before the first sector
    if (msf)
      put(to, at, {0, frame / 75 / 60 & 0xff, frame / 75 % 60, frame % 75});
    else
      put32(to, at, sector);
  };
  put(to, 0, {0, format == 0 ? 18U : 10U, 1, 1, 0, 0x14, 1, 0});
  address(8, 0);
  if (format == 0) {
    put(to, 12, {0, 0x16, 0xaa, 0});
    address(16, sectors_);
  }
  answer(format == 0 ? 20 : 12, allocated);
}

// Page 2Ah, capabilities: all that Linux and firmware ask for.
void AtapiCd::mode_sense() noexcept {
  const unsigned page = packet_[2] & 0x3f;
  if (page != 0x2a && page != 0x3f) return sense(kIllegalRequest, kInvalidField);
  const auto to = buffer().first(30);
  std::ranges::fill(to, std::byte{0});
  put(to, 0, {0, 28, 0x01});
  put(to, 8, {0x2a, 20, 0x03, 0, 0x70, 0, 0x29, 0, 0x02, 0xc0, 0, 2, 0x02, 0, 0x02, 0xc0});
  answer(30, static_cast<std::size_t>(packet_[7]) << 8 | packet_[8]);
}

void AtapiCd::packet_arrived() noexcept {
  for (std::size_t i = 0; i < packet_.size(); ++i)
    packet_[i] = std::to_integer<std::uint8_t>(buffer()[i]);
  const auto be16 = [&](std::size_t at) {
    return static_cast<std::uint32_t>(packet_[at]) << 8 | packet_[at + 1];
  };
  const auto be32 = [&](std::size_t at) { return be16(at) << 16 | be16(at + 2); };
  const auto to = buffer();
  switch (packet_[0]) {
    case 0x00:  // TEST UNIT READY
    case 0x1b:  // START STOP UNIT
    case 0x1e:  // PREVENT ALLOW MEDIUM REMOVAL
    case 0xbb:  // SET CD SPEED
      return completed();
    case 0x03:
      return request_sense();
    case 0x12:
      return inquiry();
    case 0x25:  // READ CAPACITY
      put32(to, 0, sectors_ == 0 ? 0 : sectors_ - 1);
      put32(to, 4, kCdSector);
      return answer(8, 8);
    case 0x28:
      return read(be32(2), be16(7));
    case 0xa8:
      return read(be32(2), be32(6));
    case 0x43:
      return read_toc();
    case 0x46:  // GET CONFIGURATION: the header, profile CD-ROM
      put(to, 0, {0, 0, 0, 4, 0, 0, 0, 8});
      return answer(8, be16(7));
    case 0x4a:  // GET EVENT STATUS NOTIFICATION, polled: the medium is there, nothing new
      if ((packet_[1] & 1) == 0) return sense(kIllegalRequest, kInvalidField);
      put(to, 0, {0, 6, 0x04, 0x10, 0, 0x02, 0, 0});
      return answer(8, be16(7));
    case 0x51:  // READ DISC INFORMATION: complete, one session, one track
      std::ranges::fill(to.first(34), std::byte{0});
      put(to, 0, {0, 32, 0x0e, 1, 1, 1, 1, 0x20});
      return answer(34, be16(7));
    case 0x5a:
      return mode_sense();
    default:
      return sense(kIllegalRequest, kInvalidCommand);
  }
}

}  // namespace openvhd::vmm
