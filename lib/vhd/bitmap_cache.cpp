#include "vhd/bitmap_cache.hpp"

#include <algorithm>
#include <iterator>

namespace openvhd::vhd {
namespace {

/// How many of the least recently used are looked at when one has to go.
constexpr unsigned kMostCandidates = 32;

}  // namespace

Bitmap* BitmapCache::find(std::uint32_t block) noexcept {
  const auto found = by_block_.find(block);
  return found == by_block_.end() ? nullptr : found->second->get();
}

Pending BitmapCache::load(std::uint32_t block, std::uint32_t start) noexcept {
  Bitmap* bitmap = find(block);
  if (bitmap == nullptr) bitmap = &insert(block, start);
  if (bitmap->loaded) {
    order_.splice(order_.begin(), order_, by_block_.find(block)->second);
    return std::nullopt;
  }
  if (bitmap->call.idle()) {
    bitmap->call.read({std::uint64_t{start} * kSectorBytes}, bitmap->bits.memory(),
                      "sector bitmap: read (V05)");
  }
  if (auto blocked = advance(bitmap->call, token_of(TokenKind::bitmap, block))) return blocked;
  bitmap->call.reset();
  bitmap->bits.loaded(order());
  bitmap->loaded = true;
  return std::nullopt;
}

Bitmap& BitmapCache::add_clear(std::uint32_t block, std::uint32_t start) noexcept {
  drop(block);
  Bitmap& bitmap = insert(block, start);
  bitmap.loaded = true;
  return bitmap;
}

Bitmap& BitmapCache::insert(std::uint32_t block, std::uint32_t start) noexcept {
  make_room();
  order_.push_front(std::make_unique<Bitmap>(block, start, image_.bitmap_length));
  by_block_.emplace(block, order_.begin());
  return *order_.front();
}

void BitmapCache::drop(std::uint32_t block) noexcept {
  const auto found = by_block_.find(block);
  if (found == by_block_.end()) return;
  if ((*found->second)->dirty) --dirty_;
  limbo_.reclaim();
  limbo_.put(std::move(*found->second));
  order_.erase(found->second);
  by_block_.erase(found);
}

void BitmapCache::complete(std::uint32_t block, std::int32_t result) noexcept {
  if (Bitmap* const bitmap = find(block)) bitmap->call.completed(result);
}

void BitmapCache::promise(Bitmap& bitmap, std::uint32_t sectors) noexcept {
  if (bitmap.promised != 0 && bitmap.serial < active_.oldest()) bitmap.promised = 0;
  bitmap.promised += sectors;
  bitmap.serial = active_.latest();
}

void BitmapCache::set(Bitmap& bitmap, std::uint32_t first, std::uint32_t count) noexcept {
  bitmap.bits.set(first, count);
  if (!std::exchange(bitmap.dirty, true)) ++dirty_;
}

void BitmapCache::snapshot(std::uint64_t round, std::vector<Snapshot>& out) {
  if (dirty_ == 0) return;
  for (const auto& bitmap : order_) {
    if (!std::exchange(bitmap->dirty, false)) continue;
    bitmap->round = round;
    out.push_back(
        {{std::uint64_t{bitmap->bits.start()} * kSectorBytes}, bitmap->bits.bytes(order())});
  }
  dirty_ = 0;
}

bool BitmapCache::may_go(const Bitmap& bitmap) noexcept {
  return !bitmap.dirty && bitmap.round <= finished_round_ && !bitmap.call.busy() &&
         (bitmap.promised == 0 || bitmap.serial < active_.oldest());
}

/// Those that have to stay, or that look-ups have used, are looked at again only when all others
/// were.
void BitmapCache::make_room() noexcept {
  limbo_.reclaim();
  for (unsigned i = 0; i < kMostCandidates && order_.size() >= most_ && !limbo_.is_full(); ++i) {
    const auto last = std::prev(order_.end());
    if (may_go(**last) && !(*last)->bits.take_use()) {
      const std::uint32_t block = (*last)->block;
      table_.hide_bits(block, (*last)->bits, BlockState::unknown);
      by_block_.erase(block);
      limbo_.put(std::move(*last));
      order_.erase(last);
    } else {
      order_.splice(order_.begin(), order_, last);
    }
  }
}

}  // namespace openvhd::vhd
