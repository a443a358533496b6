#include "vhd/block_claims.hpp"

#include <algorithm>
#include <utility>

namespace openvhd::vhd {

std::uint64_t random_seed(Host& host) noexcept {
  std::uint64_t seed = 0;
  for (const std::uint8_t byte : host.random_guid().bytes) seed = seed << 5 ^ seed >> 59 ^ byte;
  return seed;
}

BlockClaims::BlockClaims(std::uint32_t length, std::uint32_t most, std::uint64_t seed)
    : length_{length}, most_slots_{std::uint64_t{most} + most / 3 + 64}, seed_{seed} {}

std::uint64_t BlockClaims::home(std::uint64_t stretch) const noexcept {
  std::uint64_t h = stretch ^ seed_;
  h = (h ^ h >> 31) * 0x9e37'79b9'7f4a'7c15;
  h = (h ^ h >> 29) * 0xbf58'476d'1ce4'e5b9;
  return (h >> 32) * slots_.size() >> 32;
}

BlockClaims::Slot* BlockClaims::find(std::uint64_t stretch) noexcept {
  if (slots_.empty()) return nullptr;
  for (std::uint64_t i = home(stretch);; i = i + 1 == slots_.size() ? 0 : i + 1) {
    Slot& slot = slots_[i];
    if (slot.owner == kEmpty) return nullptr;
    if (slot.start / length_ == stretch) return &slot;
  }
}

bool BlockClaims::overlaps(const Slot* slot, std::uint32_t start) const noexcept {
  if (slot == nullptr) return false;
  return (slot->start > start ? slot->start - start : start - slot->start) < length_;
}

bool BlockClaims::claim(std::uint32_t start, std::uint32_t owner) {
  const std::uint64_t stretch = start / length_;
  Slot* const here = find(stretch);
  if (here != nullptr && here->start == start && (here->owner & ~kShared) == owner) {
    rival_ = owner;
    return (here->owner & kShared) == 0;
  }
  bool good = true;
  for (Slot* const other : {here, find(stretch + 1), stretch == 0 ? nullptr : find(stretch - 1)}) {
    if (!overlaps(other, start)) continue;
    rival_ = other->owner & ~kShared;
    other->owner |= kShared;
    good = false;
  }
  if (!good) return false;
  if (std::uint64_t{count_} * 8 >= slots_.size() * 7 || count_ + 1 >= slots_.size()) grow();
  insert({start, owner});
  ++count_;
  return true;
}

void BlockClaims::insert(Slot slot) noexcept {
  std::uint64_t i = home(slot.start / length_);
  while (slots_[i].owner != kEmpty) i = i + 1 == slots_.size() ? 0 : i + 1;
  slots_[i] = slot;
}

void BlockClaims::grow() {
  // Once at the most that was announced, only claims beyond it make it larger still.
  const std::uint64_t doubled = slots_.size() * 2 + 64;
  const std::uint64_t size = slots_.size() < most_slots_ ? std::min(doubled, most_slots_) : doubled;
  std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(size));
  for (const Slot& slot : old) {
    if (slot.owner != kEmpty) insert(slot);
  }
}

void BlockClaims::release(std::uint32_t start) noexcept {
  Slot* const found = find(start / length_);
  if (found == nullptr || found->start != start) return;
  // Linear probing: what follows moves up where the hole would cut it off from its home.
  auto hole = static_cast<std::uint64_t>(found - slots_.data());
  const std::uint64_t size = slots_.size();
  for (std::uint64_t i = (hole + 1) % size; slots_[i].owner != kEmpty; i = (i + 1) % size) {
    const std::uint64_t want = home(slots_[i].start / length_);
    if ((i + size - want) % size >= (i + size - hole) % size) {
      slots_[hole] = slots_[i];
      hole = i;
    }
  }
  slots_[hole] = {};
  --count_;
}

std::uint64_t BlockClaims::end() const noexcept {
  std::uint64_t out = 0;
  for (const Slot& slot : slots_) {
    if (slot.owner != kEmpty)
      out = std::max<std::uint64_t>(out, std::uint64_t{slot.start} + length_);
  }
  return out;
}

std::vector<std::uint32_t> BlockClaims::sorted_starts() const {
  std::vector<std::uint32_t> out;
  out.reserve(count_);
  for (const Slot& slot : slots_) {
    if (slot.owner != kEmpty) out.push_back(slot.start);
  }
  std::ranges::sort(out);
  return out;
}

}  // namespace openvhd::vhd
