#include "vhd/sparse_layer.hpp"

#include <algorithm>

#include "base/try.hpp"

namespace openvhd::vhd {
namespace {

/// Of the memory: for the table, for bitmaps, and for what a flush copies of both, as no more than
/// half of each is ever dirty.
constexpr std::uint64_t kShares = 3;

}  // namespace

SparseLayer::SparseLayer(ParsedImage image, const LayerOpenOptions& options, Host& host)
    : image_{std::move(image)},
      writable_{options.writable},
      geometry_{.virtual_size = image_.virtual_size, .block_size = image_.block_size},
      table_{image_, options.table_cache_bytes / kShares, random_seed(host)},
      bitmaps_{image_, options.table_cache_bytes / kShares},
      tail_{image_} {
  full_bitmap_.resize(image_.bitmap_length);
  std::fill_n(full_bitmap_.begin(), image_.block_size / kSectorBytes / 8, std::byte{0xff});
}

SparseLayer::Spot SparseLayer::spot_of(VirtualOffset at, std::uint64_t length) const noexcept {
  const auto block = narrow<std::uint32_t>(at.value / image_.block_size);
  const auto sector = narrow<std::uint32_t>(at.value % image_.block_size / kSectorBytes);
  const std::uint64_t left = sectors_in(block) - sector;
  return {block, block % BatPage::kEntries, sector,
          narrow<std::uint32_t>(std::min(left, length / kSectorBytes))};
}

std::uint32_t SparseLayer::sectors_in(std::uint32_t block) const noexcept {
  const std::uint64_t begin = std::uint64_t{block} * image_.block_size;
  const std::uint64_t bytes =
      std::min<std::uint64_t>(image_.block_size, image_.virtual_size - begin);
  return narrow<std::uint32_t>(bytes / kSectorBytes);
}

FileOffset SparseLayer::data_at(std::uint32_t start, std::uint32_t sector) const noexcept {
  return {(std::uint64_t{start} + sector) * kSectorBytes + image_.bitmap_length};
}

Extent SparseLayer::data(std::uint32_t start, const Spot& spot,
                         std::uint32_t sectors) const noexcept {
  return {Extent::Kind::data, data_at(start, spot.sector), std::uint64_t{sectors} * kSectorBytes};
}

/// Blocks that are not there are answered together, as far as one page of the table reaches.
std::uint64_t SparseLayer::absent_from(const Spot& spot, std::uint64_t length) noexcept {
  const BatPage& page = table_.page_of(spot.block);
  std::uint64_t covered = image_.block_size - std::uint64_t{spot.sector} * kSectorBytes;
  for (std::uint32_t i = spot.index + 1; i < BatPage::kEntries && covered < length; ++i) {
    if (page.entries[i] != kUnused) break;
    covered += image_.block_size;
  }
  return std::min(covered, length);
}

/// When empty, the state of the block is full, or partial with its bitmap in memory.
Pending SparseLayer::look_at_bitmap(const Spot& spot) noexcept {
  BatPage& page = table_.page_of(spot.block);
  BlockState& state = page.states[spot.index];
  if (state == BlockState::full) return std::nullopt;
  if (auto blocked = bitmaps_.load(spot.block, page.entries[spot.index], active_.oldest()))
    return blocked;
  if (state == BlockState::unknown) {
    const SectorBits bits = bitmaps_.bits_of(*bitmaps_.find(spot.block));
    state = bits.all_set(sectors_in(spot.block)) ? BlockState::full : BlockState::partial;
  }
  return std::nullopt;
}

Step<Extent> SparseLayer::locate(VirtualOffset at, std::uint64_t length) noexcept {
  const Spot spot = spot_of(at, length);
  if (auto blocked = table_.load(spot.block)) return *blocked;
  const BatPage& page = table_.page_of(spot.block);
  const std::uint32_t start = page.entries[spot.index];
  if (start == kUnused) return Extent{Extent::Kind::absent, {}, absent_from(spot, length)};
  const BlockState& state = page.states[spot.index];
  if (state == BlockState::out_of_bounds || state == BlockState::shared)
    return table_.error_of(spot.block, state);
  if (auto blocked = look_at_bitmap(spot)) return *blocked;
  if (state == BlockState::full) return data(start, spot, spot.sectors);
  const SectorBits bits = bitmaps_.bits_of(*bitmaps_.find(spot.block));
  const std::uint32_t run = bits.run(spot.sector, spot.sectors);
  if (bits.test(spot.sector)) return data(start, spot, run);
  const auto kind = differencing() ? Extent::Kind::absent : Extent::Kind::zero;
  return Extent{kind, {}, std::uint64_t{run} * kSectorBytes};
}

void SparseLayer::complete(std::uint64_t token, std::int32_t result) noexcept {
  const auto index = static_cast<std::uint32_t>(token);
  switch (static_cast<TokenKind>(token >> 32)) {
    case TokenKind::table_page:
      table_.complete(index, result);
      break;
    case TokenKind::bitmap:
      bitmaps_.complete(index, result);
      break;
    case TokenKind::allocation:
      for (const auto& allocation : allocations_) {
        if (allocation->block == index) allocation->call.completed(result);
      }
      break;
    case TokenKind::tail:
      tail_.complete(result);
      if (tail_.lost()) poison(*tail_.lost());
      break;
    case TokenKind::round:
      round_.call.completed(result);
      if (round_.call.failed() && round_.stage != Round::Stage::punch) poison(round_.call.error());
      break;
  }
}

LayerInfo SparseLayer::info() const {
  LayerInfo out = info_of(image_);
  if (differencing()) {
    for (const ParentPath& path : image_.parent.paths)
      out.parent_paths.push_back(std::string{path.key} + ": " + path.text);
    out.parent_linkage = image_.parent.linkage;
  }
  return out;
}

Result<BlockCounts> SparseLayer::count_blocks(File& file, std::uint64_t max_table_bytes) {
  const std::uint64_t table_bytes = std::uint64_t{image_.blocks} * kEntryBytes;
  if (table_bytes > max_table_bytes) {
    return Error{.code = Errc::out_of_range,
                 .where = image_.table_at,
                 .what = "block allocation table: longer than may be read"};
  }
  BlockCounts out{.total = image_.blocks};
  std::vector<Be32> entries(BatPage::kEntries);
  std::uint64_t allocated = 0;
  for (std::uint32_t first = 0; first < image_.blocks; first += BatPage::kEntries) {
    const auto count = std::min(BatPage::kEntries, image_.blocks - first);
    const std::span part{entries.data(), count};
    if (const BatPage* const page = table_.resident(first)) {
      std::copy_n(page->entries.begin(), count, part.begin());
    } else {
      OVHD_CHECK(file.read_exact(table_.entry_at(first), std::as_writable_bytes(part),
                                 "block allocation table: read (V03)"));
    }
    allocated += static_cast<std::uint64_t>(
        std::ranges::count_if(part, [](std::uint32_t entry) { return entry != kUnused; }));
  }
  (differencing() ? out.partially_present : out.fully_present) = allocated;
  out.not_present = out.total - allocated;
  return out;
}

const ParentLink* SparseLayer::parent_link() const noexcept {
  return differencing() ? &image_.parent : nullptr;
}

Guid SparseLayer::link_identity() const noexcept { return {image_.footer.unique_id}; }

}  // namespace openvhd::vhd
