#include "vhd/history.hpp"

#include <cstring>

#include "vhd/vhd.hpp"

namespace openvhd::test {

std::vector<std::byte> History::sector_of(std::uint64_t id, std::uint64_t sector) {
  std::vector<std::byte> out(512);
  if (id == kZero) return out;
  for (std::size_t i = 0; i < out.size(); i += 16) {
    const std::uint64_t both[2] = {id, sector * 64 + i};
    std::memcpy(out.data() + i, both, sizeof both);
  }
  return out;
}

History::History(const Store& base, Store parent)
    : before_{*base}, now_{std::make_shared<MemoryStore>(*base)}, parent_{std::move(parent)} {
  if (parent_) parent_sectors_ = open_disk(parent_, false)->size() / 512;
}

void History::open(std::function<std::int32_t(const IoCommand&, std::uint64_t)> fault) {
  FixedHost host;
  auto file = std::make_unique<RecordingFile>(now_, log_);
  file->fault = std::move(fault);
  file_ = file.get();
  std::vector<OpenedImage> images;
  images.push_back(*vhd::open(std::move(file), {.writable = true}, host));
  if (parent_) {
    auto below = std::make_unique<MemoryFile>(parent_, MemoryFile::Options{.writable = false});
    images.push_back(*vhd::open(std::move(below), {}, host));
  }
  disk_.emplace(std::move(images));
}

Status History::write(std::uint64_t sector, std::uint64_t count) {
  const std::uint64_t id = next_id_++;
  events_.push_back({.id = id, .sector = sector, .count = count, .begin = log_.size()});
  std::vector<std::byte> bytes;
  for (std::uint64_t s = sector; s < sector + count; ++s) {
    const auto one = sector_of(id, s);
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  return noted(disk_->write(sector * 512, bytes));
}

Status History::clear(std::uint64_t sector, std::uint64_t count, ClearKind kind) {
  events_.push_back({.id = kZero, .sector = sector, .count = count, .begin = log_.size()});
  return noted(disk_->clear(sector * 512, count * 512, kind));
}

/// What failed may have happened or not, and no flush makes it certain.
Status History::noted(Status status) {
  events_.back().failed = !status;
  return status;
}

void History::all_durable() {
  for (Event& event : events_) {
    if (!event.failed) event.flushed = std::min(event.flushed, log_.size());
  }
}

Status History::flush() {
  Status status = disk_->flush();
  if (status) all_durable();
  return status;
}

Status History::close() {
  Status status = disk_->close();
  if (status) all_durable();
  return status;
}

std::uint64_t History::initial(std::uint64_t sector) const {
  return sector < parent_sectors_ ? kParent : kZero;
}

/// The last event that is durable at `end`, or any that had begun by then and came later.
bool History::allowed(std::uint64_t id, std::uint64_t sector, std::size_t end) const {
  for (std::size_t i = events_.size(); i > 0; --i) {
    const Event& event = events_[i - 1];
    if (sector < event.sector || sector >= event.sector + event.count) continue;
    if (event.begin >= end && event.flushed > end) continue;
    if (event.id == id) return true;
    if (event.flushed <= end) return false;
  }
  return id == initial(sector);
}

std::string History::judge_contents(Disk& disk, std::size_t end,
                                    const std::vector<std::uint64_t>& extra) const {
  std::vector<std::byte> all(disk.size());
  if (const Status status = disk.read(0, all); !status)
    return std::string{"read: "} + error_of(status).what;
  for (std::uint64_t sector = 0; sector < all.size() / 512; ++sector) {
    const std::byte* const bytes = all.data() + sector * 512;
    std::uint64_t id = 0;
    std::memcpy(&id, bytes, sizeof id);
    if (std::memcmp(bytes, sector_of(id, sector).data(), 512) != 0)
      return "sector " + std::to_string(sector) + " is torn or of another place";
    const bool written_since = std::find(extra.begin(), extra.end(), sector) != extra.end();
    if (written_since ? id != ~std::uint64_t{0} : !allowed(id, sector, end)) {
      return "sector " + std::to_string(sector) + " holds write " + std::to_string(id) + " at " +
             std::to_string(end);
    }
  }
  return {};
}

Result<Disk> History::open_state(const Store& state, bool writable) const {
  FixedHost host;
  std::vector<OpenedImage> images;
  auto leaf =
      vhd::open(std::make_unique<MemoryFile>(state, MemoryFile::Options{.writable = writable}),
                {.writable = writable}, host);
  if (!leaf) return leaf.error();
  images.push_back(*std::move(leaf));
  if (parent_) {
    auto below = std::make_unique<MemoryFile>(parent_, MemoryFile::Options{.writable = false});
    images.push_back(*vhd::open(std::move(below), {}, host));
  }
  return Disk{std::move(images)};
}

std::string History::judge(const Store& state, std::size_t end) const {
  {
    MemoryFile file{state, {.writable = false}};
    std::vector<Finding> findings;
    if (!vhd::check(file, false, findings, 100, nullptr)) return "check fails";
    for (const Finding& f : findings) {
      if (f.severity == Severity::error) return std::string{f.id} + " " + f.text;
    }
    auto disk = open_state(state, false);
    if (!disk) return std::string{"open: "} + error_of(disk).what;
    if (auto wrong = judge_contents(*disk, end, {}); !wrong.empty()) return wrong;
  }
  std::vector<std::uint64_t> extra;
  {
    auto disk = open_state(state, true);
    if (!disk) return std::string{"open for writing: "} + error_of(disk).what;
    for (std::uint64_t sector = 5; sector < disk->size() / 512; sector += 37) {
      extra.push_back(sector);
      if (!disk->write(sector * 512, sector_of(~std::uint64_t{0}, sector))) return "write fails";
    }
    if (auto wrong = judge_contents(*disk, end, extra); !wrong.empty()) return "rw: " + wrong;
    if (!disk->close()) return "close fails";
  }
  auto disk = open_state(state, false);
  if (!disk) return std::string{"reopen: "} + error_of(disk).what;
  if (!disk->leaf().info().notes.empty()) return "after close: " + disk->leaf().info().notes[0];
  if (auto wrong = judge_contents(*disk, end, extra); !wrong.empty()) return "reopened: " + wrong;
  return {};
}

}  // namespace openvhd::test
