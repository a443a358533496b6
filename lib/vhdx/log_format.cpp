#include "vhdx/log_format.hpp"

#include <algorithm>
#include <cstring>

#include "base/crc32c.hpp"
#include "base/try.hpp"

namespace openvhd::vhdx {
namespace {

Error broken(FileOffset at, const char* what) noexcept {
  return {.code = Errc::corrupt, .where = at, .what = what};
}

void encode_data_sector(std::span<std::byte> out, const std::byte* bytes,
                        std::uint64_t sequence) noexcept {
  DataSector sector;
  sector.signature = kDataSectorSignature;
  sector.sequence_high = static_cast<std::uint32_t>(sequence >> 32);
  std::memcpy(sector.data.data(), bytes + 8, sector.data.size());
  sector.sequence_low = static_cast<std::uint32_t>(sequence & 0xffffffff);
  store(out, sector);
}

DataDescriptor data_descriptor(const LogWrite& write, std::uint64_t sequence) noexcept {
  DataDescriptor out;
  out.signature = kDataDescriptorSignature;
  std::memcpy(out.leading_bytes.data(), write.bytes, out.leading_bytes.size());
  std::memcpy(out.trailing_bytes.data(), write.bytes + kLogSectorBytes - out.trailing_bytes.size(),
              out.trailing_bytes.size());
  out.file_offset = write.at.value;
  out.sequence_number = sequence;
  return out;
}

ZeroDescriptor zero_descriptor(const LogZero& zero, std::uint64_t sequence) noexcept {
  ZeroDescriptor out;
  out.signature = kZeroSignature;
  out.zero_length = zero.length;
  out.file_offset = zero.at.value;
  out.sequence_number = sequence;
  return out;
}

}  // namespace

void build_log_entry(const LogEntrySpec& spec, std::span<std::byte> out) noexcept {
  const std::size_t descriptors = spec.writes.size() + spec.zeros.size();
  const std::uint64_t head_bytes = descriptor_sectors(descriptors) * kLogSectorBytes;
  std::ranges::fill(out.first(head_bytes), std::byte{0});

  LogEntryHeader header;
  header.signature = kLogEntrySignature;
  header.entry_length = narrow<std::uint32_t>(out.size());
  header.tail = spec.tail;
  header.sequence_number = spec.sequence;
  header.descriptor_count = narrow<std::uint32_t>(descriptors);
  header.log_guid = spec.log_guid;
  header.flushed_file_offset = spec.flushed_file_bytes;
  header.last_file_offset = spec.last_file_bytes;
  store(out, header);

  // 126 descriptors behind a header of the size of two: descriptor i is at (i + 2) * 32.
  std::size_t at = sizeof(LogEntryHeader);
  auto data = out.subspan(head_bytes);
  for (const LogWrite& write : spec.writes) {
    store(out.subspan(at), data_descriptor(write, spec.sequence));
    at += kDescriptorBytes;
    encode_data_sector(data, write.bytes, spec.sequence);
    data = data.subspan(kLogSectorBytes);
  }
  for (const LogZero& zero : spec.zeros) {
    store(out.subspan(at), zero_descriptor(zero, spec.sequence));
    at += kDescriptorBytes;
  }
  header.checksum = crc32c(out);
  store(out, header);
}

Status check_entry_header(const LogEntryHeader& header, std::uint64_t log_bytes,
                          FileOffset at) noexcept {
  const std::uint64_t length = header.entry_length;
  if (header.signature != kLogEntrySignature) {
    return broken(at, "log entry: signature (2.3.1.1, L02)");
  }
  if (length == 0 || !is_multiple(length, kLogSectorBytes)) {
    return broken(at, "log entry: length is not a multiple of 4 KiB (2.3.1.1, L02)");
  }
  if (length > log_bytes) return broken(at, "log entry: longer than the log (2.3.1.1, L02)");
  if (!is_multiple(header.tail, kLogSectorBytes) || header.tail >= log_bytes) {
    return broken(at, "log entry: tail is not a sector of the log (2.3.1.1, L02)");
  }
  if (header.sequence_number == 0) return broken(at, "log entry: sequence number 0 (2.3.1.1, L02)");
  if (descriptor_sectors(header.descriptor_count) * kLogSectorBytes > length) {
    return broken(at, "log entry: descriptors do not fit (2.3.1.1, L04)");
  }
  return Ok{};
}

Result<LogDescriptor> parse_descriptor(std::span<const std::byte> from, std::uint64_t sequence,
                                       FileOffset at) noexcept {
  LogDescriptor out;
  std::uint64_t stamp = 0;
  const auto data = load<DataDescriptor>(from);
  if (data.signature == kDataDescriptorSignature) {
    out.is_data = true;
    out.at = {data.file_offset};
    out.length = kLogSectorBytes;
    out.leading = data.leading_bytes;
    out.trailing = data.trailing_bytes;
    stamp = data.sequence_number;
  } else if (data.signature == kZeroSignature) {
    const auto zero = load<ZeroDescriptor>(from);
    out.at = {zero.file_offset};
    out.length = zero.zero_length;
    stamp = zero.sequence_number;
  } else {
    return broken(at, "log descriptor: signature (2.3.1.2, 2.3.1.3, L04)");
  }
  if (stamp != sequence) return broken(at, "log descriptor: sequence number (2.3.1, L04)");
  if (!is_multiple(out.at.value, kLogSectorBytes) || !is_multiple(out.length, kLogSectorBytes)) {
    return broken(at, "log descriptor: target is not a multiple of 4 KiB (2.3.1.2, L05)");
  }
  if (!checked_add(out.at.value, out.length)) {
    return broken(at, "log descriptor: target overflows (2.3.1.2, L05)");
  }
  return out;
}

Status check_data_sector(std::span<const std::byte> sector, std::uint64_t sequence,
                         FileOffset at) noexcept {
  const auto data = load<DataSector>(sector);
  if (data.signature != kDataSectorSignature) {
    return broken(at, "log data sector: signature (2.3.1.4, L04)");
  }
  const std::uint64_t stamp = std::uint64_t{data.sequence_high} << 32 | data.sequence_low;
  if (stamp != sequence) return broken(at, "log data sector: sequence number (2.3.1.4, L04)");
  return Ok{};
}

void restore_sector(const LogDescriptor& descriptor, std::span<const std::byte> data_sector,
                    std::span<std::byte> out) noexcept {
  const auto data = load<DataSector>(data_sector);
  std::memcpy(out.data(), descriptor.leading.data(), descriptor.leading.size());
  std::memcpy(out.data() + 8, data.data.data(), data.data.size());
  std::memcpy(out.data() + 4092, descriptor.trailing.data(), descriptor.trailing.size());
}

}  // namespace openvhd::vhdx
