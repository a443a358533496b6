#include "scsi_unit.hpp"

#include <algorithm>
#include <cstring>

namespace openvhd::scsi {
namespace {

constexpr std::uint8_t kTestUnitReady = 0x00, kRequestSense = 0x03, kInquiry = 0x12,
                       kMaintenanceIn = 0xa3, kReportOpcodes = 0x0c;

struct Common {
  std::uint8_t opcode, cdb_bytes;
  std::int16_t action;
};
// What execute() serves itself, and REPORT LUNS, which the target does.
constexpr std::array kCommon = {
    Common{kTestUnitReady, 6, -1},
    Common{kRequestSense, 6, -1},
    Common{kInquiry, 6, -1},
    Common{0xa0, 12, -1},
    Common{kMaintenanceIn, 12, kReportOpcodes},
};

std::array<std::uint8_t, ScsiRequest::kSenseBytes> fixed_sense(Sense sense) noexcept {
  std::array<std::uint8_t, ScsiRequest::kSenseBytes> bytes{};
  bytes[0] = 0x70;
  bytes[2] = sense.key;
  bytes[7] = ScsiRequest::kSenseBytes - 8;
  bytes[12] = sense.code;
  bytes[13] = sense.qualifier;
  return bytes;
}

std::uint64_t total(std::span<const iovec> list) noexcept {
  std::uint64_t bytes = 0;
  for (const auto& piece : list) bytes += piece.iov_len;
  return bytes;
}

// Cuts a list off behind `bytes`, which it holds.
std::span<iovec> first_of(std::span<iovec> list, std::uint64_t bytes) noexcept {
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (bytes <= list[i].iov_len) {
      list[i].iov_len = bytes;
      return list.first(i + 1);
    }
    bytes -= list[i].iov_len;
  }
  return list;
}

void put_text(std::span<std::uint8_t> to, std::string_view text) noexcept {
  for (std::size_t i = 0; i < to.size(); ++i)
    to[i] = i < text.size() ? static_cast<std::uint8_t>(text[i]) : ' ';
}

void append(std::vector<std::uint8_t>& to, std::string_view text) {
  for (const char c : text) to.push_back(static_cast<std::uint8_t>(c));
}

}  // namespace

void put_big_endian(std::span<std::uint8_t> to, std::size_t at, std::uint64_t value,
                    std::size_t width) noexcept {
  for (std::size_t i = 0; i < width; ++i)
    to[at + i] = static_cast<std::uint8_t>(value >> (8 * (width - 1 - i)));
}

Sense sense_of(const Error& error, bool writing) noexcept {
  switch (error.code) {
    case Errc::no_space:
      return kNoSpace;
    case Errc::read_only:
      return kWriteProtected;
    case Errc::poisoned:
      return kTargetFailure;
    case Errc::fenced:
      return kNotReady;
    case Errc::out_of_range:
      return kOutOfRange;
    case Errc::cancelled:
      return kAborted;
    default:
      return writing ? kWriteError : kReadError;
  }
}

void ScsiUnit::end(ScsiRequest& request) noexcept {
  request.status = ScsiStatus::good;
  request.done(request);
}

void ScsiUnit::fail(ScsiRequest& request, Sense sense) noexcept {
  if (request.descriptor_sense_) {
    request.sense = {0x72, sense.key, sense.code, sense.qualifier};
    request.sense_bytes = 8;
  } else {
    request.sense = fixed_sense(sense);
    request.sense_bytes = ScsiRequest::kSenseBytes;
  }
  request.moved = 0;
  request.status = ScsiStatus::check_condition;
  request.done(request);
}

void ScsiUnit::overrun(ScsiRequest& request) noexcept {
  request.overrun = true;
  request.moved = 0;
  request.done(request);
}

void ScsiUnit::reply(ScsiRequest& request, std::span<const std::uint8_t> bytes,
                     std::uint64_t allocated) noexcept {
  bytes = bytes.first(std::min<std::uint64_t>(bytes.size(), allocated));
  for (const auto& piece : request.in) {
    if (bytes.empty()) break;
    const auto some = std::min(bytes.size(), piece.iov_len);
    if (some > 0) std::memcpy(piece.iov_base, bytes.data(), some);
    bytes = bytes.subspan(some);
    request.moved += some;
  }
  end(request);
}

bool ScsiUnit::take(ScsiRequest& request, std::span<std::byte> bytes) noexcept {
  for (const auto& piece : request.out) {
    if (bytes.empty()) break;
    const auto some = std::min(bytes.size(), piece.iov_len);
    if (some > 0) std::memcpy(bytes.data(), piece.iov_base, some);
    bytes = bytes.subspan(some);
    request.moved += some;
  }
  return bytes.empty();
}

void ScsiUnit::arrived(IoRequest& io, Status status) noexcept {
  auto& request = static_cast<ScsiRequest&>(io);
  if (!status && status.error().code == Errc::busy) {
    request.moved = 0;
    request.status = ScsiStatus::task_set_full;
    return request.done(request);
  }
  if (!status) return fail(request, sense_of(status.error(), request.writing_));
  if (request.next_ != nullptr) return request.next_(request);
  end(request);
}

void ScsiUnit::start(ScsiRequest& request, ScsiBackend::Kind kind,
                     ScsiRequest::Step next) noexcept {
  request.next_ = next;
  request.writing_ = kind != ScsiBackend::Kind::read;
  IoRequest& io = request;
  io.done = arrived;
  const auto status = request.backend_->start(kind, io);
  if (!status) arrived(io, status);
}

void ScsiUnit::move(ScsiRequest& request, const Transfer& transfer) noexcept {
  if (transfer.bytes == 0) return end(request);
  if (transfer.bytes > kMostTransfer) return fail(request, kInvalidField);
  const auto list = transfer.writing ? request.out : request.in;
  if (total(list) < transfer.bytes) return overrun(request);
  IoRequest& io = request;
  io.at = {transfer.at};
  io.buffers = first_of(list, transfer.bytes);
  io.durable = transfer.durable;
  request.moved = transfer.bytes;
  start(request, transfer.writing ? ScsiBackend::Kind::write : ScsiBackend::Kind::read, nullptr);
}

void ScsiUnit::raise_attention(Sense sense) noexcept {
  attention_ = static_cast<std::uint32_t>(sense.key) << 16 |
               static_cast<std::uint32_t>(sense.code) << 8 | sense.qualifier;
}

Sense ScsiUnit::take_attention() noexcept {
  if (attention_.load(std::memory_order_relaxed) == 0) return kNoSense;
  const auto packed = attention_.exchange(0);
  return {static_cast<std::uint8_t>(packed >> 16), static_cast<std::uint8_t>(packed >> 8),
          static_cast<std::uint8_t>(packed)};
}

void ScsiUnit::request_sense(ScsiRequest& request) noexcept {
  const auto sense = take_attention();
  if ((request.cdb[1] & 1) == 0) return reply(request, fixed_sense(sense), request.cdb[4]);
  const std::array<std::uint8_t, 8> descriptor = {0x72, sense.key, sense.code, sense.qualifier};
  reply(request, descriptor, request.cdb[4]);
}

void ScsiUnit::execute(ScsiRequest& request) noexcept {
  request.descriptor_sense_ = descriptor_sense_;
  const auto opcode = request.cdb[0];
  if (opcode == kInquiry) {
    if ((request.cdb[1] & 1) == 0) {
      if (request.cdb[2] != 0) return fail(request, kInvalidField);
      return inquiry(request);
    }
    const auto page = product_data(request.cdb[2]);
    if (page.empty()) return fail(request, kInvalidField);
    return reply(request, page, big_endian(request, 3, 2));
  }
  if (opcode == kRequestSense) return request_sense(request);
  if (const auto sense = take_attention(); sense != kNoSense) return fail(request, sense);
  if (opcode == kTestUnitReady) return end(request);
  if (opcode == kMaintenanceIn && (request.cdb[1] & 0x1f) == kReportOpcodes)
    return report_opcodes(request);
  if (serve(request) == Served::unknown) fail(request, kInvalidCommand);
}

void ScsiUnit::standard_inquiry(ScsiRequest& request, std::uint8_t device_type,
                                bool removable) noexcept {
  std::array<std::uint8_t, 36> bytes{};
  bytes[0] = device_type;
  bytes[1] = removable ? 0x80 : 0;
  bytes[2] = 5;  // SPC-3: what Hyper-V's disks claim, and Linux trusts their pages for
  bytes[3] = 2;
  bytes[4] = bytes.size() - 5;
  bytes[7] = 0x02;  // commands queue
  put_text(std::span{bytes}.subspan(8, 8), identity_.vendor);
  put_text(std::span{bytes}.subspan(16, 16), identity_.product);
  put_text(std::span{bytes}.subspan(32, 4), "1.0");
  reply(request, bytes, big_endian(request, 3, 2));
}

std::vector<std::uint8_t> ScsiUnit::serial_page() const {
  std::vector<std::uint8_t> page = {0, 0x80, 0, static_cast<std::uint8_t>(identity_.serial.size())};
  append(page, identity_.serial);
  return page;
}

// NAA 6 (16 bytes), and the vendor's text with the serial number.
std::vector<std::uint8_t> ScsiUnit::identification_page(std::uint8_t device_type) const {
  std::vector<std::uint8_t> page(8 + 16 + 4 + 8);
  const std::span<std::uint8_t> bytes{page};
  put_big_endian(bytes, 0, std::uint32_t{device_type} << 24 | 0x83'0000, 4);
  put_big_endian(bytes, 4, 0x0103'0010, 4);
  std::ranges::copy(identity_.naa, page.begin() + 8);
  put_big_endian(bytes, 24, 0x0201'0000 + 8 + identity_.serial.size(), 4);
  put_text(bytes.subspan(28, 8), identity_.vendor);
  append(page, identity_.serial);
  put_big_endian(page, 2, page.size() - 4, 2);
  return page;
}

void ScsiUnit::report_opcodes(ScsiRequest& request) noexcept {
  const auto options = request.cdb[2] & 7U;
  const auto opcode = request.cdb[3];
  const auto action = static_cast<std::int32_t>(big_endian(request, 4, 2));
  const auto allocated = big_endian(request, 6, 4);
  std::vector<Common> all{kCommon.begin(), kCommon.end()};
  for (const auto& one : known()) all.push_back({one.opcode, one.cdb_bytes, one.action});
  std::vector<std::uint8_t> bytes(4);
  if (options == 0) {
    for (const auto& one : all) {
      const std::size_t at = bytes.size();
      bytes.resize(at + 8);
      bytes[at] = one.opcode;
      if (one.action >= 0) put_big_endian(bytes, at + 2, static_cast<std::uint16_t>(one.action), 2);
      bytes[at + 5] = one.action >= 0 ? 1 : 0;  // SERVACTV
      put_big_endian(bytes, at + 6, one.cdb_bytes, 2);
    }
    put_big_endian(bytes, 0, bytes.size() - 4, 4);
    return reply(request, bytes, allocated);
  }
  if (options > 3) return fail(request, kInvalidField);
  const auto same = [&](const Common& one) { return one.opcode == opcode; };
  const auto first = std::ranges::find_if(all, same);
  const bool has_actions = first != all.end() && first->action >= 0;
  // 6.31.3: option 1 is for commands without service actions, option 2 for those with.
  if (first != all.end() && ((options == 1 && has_actions) || (options == 2 && !has_actions)))
    return fail(request, kInvalidField);
  const auto found = std::ranges::find_if(all, [&](const Common& one) {
    return same(one) && (one.action < 0 || one.action == action);
  });
  bytes[1] = found == all.end() ? 1 : 3;  // not supported, or as the standard says
  if (found != all.end()) {
    put_big_endian(bytes, 2, found->cdb_bytes, 2);
    bytes.push_back(opcode);
    // Every bit of every field but the control byte is looked at.
    bytes.resize(bytes.size() + found->cdb_bytes - 2U, 0xff);
    bytes.push_back(0);
  }
  reply(request, bytes, allocated);
}

}  // namespace openvhd::scsi
