#include "vhdx/engine_model.hpp"

#include <algorithm>
#include <cstring>
#include <set>

#include "base/checked.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kFactor = 0x9e3779b97f4a7c15;

}  // namespace

DiskModel::DiskModel(const EngineShape& shape, std::uint64_t window_bytes, std::size_t count,
                     std::uint64_t seed)
    : sector_size_{shape.sector_size} {
  const std::uint64_t chunk = (std::uint64_t{1} << 23) * shape.sector_size;
  std::mt19937_64 random{seed};
  std::set<std::uint64_t> middles{0, shape.block_size, shape.virtual_size};
  if (chunk < shape.virtual_size) middles.insert(chunk);
  while (middles.size() < count && middles.size() < shape.virtual_size / shape.block_size) {
    const std::uint64_t unit = random() % 4 == 0 ? chunk : shape.block_size;
    middles.insert(align_down(random() % shape.virtual_size, unit));
  }
  std::uint64_t free_from = 0;
  for (const std::uint64_t middle : middles) {
    std::uint64_t at = middle - std::min(middle, window_bytes / 2);
    at = std::max(at, free_from);
    const std::uint64_t end = std::min(at + window_bytes, shape.virtual_size);
    if (end <= at) continue;
    const std::uint32_t tag = shape.has_parent ? kParent : kZeros;
    windows_.push_back({at, std::vector<std::uint32_t>((end - at) / sector_size_, tag)});
    free_from = end;
  }
}

void DiskModel::put(std::uint64_t at, std::uint64_t length, std::uint32_t tag) {
  for (Window& window : windows_) {
    const std::uint64_t window_end = window.at + window.tags.size() * sector_size_;
    const std::uint64_t first = std::max(at, window.at);
    const std::uint64_t end = std::min(at + length, window_end);
    for (std::uint64_t here = first; here < end; here += sector_size_) {
      window.tags[(here - window.at) / sector_size_] = tag;
    }
  }
}

void DiskModel::fill(std::span<std::byte> sector, std::uint64_t at, std::uint32_t tag) const {
  for (std::size_t i = 0; i < sector.size(); i += 8) {
    std::uint64_t word = 0;
    if (tag > kParent) word = ((at + i) * kFactor ^ std::uint64_t{tag} << 20) | 1;
    std::memcpy(sector.data() + i, &word, sizeof word);
  }
  if (tag != kParent) return;
  for (std::size_t i = 0; i < sector.size(); ++i) sector[i] = OpenEngine::parent_byte(at + i);
}

std::vector<std::byte> DiskModel::contents(const Window& window, std::uint64_t at,
                                           std::uint64_t length) const {
  std::vector<std::byte> out(length);
  for (std::uint64_t done = 0; done < length; done += sector_size_) {
    fill(std::span{out}.subspan(done, sector_size_), at + done,
         window.tags[(at + done - window.at) / sector_size_]);
  }
  return out;
}

std::vector<std::byte> DiskModel::contents_of(std::uint64_t at, std::uint64_t length,
                                              std::uint32_t tag) const {
  std::vector<std::byte> out(length);
  for (std::uint64_t done = 0; done < length; done += sector_size_) {
    fill(std::span{out}.subspan(done, sector_size_), at + done, tag);
  }
  return out;
}

std::string DiskModel::compare(OpenEngine& image, std::span<const Open> open) const {
  for (const Window& window : windows_) {
    std::vector<std::byte> got(window.tags.size() * sector_size_);
    if (const Status read = image.read(window.at, got); !read) {
      return "read at " + std::to_string(window.at) + ": " + failure_of(read);
    }
    const auto wanted = contents(window, window.at, got.size());
    if (got == wanted) continue;
    for (std::size_t at = 0; at < got.size(); at += sector_size_) {
      const auto sector = std::span<const std::byte>{got}.subspan(at, sector_size_);
      if (std::ranges::equal(sector, std::span{wanted}.subspan(at, sector_size_))) continue;
      if (is_open(open, window.at + at, sector)) continue;
      return "sector at " + std::to_string(window.at + at) +
             " holds what nobody wrote there: " + guess(sector, window.at + at) + " for " +
             std::to_string(window.tags[at / sector_size_]);
    }
  }
  return {};
}

std::string DiskModel::guess(std::span<const std::byte> sector, std::uint64_t at) const {
  std::uint64_t word = 0;
  std::memcpy(&word, sector.data(), sizeof word);
  if (word == 0) return "zeros";
  if (sector[0] == OpenEngine::parent_byte(at)) return "the parent's";
  return "write " + std::to_string((word ^ at * kFactor) >> 20 & 0xffffffff);
}

bool DiskModel::is_open(std::span<const Open> open, std::uint64_t at,
                        std::span<const std::byte> sector) const {
  return std::ranges::any_of(open, [&](const Open& change) {
    if (at < change.range.at || at >= change.range.at + change.range.length) return false;
    return std::ranges::equal(sector, contents_of(at, sector.size(), change.tag));
  });
}

DiskModel::Range DiskModel::random_range(std::mt19937_64& random, std::uint64_t most) const {
  const Window& window = windows_[random() % windows_.size()];
  const std::uint64_t sectors = window.tags.size();
  const std::uint64_t first = random() % sectors;
  const std::uint64_t limit =
      std::min(sectors - first, std::max<std::uint64_t>(1, most / sector_size_));
  const std::uint64_t count = 1 + random() % limit;
  return {window.at + first * sector_size_, count * sector_size_};
}

}  // namespace openvhd::test
