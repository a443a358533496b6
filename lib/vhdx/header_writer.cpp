#include "vhdx/header_writer.hpp"

#include <limits>

#include "base/crc32c.hpp"
#include "base/try.hpp"

namespace openvhd::vhdx {

std::array<std::byte, kHeaderBlockBytes> encode_header(Header header) noexcept {
  std::array<std::byte, kHeaderBlockBytes> block{};
  header.checksum = 0;
  store(std::span<std::byte>{block}, header);
  header.checksum = crc32c(block);
  store(std::span<std::byte>{block}, header);
  return block;
}

Status require_header_updates(const Header& current, unsigned current_copy) noexcept {
  constexpr std::uint64_t kLast = std::numeric_limits<std::uint64_t>::max();
  if (kLast - current.sequence_number >= kHeaderUpdatesOfSession) return Ok{};
  return Error{.code = Errc::corrupt,
               .where = kHeaderAt[current_copy],
               .what = "header: no sequence numbers left to write the image with (2.2.2, X04)"};
}

Result<HeaderUpdate> next_header(const Header& current, unsigned current_copy,
                                 const HeaderChange& change) noexcept {
  const std::uint64_t sequence = current.sequence_number;
  if (sequence == std::numeric_limits<std::uint64_t>::max()) {
    return Error{.code = Errc::corrupt,
                 .where = kHeaderAt[current_copy],
                 .what = "header: the sequence number cannot be raised (2.2.2, X04)"};
  }
  HeaderUpdate out;
  out.copy = 1 - current_copy;
  out.at = kHeaderAt[out.copy];
  out.header = current;
  out.header.signature = kHeaderSignature;
  out.header.sequence_number = sequence + 1;
  out.header.version = kVersion;
  out.header.log_version = kLogVersion;
  if (change.file_write_guid) out.header.file_write_guid = *change.file_write_guid;
  if (change.data_write_guid) out.header.data_write_guid = *change.data_write_guid;
  if (change.log_guid) out.header.log_guid = *change.log_guid;
  out.bytes = encode_header(out.header);
  out.header = load<Header>(out.bytes);
  return out;
}

Status update_header(File& file, Header& current, unsigned& copy,
                     const HeaderChange& change) noexcept {
  OVHD_TRY(const HeaderUpdate update, next_header(current, copy, change));
  OVHD_CHECK(file.write_all(update.at, update.bytes));
  OVHD_CHECK(file.sync());
  current = update.header;
  copy = update.copy;
  return Ok{};
}

Status update_both_headers(File& file, Header& current, unsigned& copy,
                           const HeaderChange& change) noexcept {
  OVHD_CHECK(update_header(file, current, copy, change));
  return update_header(file, current, copy, {});
}

}  // namespace openvhd::vhdx
