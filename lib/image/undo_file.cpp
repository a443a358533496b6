#include "image/undo_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

#include "base/checked.hpp"
#include "base/crc32c.hpp"
#include "base/stored.hpp"
#include "base/try.hpp"

namespace openvhd {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kRecord = 2 * kPage;  // a page for the description, a page of bytes
constexpr Le64 kSignature{std::uint64_t{0x6f646e7564687667}};
constexpr std::uint32_t kVersion = 1;

struct UndoHeader {
  Le64 signature;
  Le32 version;
  Le32 page_bytes;
  Le64 target_size;
  Le32 checksum;  // CRC-32C of the fields before
};
static_assert(OnDisk<UndoHeader, 28>);

struct UndoRecord {
  Le64 offset;
  Le32 length;
  Le32 checksum;  // CRC-32C of offset, length and the bytes
};
static_assert(OnDisk<UndoRecord, 16>);

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span{&value, 1});
}

std::uint32_t header_checksum(const UndoHeader& header) {
  return crc32c(bytes_of(header).first(offsetof(UndoHeader, checksum)));
}

std::uint32_t record_checksum(const UndoRecord& record, std::span<const std::byte> bytes) {
  return crc32c(bytes, crc32c(bytes_of(record).first(offsetof(UndoRecord, checksum))));
}

FileOffset record_at(std::uint64_t index) { return {kPage + index * kRecord}; }

bool changes_bytes(IoCommand::Kind kind) {
  return kind == IoCommand::Kind::write || kind == IoCommand::Kind::zero ||
         kind == IoCommand::Kind::punch;
}

/// Returns false at the first record that is torn or missing: what follows was never needed,
/// since a page is changed only after its record is durable.
Result<bool> put_back_record(File& target, File& undo, std::uint64_t index,
                             std::uint64_t target_size) {
  std::array<std::byte, kRecord> both{};
  OVHD_TRY(const std::size_t got, undo.read_some(record_at(index), both));
  if (got != both.size()) return false;
  const auto record = load<UndoRecord>(both);
  if (record.length > kPage || !range_fits(record.offset, record.length, target_size)) return false;
  const auto bytes = std::span{both}.subspan(kPage, record.length);
  if (record.checksum != record_checksum(record, bytes)) return false;
  OVHD_CHECK(target.write_all({record.offset}, bytes));
  return true;
}

}  // namespace

Result<std::unique_ptr<UndoFile>> UndoFile::make(File& target, std::unique_ptr<File> undo) {
  OVHD_TRY(const std::uint64_t size, target.size());
  UndoHeader header{.signature = kSignature,
                    .version = Le32{kVersion},
                    .page_bytes = Le32{std::uint32_t{kPage}},
                    .target_size = Le64{size},
                    .checksum = {}};
  header.checksum = header_checksum(header);
  std::array<std::byte, kPage> block{};
  store(std::span{block}, header);
  OVHD_CHECK(undo->write_all({0}, block));
  OVHD_CHECK(undo->sync());
  return std::unique_ptr<UndoFile>{new UndoFile{target, std::move(undo), size}};
}

Status UndoFile::put_back(File& target, File& undo) {
  std::array<std::byte, kPage> block{};
  OVHD_CHECK(undo.read_exact({0}, block, "undo file shorter than its header"));
  const auto header = load<UndoHeader>(block);
  if (header.signature != kSignature || header.version != kVersion || header.page_bytes != kPage ||
      header.checksum != header_checksum(header)) {
    return Error{.code = Errc::corrupt, .what = "undo file header"};
  }
  OVHD_CHECK(target.set_size(header.target_size));
  for (std::uint64_t index = 0;; ++index) {
    OVHD_TRY(const bool more, put_back_record(target, undo, index, header.target_size));
    if (!more) break;
  }
  return target.sync();
}

std::int32_t UndoFile::execute(const IoCommand& command) noexcept {
  Status saved{Ok{}};
  if (changes_bytes(command.kind)) {
    saved = save(command.at, command.length);
  } else if (command.kind == IoCommand::Kind::set_size && command.at.value < size_before_) {
    saved = save(command.at, size_before_ - command.at.value);
  }
  if (!saved) return saved.error().sys_errno != 0 ? -saved.error().sys_errno : -EIO;
  return target_.execute(command);
}

Status UndoFile::save(FileOffset at, std::uint64_t length) noexcept {
  if (at.value >= size_before_ || length == 0) return Ok{};
  const std::uint64_t end = at.value + std::min(length, size_before_ - at.value);
  const std::uint64_t before = records_;
  for (std::uint64_t page = at.value / kPage; page * kPage < end; ++page) {
    OVHD_CHECK(save_page(page));
  }
  if (records_ == before) return Ok{};
  return undo_->sync();
}

Status UndoFile::save_page(std::uint64_t page) noexcept {
  const auto where = std::ranges::lower_bound(saved_, page);
  if (where != saved_.end() && *where == page) return Ok{};
  std::array<std::byte, kRecord> both{};
  const std::uint64_t offset = page * kPage;
  const std::uint64_t length = std::min(kPage, size_before_ - offset);
  const auto bytes = std::span{both}.subspan(kPage, length);
  OVHD_CHECK(target_.read_exact({offset}, bytes, "page to be saved for undo"));
  UndoRecord record{
      .offset = Le64{offset}, .length = Le32{static_cast<std::uint32_t>(length)}, .checksum = {}};
  record.checksum = record_checksum(record, bytes);
  store(std::span{both}, record);
  OVHD_CHECK(undo_->write_all(record_at(records_), both));
  ++records_;
  saved_.insert(where, page);
  return Ok{};
}

}  // namespace openvhd
