#include "vhd/bitmap_cache.hpp"

#include <algorithm>
#include <iterator>

namespace openvhd::vhd {
namespace {

/// How many of the least recently used are looked at when one has to go.
constexpr unsigned kMostCandidates = 32;

}  // namespace

void SectorBits::set(std::uint32_t first, std::uint32_t count) noexcept {
  const std::uint32_t end = first + count;
  for (std::uint32_t s = first; s < end;) {
    if (s % 8 == 0 && end - s >= 8) {
      bytes_[s / 8] = std::byte{0xff};
      s += 8;
    } else {
      bytes_[s / 8] |= mask(s);
      ++s;
    }
  }
}

std::uint32_t SectorBits::run(std::uint32_t first, std::uint32_t count) const noexcept {
  const bool bit = test(first);
  const std::byte whole = bit ? std::byte{0xff} : std::byte{0};
  const std::uint32_t end = first + count;
  std::uint32_t s = first + 1;
  while (s < end) {
    if (s % 8 == 0 && end - s >= 8 && bytes_[s / 8] == whole) {
      s += 8;
    } else if (test(s) == bit) {
      ++s;
    } else {
      break;
    }
  }
  return s - first;
}

Bitmap* BitmapCache::find(std::uint32_t block) noexcept {
  const auto found = by_block_.find(block);
  return found == by_block_.end() ? nullptr : found->second->get();
}

Pending BitmapCache::load(std::uint32_t block, std::uint32_t start, std::uint64_t oldest) noexcept {
  Bitmap* bitmap = find(block);
  if (bitmap == nullptr) bitmap = &insert(block, start, oldest);
  if (bitmap->loaded) {
    order_.splice(order_.begin(), order_, by_block_.find(block)->second);
    return std::nullopt;
  }
  if (bitmap->call.idle()) {
    bitmap->call.read({std::uint64_t{start} * kSectorBytes}, bitmap->bytes,
                      "sector bitmap: read (V05)");
  }
  if (auto blocked = advance(bitmap->call, token_of(TokenKind::bitmap, block))) return blocked;
  bitmap->call.reset();
  bitmap->loaded = true;
  return std::nullopt;
}

Bitmap& BitmapCache::add_clear(std::uint32_t block, std::uint32_t start,
                               std::uint64_t oldest) noexcept {
  drop(block);
  Bitmap& bitmap = insert(block, start, oldest);
  bitmap.loaded = true;
  return bitmap;
}

Bitmap& BitmapCache::insert(std::uint32_t block, std::uint32_t start,
                            std::uint64_t oldest) noexcept {
  make_room(oldest);
  auto bitmap = std::make_unique<Bitmap>();
  bitmap->block = block;
  bitmap->start = start;
  bitmap->bytes.resize(image_.bitmap_length);
  order_.push_front(std::move(bitmap));
  by_block_.emplace(block, order_.begin());
  return *order_.front();
}

void BitmapCache::drop(std::uint32_t block) noexcept {
  const auto found = by_block_.find(block);
  if (found == by_block_.end()) return;
  if ((*found->second)->dirty) --dirty_;
  order_.erase(found->second);
  by_block_.erase(found);
}

void BitmapCache::complete(std::uint32_t block, std::int32_t result) noexcept {
  if (Bitmap* const bitmap = find(block)) bitmap->call.completed(result);
}

void BitmapCache::promise(Bitmap& bitmap, std::uint32_t sectors, std::uint64_t serial,
                          std::uint64_t oldest) noexcept {
  if (bitmap.serial < oldest) bitmap.promised = 0;
  bitmap.promised += sectors;
  bitmap.serial = serial;
}

void BitmapCache::set(Bitmap& bitmap, std::uint32_t first, std::uint32_t count) noexcept {
  bitmap.promised -= std::min<std::uint64_t>(bitmap.promised, count);
  SectorBits bits = bits_of(bitmap);
  if (bits.test(first) && bits.run(first, count) == count) return;
  bits.set(first, count);
  if (!std::exchange(bitmap.dirty, true)) ++dirty_;
}

void BitmapCache::snapshot(std::uint64_t round, std::vector<Snapshot>& out) {
  if (dirty_ == 0) return;
  for (const auto& bitmap : order_) {
    if (!std::exchange(bitmap->dirty, false)) continue;
    bitmap->round = round;
    out.push_back({{std::uint64_t{bitmap->start} * kSectorBytes}, bitmap->bytes});
  }
  dirty_ = 0;
}

bool BitmapCache::may_go(const Bitmap& bitmap, std::uint64_t oldest) const noexcept {
  return !bitmap.dirty && bitmap.round <= finished_round_ && !bitmap.call.busy() &&
         (bitmap.promised == 0 || bitmap.serial < oldest);
}

/// Those that have to stay are looked at again only when all others were.
void BitmapCache::make_room(std::uint64_t oldest) noexcept {
  for (unsigned i = 0; i < kMostCandidates && order_.size() >= most_; ++i) {
    const auto last = std::prev(order_.end());
    if (may_go(**last, oldest)) {
      by_block_.erase((*last)->block);
      order_.erase(last);
    } else {
      order_.splice(order_.begin(), order_, last);
    }
  }
}

}  // namespace openvhd::vhd
