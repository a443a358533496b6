#include "differential/flat_model.hpp"

#include <algorithm>
#include <cstring>

namespace openvhd::test {
namespace {

constexpr std::array<std::byte, FlatModel::kPage> kZeros{};

/// Calls `part(page, into, done, take)` for each page that [at, at + length) touches.
template <class F>
void each_page(std::uint64_t at, std::uint64_t length, F part) {
  for (std::uint64_t done = 0; done < length;) {
    const std::uint64_t into = (at + done) % FlatModel::kPage;
    const std::uint64_t take = std::min(length - done, FlatModel::kPage - into);
    if (!part((at + done) / FlatModel::kPage, into, done, take)) return;
    done += take;
  }
}

}  // namespace

std::byte* FlatModel::page(std::uint64_t index) {
  auto& place = pages_[index];
  if (!place) place = std::make_unique<Page>();
  return place->data();
}

void FlatModel::copy_out(std::uint64_t at, std::span<std::byte> into) const {
  each_page(at, into.size(), [&](auto index, auto start, auto done, auto take) {
    const auto found = pages_.find(index);
    const std::byte* from = found == pages_.end() ? kZeros.data() : found->second->data();
    std::memcpy(into.data() + done, from + start, take);
    return true;
  });
}

void FlatModel::remember(std::uint64_t at, std::uint64_t length) {
  const std::uint64_t first = at / sector_ * sector_;
  const std::uint64_t end = (at + length + sector_ - 1) / sector_ * sector_;
  const std::size_t old = old_.size();
  old_.resize(old + (end - first));
  copy_out(first, std::span{old_}.subspan(old));
  changes_.push_back({first, end - first, old});
}

void FlatModel::write(std::uint64_t at, std::span<const std::byte> from) {
  remember(at, from.size());
  each_page(at, from.size(), [&](auto index, auto start, auto done, auto take) {
    std::memcpy(page(index) + start, from.data() + done, take);
    return true;
  });
}

void FlatModel::zero(std::uint64_t at, std::uint64_t length) {
  remember(at, length);
  each_page(at, length, [&](auto index, auto start, auto, auto take) {
    std::memset(page(index) + start, 0, take);
    return true;
  });
}

void FlatModel::flushed() {
  changes_.clear();
  old_.clear();
}

bool FlatModel::matches(std::uint64_t at, std::span<const std::byte> got,
                        std::uint64_t& differs) const {
  bool same = true;
  each_page(at, got.size(), [&](auto index, auto start, auto done, auto take) {
    const auto found = pages_.find(index);
    const std::byte* want = found == pages_.end() ? kZeros.data() : found->second->data();
    const auto part = got.subspan(done, take);
    if (std::memcmp(part.data(), want + start, take) == 0) return true;
    const auto [at_got, at_want] =
        std::ranges::mismatch(part, std::span<const std::byte>{want + start, take});
    differs = at + done + static_cast<std::uint64_t>(at_got - part.begin());
    same = false;
    return false;
  });
  return same;
}

std::map<std::uint64_t, std::vector<std::size_t>> FlatModel::unflushed_sectors() const {
  std::map<std::uint64_t, std::vector<std::size_t>> out;
  for (const Change& change : changes_) {
    for (std::uint64_t done = 0; done < change.length; done += sector_) {
      out[(change.at + done) / sector_].push_back(change.old + done);
    }
  }
  return out;
}

bool FlatModel::settle(std::uint64_t sector, const std::vector<std::size_t>& versions,
                       std::span<const std::byte> got) {
  std::uint64_t differs = 0;
  if (matches(sector * sector_, got, differs)) return true;
  const bool known = std::ranges::any_of(versions, [&](std::size_t old) {
    return std::memcmp(old_.data() + old, got.data(), got.size()) == 0;
  });
  each_page(sector * sector_, got.size(), [&](auto index, auto start, auto done, auto take) {
    std::memcpy(page(index) + start, got.data() + done, take);
    return true;
  });
  return known;
}

std::vector<std::uint64_t> FlatModel::touched_pages() const {
  std::vector<std::uint64_t> out;
  for (const auto& [index, bytes] : pages_) out.push_back(index);
  std::ranges::sort(out);
  return out;
}

}  // namespace openvhd::test
