#include "image/undo_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <optional>

#include "base/checked.hpp"
#include "base/crc32c.hpp"
#include "base/stored.hpp"
#include "base/try.hpp"

namespace openvhd {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kRecord = 2 * kPage;  // a page for the description, a page of bytes
constexpr Le64 kSignature{std::uint64_t{0x6f646e7564687667}};
constexpr Le64 kSealSignature{std::uint64_t{0x6c6165736f646e75}};
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

struct UndoSeal {
  Le64 signature;
  Le64 records;
  Le64 target_size;
  Le32 pages_checksum;  // CRC-32C of the saved pages, in the order of the records, as they are now
  Le32 checksum;        // CRC-32C of the fields before
};
static_assert(OnDisk<UndoSeal, 32>);

std::uint32_t seal_checksum(const UndoSeal& seal) {
  return crc32c(bytes_of(seal).first(offsetof(UndoSeal, checksum)));
}

/// A page as it was.
struct SavedPage {
  FileOffset at{};
  std::size_t length = 0;
  std::array<std::byte, kPage> bytes{};
};

/// Empty at the first record that is torn or missing: what follows was never needed, since a page
/// is changed only after its record is durable.
Result<std::optional<SavedPage>> read_record(File& undo, std::uint64_t index,
                                             std::uint64_t size_before) {
  std::array<std::byte, kRecord> both{};
  OVHD_TRY(const std::size_t got, undo.read_some(record_at(index), both));
  if (got != both.size()) return std::optional<SavedPage>{};
  const auto record = load<UndoRecord>(both);
  if (record.length > kPage || !range_fits(record.offset, record.length, size_before)) {
    return std::optional<SavedPage>{};
  }
  const auto bytes = std::span{both}.subspan(kPage, record.length);
  if (record.checksum != record_checksum(record, bytes)) return std::optional<SavedPage>{};
  SavedPage page{.at = {record.offset}, .length = record.length};
  std::ranges::copy(bytes, page.bytes.begin());
  return std::optional{page};
}

/// Adds a page of the target, as it is now, to a checksum; what lies past its end counts as none.
Result<std::uint32_t> add_page(File& target, const FileOffset at, std::size_t length,
                               std::uint32_t checksum) {
  std::array<std::byte, kPage> now{};
  OVHD_TRY(const std::size_t got, target.read_some(at, std::span{now}.first(length)));
  return crc32c(std::span{now}.first(got), checksum);
}

Error changed_since() {
  return {.code = Errc::mismatch,
          .what = "the image was changed after the repair, which can no longer be undone"};
}

/// Whether the target is as the repair left it, when that was sealed.
Status check_seal(File& target, File& undo, std::uint64_t records, std::uint32_t pages_checksum) {
  std::array<std::byte, sizeof(UndoSeal)> bytes{};
  OVHD_TRY(const std::size_t got, undo.read_some(record_at(records), bytes));
  const auto seal = load<UndoSeal>(bytes);
  if (got != bytes.size() || seal.signature != kSealSignature ||
      seal.checksum != seal_checksum(seal)) {
    return Ok{};  // cut short: what there is goes back
  }
  OVHD_TRY(const std::uint64_t size, target.size());
  if (seal.records != records || seal.target_size != size) return changed_since();
  if (seal.pages_checksum != pages_checksum) return changed_since();
  return Ok{};
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
  std::uint64_t records = 0;
  std::uint32_t pages_checksum = 0;
  for (;; ++records) {
    OVHD_TRY(const auto page, read_record(undo, records, header.target_size));
    if (!page) break;
    OVHD_TRY(pages_checksum, add_page(target, page->at, page->length, pages_checksum));
  }
  OVHD_CHECK(check_seal(target, undo, records, pages_checksum));
  OVHD_CHECK(target.set_size(header.target_size));
  for (std::uint64_t index = 0; index < records; ++index) {
    OVHD_TRY(const auto page, read_record(undo, index, header.target_size));
    if (!page) return Error{.code = Errc::corrupt, .what = "undo file changed while it was read"};
    OVHD_CHECK(target.write_all(page->at, std::span{page->bytes}.first(page->length)));
  }
  return target.sync();
}

Status UndoFile::seal() noexcept {
  UndoSeal seal{.signature = kSealSignature,
                .records = Le64{records_},
                .target_size = {},
                .pages_checksum = {},
                .checksum = {}};
  std::uint32_t pages_checksum = 0;
  for (std::uint64_t index = 0; index < records_; ++index) {
    OVHD_TRY(const auto page, read_record(*undo_, index, size_before_));
    if (!page)
      return Error{.code = Errc::corrupt, .what = "undo file changed while it was written"};
    OVHD_TRY(pages_checksum, add_page(target_, page->at, page->length, pages_checksum));
  }
  OVHD_TRY(const std::uint64_t size, target_.size());
  seal.target_size = size;
  seal.pages_checksum = pages_checksum;
  seal.checksum = seal_checksum(seal);
  std::array<std::byte, kPage> block{};
  store(std::span{block}, seal);
  OVHD_CHECK(undo_->write_all(record_at(records_), block));
  return undo_->sync();
}

std::int32_t UndoFile::execute(const IoCommand& command) noexcept {
  Status saved{Ok{}};
  if (changes_bytes(command.kind)) {
    saved = save(command.at, command.length);
  } else if (command.kind == IoCommand::Kind::set_size && command.at.value < size_before_) {
    saved = save(command.at, size_before_ - command.at.value);
  }
  if (!saved) {
    failure_ = saved.error();
    return saved.error().sys_errno != 0 ? -saved.error().sys_errno : -EIO;
  }
  const bool looks_only =
      command.kind == IoCommand::Kind::read || command.kind == IoCommand::Kind::sync;
  changed_target_ = changed_target_ || !looks_only;
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
