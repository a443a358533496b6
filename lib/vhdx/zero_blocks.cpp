#include "vhdx/zero_blocks.hpp"

#include <algorithm>
#include <cstring>

#include "base/try.hpp"

namespace openvhd::vhdx {
namespace {

constexpr std::size_t kPieceBytes = kMiB;

bool all_zero(std::span<const std::byte> bytes) {
  if (bytes.empty() || bytes[0] != std::byte{0}) return bytes.empty();
  return std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

}  // namespace

ZeroScan::ZeroScan(File& file, const ParsedImage& image, const OwnedSpace& owned)
    : file_{file}, image_{image}, buffer_(kPieceBytes) {
  if (!image.has_parent) return;
  bitmaps_.resize(image.counts.bitmap_blocks);
  for (const OwnedBlock& block : owned.blocks) {
    if (!block.is_bitmap(image.counts.chunk_ratio)) continue;
    bitmaps_[chunk_of_index(block.index, image.counts.chunk_ratio)] = block.at;
  }
}

Result<bool> ZeroScan::is_zero(const OwnedBlock& block, std::uint64_t length) {
  FileOffset at = block.at;
  const FileOffset end = at + length;
  while (at < end) {
    OVHD_TRY(const FileRange run, file_.next_data(at, end));
    if (run.length == 0) break;
    const auto piece =
        std::span{buffer_}.first(std::min<std::uint64_t>({kPieceBytes, run.length, end - run.at}));
    OVHD_CHECK(file_.read_exact(run.at, piece, "block: the file ends inside it (2.5, X13)"));
    if (!all_zero(piece)) return false;
    at = run.at + piece.size();
  }
  return true;
}

Result<std::optional<BatEntry>> ZeroScan::partial(const OwnedBlock& block, std::uint64_t number,
                                                  std::uint64_t length) {
  const std::uint64_t sector = image_.geometry.logical_sector_size;
  const FileOffset bitmap = bitmaps_[chunk_of_block(number, image_.counts.chunk_ratio)];
  if (bitmap.value == 0) return std::optional<BatEntry>{};
  // A block is at least 1 MiB, so 256 sectors: bits begin on a byte.
  const BitmapPlace place = bitmap_place(number * image_.geometry.block_size / sector);
  const std::uint64_t sectors = length / sector;
  std::vector<std::byte> bits(div_ceil(sectors, 8));
  OVHD_CHECK(file_.read_exact(bitmap + place.bit / 8, bits,
                              "sector bitmap: the file ends inside it (X13)"));
  if (all_zero(bits)) {
    return std::optional{BatEntry::make(PayloadState::not_present, FileOffset{})};
  }
  for (std::uint64_t i = 0; i < sectors; ++i) {
    const auto byte = std::to_integer<unsigned>(bits[i / 8]);
    if ((byte >> i % 8 & 1) == 0) return std::optional<BatEntry>{};
  }
  OVHD_TRY(const bool zero, is_zero(block, length));
  if (!zero) return std::optional<BatEntry>{};
  return std::optional{BatEntry::make(PayloadState::zero, FileOffset{})};
}

Result<std::optional<BatEntry>> ZeroScan::without_space(const OwnedBlock& block) {
  const std::uint64_t number = block_of_index(block.index, image_.counts.chunk_ratio);
  const std::uint64_t start = number * image_.geometry.block_size;
  const std::uint64_t length =
      std::min(image_.geometry.block_size, image_.geometry.virtual_size - start);
  if (block.entry.payload_state() == PayloadState::partially_present) {
    return partial(block, number, length);
  }
  OVHD_TRY(const bool zero, is_zero(block, length));
  if (!zero) return std::optional<BatEntry>{};
  // NOT_PRESENT would let a parent show through.
  const auto state = image_.has_parent ? PayloadState::zero : PayloadState::not_present;
  return std::optional{BatEntry::make(state, FileOffset{})};
}

}  // namespace openvhd::vhdx
