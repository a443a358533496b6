#include "crash/verify/vhdx_log.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

namespace verify {
namespace {

constexpr std::uint64_t kSector = Replayed::kSector;
constexpr std::size_t kDescriptor = 32;

struct Change {
  std::uint64_t at = 0;
  std::uint64_t length = 0;
  bool zero = false;
  std::uint64_t data_at = 0;  // in the log
  std::array<std::byte, 8> leading{};
  std::array<std::byte, 4> trailing{};
};

struct Entry {
  std::uint64_t at = 0;  // in the log
  std::uint64_t length = 0;
  std::uint64_t tail = 0;
  std::uint64_t sequence = 0;
  std::uint64_t flushed = 0;
  std::uint64_t last = 0;
  std::vector<Change> changes;
};

class Ring {
 public:
  Ring(const Source& source, const LogPlace& place) : source_{source}, place_{place} {}
  std::uint64_t length() const { return place_.length; }
  const Image::Id& id() const { return place_.id; }
  std::vector<std::byte> sectors(std::uint64_t at, std::uint64_t length) const {
    std::vector<std::byte> out(length);
    for (std::uint64_t done = 0; done < length; done += kSector) {
      source_.read(place_.at + (at + done) % place_.length, std::span{out}.subspan(done, kSector));
    }
    return out;
  }
  /// The next sector of the log that is not a hole, from `at` on.
  std::uint64_t next(std::uint64_t at) const {
    const std::uint64_t found = source_.next_data(place_.at + at, place_.at + place_.length);
    return (found - place_.at) / kSector * kSector;
  }

 private:
  const Source& source_;
  const LogPlace& place_;
};

bool take_descriptor(std::span<const std::byte> raw, Entry& entry, std::uint64_t& data_at) {
  Change change;
  if (spells(raw, 0, "desc")) {
    std::copy_n(raw.begin() + 4, 4, change.trailing.begin());
    std::copy_n(raw.begin() + 8, 8, change.leading.begin());
    change.length = kSector;
    change.data_at = data_at;
    data_at += kSector;
  } else if (spells(raw, 0, "zero")) {
    change.zero = true;
    change.length = little<std::uint64_t>(raw, 8);
  } else {
    return false;
  }
  change.at = little<std::uint64_t>(raw, 16);
  if (little<std::uint64_t>(raw, 24) != entry.sequence) return false;
  if (change.at % kSector != 0 || change.length % kSector != 0) return false;
  if (change.at + change.length < change.at) return false;
  entry.changes.push_back(change);
  return true;
}

/// The entry that begins at a sector of the log, if there is a valid one of this log's id.
std::optional<Entry> entry_at(const Ring& ring, std::uint64_t at) {
  const auto first = ring.sectors(at, kSector);
  if (!spells(first, 0, "loge")) return std::nullopt;
  if (std::memcmp(first.data() + 32, ring.id().data(), 16) != 0) return std::nullopt;
  Entry out{.at = at,
            .length = little<std::uint32_t>(first, 8),
            .tail = little<std::uint32_t>(first, 12),
            .sequence = little<std::uint64_t>(first, 16),
            .flushed = little<std::uint64_t>(first, 48),
            .last = little<std::uint64_t>(first, 56),
            .changes = {}};
  const std::uint64_t count = little<std::uint32_t>(first, 24);
  if (out.length == 0 || out.length % kSector != 0 || out.length > ring.length() ||
      out.tail % kSector != 0 || out.tail >= ring.length() || out.sequence == 0)
    return std::nullopt;
  const std::uint64_t head = (64 + count * kDescriptor + kSector - 1) / kSector * kSector;
  if (head > out.length) return std::nullopt;
  const auto all = ring.sectors(at, out.length);
  if (crc32c_of(all, 4) != little<std::uint32_t>(all, 4)) return std::nullopt;
  std::uint64_t data_at = head;
  for (std::uint64_t i = 0; i < count; ++i) {
    // The header is as long as two descriptors, so none of them crosses a sector.
    if (!take_descriptor(std::span{all}.subspan(64 + i * kDescriptor, kDescriptor), out, data_at))
      return std::nullopt;
  }
  if (data_at > out.length) return std::nullopt;
  for (std::uint64_t i = head; i < data_at; i += kSector) {
    const auto sector = std::span{all}.subspan(i, kSector);
    const std::uint64_t high = little<std::uint32_t>(sector, 4);
    const std::uint64_t low = little<std::uint32_t>(sector, kSector - 4);
    if (!spells(sector, 0, "data") || (high << 32 | low) != out.sequence) return std::nullopt;
  }
  return out;
}

/// 2.3.2: the run whose head has the greatest number and whose tail is a member of it.
std::vector<Entry> active(const Ring& ring) {
  std::map<std::uint64_t, Entry> entries;
  for (std::uint64_t at = ring.next(0); at < ring.length(); at = ring.next(at + kSector)) {
    if (auto entry = entry_at(ring, at)) entries.emplace(at, std::move(*entry));
  }
  std::vector<Entry> best;
  for (const auto& [at, start] : entries) {
    std::vector<Entry> run{start};
    std::uint64_t length = start.length;
    for (;;) {
      const auto next = entries.find((run.back().at + run.back().length) % ring.length());
      if (next == entries.end() || next->second.sequence != run.back().sequence + 1) break;
      run.push_back(next->second);
      length += next->second.length;
    }
    if (run.back().tail != start.at || length > ring.length()) continue;
    if (best.empty() || best.back().sequence < run.back().sequence) best = std::move(run);
  }
  return best;
}

}  // namespace

void Replayed::read(std::uint64_t at, std::span<std::byte> into) const {
  below_.read(at, into);
  if (sectors_.empty()) return;
  const std::uint64_t end = at + into.size();
  for (auto it = sectors_.lower_bound(at / kSector * kSector);
       it != sectors_.end() && it->first < end; ++it) {
    const std::uint64_t from = std::max(at, it->first);
    const std::uint64_t to = std::min(end, it->first + kSector);
    const auto part = into.subspan(from - at, to - from);
    if (it->second.empty())
      std::ranges::fill(part, std::byte{0});
    else
      std::memcpy(part.data(), it->second.data() + (from - it->first), part.size());
  }
}

std::uint64_t Replayed::next_data(std::uint64_t at, std::uint64_t end) const {
  const std::uint64_t below = below_.next_data(at, end);
  const auto over = sectors_.lower_bound(at / kSector * kSector);
  if (over == sectors_.end()) return below;
  return std::min({below, std::max(at, over->first), end});
}

void Replayed::clear(std::uint64_t at, std::uint64_t length) {
  for (std::uint64_t done = 0; done < length; done += kSector) sectors_[at + done] = {};
}

void replay_log(const Source& source, const LogPlace& place, Replayed& onto, Report& report) {
  const Ring ring{source, place};
  const auto run = active(ring);
  if (run.empty()) return report.fail("L01", "LogGuid is set and no active sequence is there");
  const Entry& head = run.back();
  if (head.flushed > source.size())
    return report.fail("L06", "FlushedFileOffset past the end of the file: truncated");
  std::uint64_t last = 0;
  for (const Entry& entry : run) last = std::max(last, entry.last);
  for (const Entry& entry : run) {
    for (const Change& change : entry.changes) {
      const std::uint64_t end = change.at + change.length;
      if (change.at < 192 * 1024 || end > last ||
          (change.at < place.at + place.length && place.at < end))
        return report.fail("L05", "target of the log at " + std::to_string(change.at));
      if (change.zero) {
        onto.clear(change.at, change.length);
        continue;
      }
      auto sector = ring.sectors(entry.at + change.data_at, kSector);
      std::ranges::copy(change.leading, sector.begin());
      std::ranges::copy(change.trailing, sector.end() - 4);
      onto.put(change.at, std::move(sector));
    }
  }
  onto.extend(last);
}

}  // namespace verify
