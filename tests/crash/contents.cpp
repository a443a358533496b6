#include "crash/contents.hpp"

#include <algorithm>
#include <cstring>

namespace openvhd::test {
namespace {

constexpr std::size_t kPair = 16;  // the id, and where in the disk these bytes are

std::string name_of(std::uint64_t id) {
  if (id == kZeroId) return "zeros";
  if (id == kParentId) return "the parent's";
  if (id == kForeignId) return "what nobody wrote";
  return "write " + std::to_string(id);
}

}  // namespace

void stamp(std::span<std::byte> into, std::uint32_t sector_bytes, std::uint64_t first,
           std::uint64_t id) {
  if (id == kZeroId) {
    std::ranges::fill(into, std::byte{0});
    return;
  }
  for (std::size_t at = 0; at < into.size(); at += kPair) {
    const std::uint64_t pair[2] = {id, first * sector_bytes + at};
    std::memcpy(into.data() + at, pair, sizeof pair);
  }
}

std::uint64_t stamp_of(std::span<const std::byte> bytes, std::uint64_t sector) {
  std::uint64_t begin[2] = {};
  std::memcpy(begin, bytes.data(), sizeof begin);
  const std::uint64_t id = begin[0];
  std::uint64_t wrong = id == kForeignId ? 1 : 0;
  for (std::size_t at = 0; at < bytes.size(); at += kPair) {
    std::uint64_t pair[2] = {};
    std::memcpy(pair, bytes.data() + at, sizeof pair);
    wrong |= pair[0] ^ id;
    wrong |= pair[1] ^ (id == kZeroId ? 0 : sector * bytes.size() + at);
  }
  return wrong == 0 ? id : kForeignId;
}

void Contents::add(std::uint64_t count, std::uint64_t id) {
  if (count == 0) return;
  if (!runs_.empty() && runs_.back().id == id)
    runs_.back().count += count;
  else
    runs_.push_back({sectors(), count, id});
}

void Contents::add_sectors(std::span<const std::byte> bytes, std::uint32_t sector_bytes) {
  const std::uint64_t first = sectors();
  for (std::size_t i = 0; i < bytes.size() / sector_bytes; ++i)
    add(1, stamp_of(bytes.subspan(i * sector_bytes, sector_bytes), first + i));
}

void Contents::put(const IdRun& run) {
  Contents out;
  for (const IdRun& old : runs_) {
    const std::uint64_t end = old.first + old.count;
    const std::uint64_t from = std::clamp(run.first, old.first, end);
    const std::uint64_t to = std::clamp(run.first + run.count, old.first, end);
    out.add(from - old.first, old.id);
    out.add(to - from, run.id);
    out.add(end - to, old.id);
  }
  *this = std::move(out);
}

std::uint64_t Contents::at(std::uint64_t sector) const {
  const auto after = std::ranges::upper_bound(runs_, sector, {}, &IdRun::first);
  return after == runs_.begin() ? kForeignId : std::prev(after)->id;
}

std::string Contents::difference(const Contents& other) const {
  if (*this == other) return {};
  if (sectors() != other.sectors()) return "sizes differ";
  std::uint64_t sector = 0;
  while (sector < sectors() && at(sector) == other.at(sector)) {
    const auto next = [sector](const std::vector<IdRun>& runs) {
      const auto after = std::ranges::upper_bound(runs, sector, {}, &IdRun::first);
      return after == runs.end() ? ~std::uint64_t{0} : after->first;
    };
    sector = std::min(next(runs_), next(other.runs_));
  }
  return "sector " + std::to_string(sector) + ": " + name_of(at(sector)) + ", not " +
         name_of(other.at(sector));
}

Allowed::Allowed(const Contents& before) {
  for (const IdRun& run : before.runs()) parts_.push_back({run.first, run.count, {run.id}});
}

template <class F>
void Allowed::each(const Change& change, F apply) {
  std::vector<Part> out;
  out.reserve(parts_.size() + 2);
  for (Part& part : parts_) {
    const std::uint64_t end = part.first + part.count;
    const std::uint64_t from = std::clamp(change.first, part.first, end);
    const std::uint64_t to = std::clamp(change.first + change.count, part.first, end);
    if (from == to) {
      out.push_back(std::move(part));
      continue;
    }
    if (from > part.first) out.push_back({part.first, from - part.first, part.ids});
    Part middle{from, to - from, part.ids};
    apply(middle.ids);
    out.push_back(std::move(middle));
    if (end > to) out.push_back({to, end - to, std::move(part.ids)});
  }
  parts_ = std::move(out);
}

void Allowed::may(const Change& change) {
  each(change, [&](std::vector<std::uint64_t>& ids) {
    if (std::ranges::find(ids, change.id) == ids.end()) ids.push_back(change.id);
  });
}

void Allowed::must(const Change& change) {
  each(change, [&](std::vector<std::uint64_t>& ids) { ids = {change.id}; });
}

std::string Allowed::check(const Contents& contents) const {
  auto part = parts_.begin();
  for (const IdRun& run : contents.runs()) {
    for (std::uint64_t at = run.first; at < run.first + run.count;) {
      while (part != parts_.end() && part->first + part->count <= at) ++part;
      if (part == parts_.end()) return "the disk is longer than it was";
      if (std::ranges::find(part->ids, run.id) == part->ids.end()) {
        std::string out = "sector " + std::to_string(at) + " holds " + name_of(run.id) + " for";
        for (const std::uint64_t id : part->ids) out += ' ' + name_of(id);
        return out + " (D2, D4)";
      }
      at = part->first + part->count;
    }
  }
  if (!parts_.empty() && contents.sectors() != parts_.back().first + parts_.back().count)
    return "the disk is shorter than it was";
  return {};
}

}  // namespace openvhd::test
