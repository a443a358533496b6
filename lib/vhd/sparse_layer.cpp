#include "vhd/sparse_layer.hpp"

#include <algorithm>
#include <cassert>

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
      block_shift_{static_cast<unsigned>(std::countr_zero(image_.block_size))},
      geometry_{.virtual_size = image_.virtual_size, .block_size = image_.block_size},
      table_{image_, options.table_cache_bytes / kShares, random_seed(host)},
      bitmaps_{image_, options.table_cache_bytes / kShares, table_, active_},
      tail_{image_} {
  full_bitmap_.resize(image_.bitmap_length);
  std::fill_n(full_bitmap_.begin(), image_.block_size / kSectorBytes / 8, std::byte{0xff});
}

std::uint32_t SparseLayer::sectors_in(std::uint32_t block) const noexcept {
  const std::uint64_t begin = std::uint64_t{block} * image_.block_size;
  const std::uint64_t bytes =
      std::min<std::uint64_t>(image_.block_size, image_.virtual_size - begin);
  return narrow<std::uint32_t>(bytes / kSectorBytes);
}

Pending SparseLayer::load_table(std::uint32_t block) noexcept {
  Pending blocked = table_.load(block);
  if (table_.damage()) admit_overwrites(false);
  return blocked;
}

/// When empty, the state of the block is full, or partial.
Pending SparseLayer::look_at_bitmap(const Spot& spot) noexcept {
  const BlockEntry entry = table_.entry(spot.block);
  if (entry.state() == BlockState::full || entry.state() == BlockState::partial)
    return std::nullopt;
  if (auto blocked = bitmaps_.load(spot.block, entry.start())) return blocked;
  const SectorBits& bits = bitmaps_.find(spot.block)->bits;
  table_.learn(spot.block, bits.all_set(0, sectors_in(spot.block))
                               ? BlockEntry::at(entry.start(), BlockState::full)
                               : BlockEntry::partial(bits));
  return std::nullopt;
}

Step<Extent> SparseLayer::locate(VirtualOffset at, std::uint64_t length) noexcept {
  Extent extent;
  if (find(at, length, extent)) return extent;
  const Spot spot = spot_of(at, length);
  if (auto blocked = load_table(spot.block)) return *blocked;
  const BlockEntry entry = table_.entry(spot.block);
  const BlockState state = entry.state();
  if (state == BlockState::out_of_bounds || state == BlockState::shared)
    return table_.error_of(spot.block, state);
  if (state != BlockState::unused) {
    if (auto blocked = look_at_bitmap(spot)) return *blocked;
  }
  [[maybe_unused]] const bool found = find(at, length, extent);
  assert(found);
  return extent;
}

void SparseLayer::complete(std::uint64_t token, std::int32_t result) noexcept {
  const auto index = static_cast<std::uint32_t>(token);
  switch (static_cast<TokenKind>(token >> 32)) {
    case TokenKind::table_page:
      table_.complete(index, result);
      // A page may have shown that blocks of another share their place: nobody keeps that.
      if (table_.damage()) shared_.terms.moves.fetch_add(1, std::memory_order_release);
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
    if (const BatPage* const page = table_.in_memory(first)) {
      for (std::uint32_t i = 0; i < count; ++i) part[i] = page->entry(i).start();
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
