#include "vhdx/space_map.hpp"

#include <algorithm>
#include <bit>

namespace openvhd::vhdx {

bool SpaceMap::claim(std::uint64_t first, std::uint64_t count) {
  if (!range_fits(first, count, kMaxBits)) return false;
  if (next_set(first, first + count) != first + count) return false;
  mark(first, count);
  return true;
}

void SpaceMap::mark(std::uint64_t first, std::uint64_t count) {
  if (!range_fits(first, count, kMaxBits)) return;
  const std::uint64_t parts = div_ceil(first + count, kPartBits);
  if (parts_.size() < parts) parts_.resize(parts);
  for (std::uint64_t part = first / kPartBits; part < parts; ++part) {
    if (!parts_[part]) parts_[part] = std::make_unique<Part>();
  }
  change(first, count, [](std::uint64_t& word, std::uint64_t mask) { word |= mask; });
}

void SpaceMap::release(std::uint64_t first, std::uint64_t count) noexcept {
  change(first, count, [](std::uint64_t& word, std::uint64_t mask) { word &= ~mask; });
}

std::uint64_t SpaceMap::next_set(std::uint64_t from, std::uint64_t end) const noexcept {
  return next(from, end, true);
}

std::uint64_t SpaceMap::next_clear(std::uint64_t from, std::uint64_t end) const noexcept {
  return next(from, end, false);
}

std::optional<std::uint64_t> SpaceMap::find_clear(std::uint64_t from, std::uint64_t end,
                                                  std::uint64_t count) const noexcept {
  std::uint64_t start = next_clear(from, end);
  while (range_fits(start, count, end)) {
    const std::uint64_t stop = next_set(start, start + count);
    if (stop == start + count) return start;
    start = next_clear(stop, end);
  }
  return std::nullopt;
}

std::uint64_t SpaceMap::end() const noexcept {
  for (std::size_t part = parts_.size(); part-- > 0;) {
    if (!parts_[part]) continue;
    for (std::size_t at = kPartWords; at-- > 0;) {
      const std::uint64_t bits = (*parts_[part])[at];
      if (bits == 0) continue;
      return part * kPartBits + at * 64 + 64 - static_cast<std::uint64_t>(std::countl_zero(bits));
    }
  }
  return 0;
}

std::uint64_t SpaceMap::word(std::uint64_t index) const noexcept {
  const std::uint64_t part = index / kPartWords;
  if (part >= parts_.size() || !parts_[part]) return 0;
  return (*parts_[part])[index % kPartWords];
}

std::uint64_t SpaceMap::next(std::uint64_t from, std::uint64_t end, bool set) const noexcept {
  while (from < end) {
    const std::uint64_t part = from / kPartBits;
    if (part >= parts_.size() || !parts_[part]) {
      if (!set) return from;
      from = (part + 1) * kPartBits;
      continue;
    }
    const std::uint64_t here = word(from / 64);
    const std::uint64_t wanted = (set ? here : ~here) >> (from % 64);
    if (wanted != 0) {
      return std::min(end, from + static_cast<std::uint64_t>(std::countr_zero(wanted)));
    }
    from += 64 - from % 64;
  }
  return end;
}

template <class Change>
void SpaceMap::change(std::uint64_t first, std::uint64_t count, Change&& apply) {
  for (std::uint64_t at = first; at < first + count;) {
    const std::uint64_t shift = at % 64;
    const std::uint64_t here = std::min(64 - shift, first + count - at);
    const std::uint64_t part = at / kPartBits;
    const std::uint64_t mask = (here == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << here) - 1)
                               << shift;
    if (part < parts_.size() && parts_[part]) apply((*parts_[part])[at / 64 % kPartWords], mask);
    at += here;
  }
}

}  // namespace openvhd::vhdx
