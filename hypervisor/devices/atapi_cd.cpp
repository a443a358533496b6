#include "devices/atapi_cd.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "base/checked.hpp"

namespace openvhd::vmm {
namespace {

constexpr std::uint8_t kAbort = 0x04;
// Sector count register, as "interrupt reason": a command, or which way data goes.
constexpr std::uint8_t kIsCommand = 1, kToHost = 2;

std::array<std::uint8_t, 18> no_sense() noexcept { return {0x70, 0, 0, 0, 0, 0, 0, 10}; }

void put(std::span<std::byte> to, std::size_t at, std::initializer_list<unsigned> bytes) {
  for (const unsigned byte : bytes) to[at++] = static_cast<std::byte>(byte);
}

void put_words(std::span<std::byte> to, std::size_t word, std::string_view text,
               std::size_t words) {
  for (std::size_t i = 0; i < 2 * words; ++i)
    to[2 * word + (i ^ 1)] = static_cast<std::byte>(i < text.size() ? text[i] : ' ');
}

}  // namespace

AtapiCd::AtapiCd(Block& block) noexcept
    : IdeDrive{block},
      unit_{{.vendor = "OpenVHD", .product = "CD", .serial = block.shape().serial},
            block.shape().bytes},
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
  sense_ = no_sense();
  end(kReady | kSeek, 0);
}

void AtapiCd::sense(scsi::Sense why) noexcept {
  sense_ = no_sense();
  sense_[2] = why.key;
  sense_[12] = why.code;
  sense_[13] = why.qualifier;
  now_.count = kIsCommand | kToHost;
  end(kReady | kErr, static_cast<std::uint8_t>(why.key << 4 | kAbort));
}

void AtapiCd::failed(const Error& error) noexcept { sense(scsi::sense_of(error, false)); }

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
  if (!range_fits(sector, count, sectors_)) return sense(scsi::kOutOfRange);
  transfer({.to_memory = true,
            .dma = dma_,
            .at = {std::uint64_t{sector} * kCdSector},
            .bytes = std::uint64_t{count} * kCdSector,
            .load = kBufferBytes,
            .piece = limit_});
}

// What the last command that failed left behind.
void AtapiCd::request_sense() noexcept {
  std::ranges::transform(sense_, buffer().begin(), [](std::uint8_t b) { return std::byte{b}; });
  answer(sense_.size(), request_.cdb[4]);
}

// Data goes through buffer(): no answer but those of READ is longer.
void AtapiCd::ask_unit() noexcept {
  piece_ = {.iov_base = buffer().data(), .iov_len = buffer().size()};
  request_.in = {&piece_, 1};
  request_.out = {};
  request_.moved = 0;
  request_.status = scsi::ScsiStatus::good;
  request_.done = [](scsi::ScsiRequest&) noexcept {};
  unit_.execute(request_);  // it has ended: the unit has no disk of its own here
  if (request_.status == scsi::ScsiStatus::good)
    answer(request_.moved, request_.moved);
  else
    sense({request_.sense[2], request_.sense[12], request_.sense[13]});
}

void AtapiCd::packet_arrived() noexcept {
  request_.cdb = {};
  for (std::size_t i = 0; i < 12; ++i) request_.cdb[i] = std::to_integer<std::uint8_t>(buffer()[i]);
  const auto field = [&](std::size_t at, std::size_t width) {
    return static_cast<std::uint32_t>(scsi::big_endian(request_, at, width));
  };
  switch (request_.cdb[0]) {
    case 0x03:
      return request_sense();
    case 0x08:  // READ(6) is not for ATAPI
      return sense(scsi::kInvalidCommand);
    case 0x28:
      return read(field(2, 4), field(7, 2));
    case 0xa8:
      return read(field(2, 4), field(6, 4));
    default:
      return ask_unit();
  }
}

}  // namespace openvhd::vmm
