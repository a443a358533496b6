#include "image/parallel/parallel_state.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "image/sector_split.hpp"

namespace openvhd::detail {
namespace {

constexpr std::size_t kLargestSector = 4096;

using Sector = std::array<std::byte, kLargestSector>;

/// The doors of one thread. Doors that are gone leave entries that nothing leads to, since
/// numbers are never used again; the next new entry sweeps those of disks that are gone away.
class ThreadDoors {
 public:
  ThreadDoors() = default;
  ThreadDoors(const ThreadDoors&) = delete;
  ThreadDoors& operator=(const ThreadDoors&) = delete;
  ~ThreadDoors() {
    for (const Entry& entry : entries_) {
      const auto disk = entry.disk.lock();
      if (disk && entry.door != nullptr) disk->retire(entry.number, *entry.door);
    }
  }

  struct Entry {
    std::uint64_t number = 0;
    Door* door = nullptr;  // null: there is no owner to go to
    std::weak_ptr<ParallelState> disk{};
  };

  const Entry* find(std::uint64_t number) const noexcept {
    for (const Entry& entry : entries_) {
      if (entry.number == number) return &entry;
    }
    return nullptr;
  }
  void add(Entry entry) {
    std::erase_if(entries_, [](const Entry& old) { return old.disk.expired(); });
    entries_.push_back(std::move(entry));
  }

 private:
  std::vector<Entry> entries_;
};

thread_local ThreadDoors thread_doors;

std::uint64_t next_number() noexcept {
  static constinit std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace

ParallelState::ParallelState(Key, Disk disk) noexcept
    : disk_{std::move(disk)}, number_{next_number()} {}

Result<std::shared_ptr<ParallelState>> ParallelState::open(const std::string& path,
                                                           const OpenOptions& options) {
  OVHD_TRY(Disk disk, Disk::open(path, options));
  return std::make_shared<ParallelState>(Key{}, std::move(disk));
}

Door* ParallelState::my_door() noexcept {
  if (const auto* known = thread_doors.find(number_)) return known->door;
  Door* const door = add_door();
  thread_doors.add({.number = number_, .door = door, .disk = weak_from_this()});
  return door;
}

Door* ParallelState::add_door() noexcept {
  const std::scoped_lock lock{mutex_};
  const auto disk = DiskState::shared(disk_);
  if (slots_ < ParallelDisk::kMostDoors) {
    if (auto door = Door::open(disk)) {
      ++slots_;
      doors_.push_back(*std::move(door));
      return doors_.back().get();
    }
  }
  // No owner, whatever stands in its way: the Disk answers, or says why not.
  if (!disk->has_owner()) return nullptr;
  doors_.push_back(Door::open_to_owner(disk));
  return doors_.back().get();
}

void ParallelState::retire(std::uint64_t number, const Door& door) noexcept {
  const std::scoped_lock lock{mutex_};
  if (number != number_) return;
  if (door.has_slot()) --slots_;
  std::erase_if(doors_, [&](const auto& one) { return one.get() == &door; });
}

Status ParallelState::run(const Call& call) noexcept {
  Door* const door = my_door();
  if (door == nullptr) return run_in_turn(call);
  const std::span bytes{call.bytes, call.length};
  switch (call.kind) {
    case Kind::read:
      return door->read(call.at, bytes);
    case Kind::write:
      return door->write(call.at, bytes, call.durable);
    case Kind::zero:
      return door->change(Job::Kind::zero, call.at, call.length, call.durable);
    case Kind::trim:
      return door->change(Job::Kind::trim, call.at, call.length, call.durable);
    case Kind::flush:
      break;
  }
  return door->change(Job::Kind::flush, {}, 0, false);
}

Status ParallelState::run_in_turn(const Call& call) noexcept {
  const std::scoped_lock lock{mutex_};
  const std::span bytes{call.bytes, call.bytes != nullptr ? call.length : 0};
  switch (call.kind) {
    case Kind::read:
      return disk_.read(call.at, bytes);
    case Kind::write:
      OVHD_CHECK(disk_.write(call.at, bytes));
      break;
    case Kind::zero:
      OVHD_CHECK(disk_.zero(call.at, call.length));
      break;
    case Kind::trim:
      OVHD_CHECK(disk_.trim(call.at, call.length));
      break;
    case Kind::flush:
      return disk_.flush();
  }
  return call.durable ? disk_.flush() : Status{Ok{}};
}

Status ParallelState::check_range(VirtualOffset at, std::uint64_t length) const noexcept {
  if (range_fits(at.value, length, disk_.geometry().virtual_size)) return Ok{};
  return Error{.code = Errc::out_of_range, .what = "request beyond the end of the disk"};
}

Status ParallelState::read(VirtualOffset at, std::span<std::byte> into) noexcept {
  OVHD_CHECK(check_range(at, into.size()));
  const std::uint64_t sector = disk_.geometry().logical_sector_size;
  const SectorSplit parts = split_at_sectors(at, into.size(), sector);
  if (parts.head == 0 && parts.tail == 0) {
    return run({.kind = Kind::read, .at = at, .bytes = into.data(), .length = into.size()});
  }
  alignas(kLargestSector) Sector bounce;
  const auto read_part = [&](VirtualOffset from, std::span<std::byte> part) -> Status {
    const VirtualOffset start{align_down(from.value, sector)};
    OVHD_CHECK(run({.kind = Kind::read, .at = start, .bytes = bounce.data(), .length = sector}));
    std::memcpy(part.data(), bounce.data() + (from - start), part.size());
    return Ok{};
  };
  if (parts.head != 0) OVHD_CHECK(read_part(at, into.first(parts.head)));
  if (parts.middle != 0) {
    const auto middle = into.subspan(parts.head, parts.middle);
    OVHD_CHECK(run({.kind = Kind::read,
                    .at = at + parts.head,
                    .bytes = middle.data(),
                    .length = middle.size()}));
  }
  if (parts.tail == 0) return Ok{};
  return read_part(at + (parts.head + parts.middle), into.last(parts.tail));
}

RangeGate::Passage ParallelState::passage(VirtualOffset at, std::uint64_t length) const noexcept {
  const std::uint64_t sector = disk_.geometry().logical_sector_size;
  const std::uint64_t end = at.value + length;
  return {.begin = align_down(at.value, sector),
          .end = align_up(end, sector),
          .alone = !is_multiple(at.value, sector) || !is_multiple(end, sector)};
}

Status ParallelState::change(const Call& call) noexcept {
  OVHD_CHECK(check_range(call.at, call.length));
  if (!disk_.writable()) return Error{.code = Errc::read_only, .what = "opened for reading"};
  const RangeGate::Hold hold{gate_, passage(call.at, call.length)};
  const SectorSplit parts =
      split_at_sectors(call.at, call.length, disk_.geometry().logical_sector_size);
  const auto part = [&](std::uint64_t from, std::uint64_t length) {
    Call out = call;
    out.at = call.at + from;
    out.bytes = call.bytes != nullptr ? call.bytes + from : nullptr;
    out.length = length;
    return out;
  };
  if (parts.head != 0) OVHD_CHECK(patch(part(0, parts.head)));
  if (parts.middle != 0) OVHD_CHECK(run(part(parts.head, parts.middle)));
  if (parts.tail != 0) OVHD_CHECK(patch(part(parts.head + parts.middle, parts.tail)));
  return Ok{};
}

/// Writes a part of one sector: bytes, or zeros.
Status ParallelState::patch(const Call& part) noexcept {
  const std::uint64_t sector = disk_.geometry().logical_sector_size;
  const VirtualOffset start{align_down(part.at.value, sector)};
  alignas(kLargestSector) Sector bounce;
  OVHD_CHECK(run({.kind = Kind::read, .at = start, .bytes = bounce.data(), .length = sector}));
  std::byte* const into = bounce.data() + (part.at - start);
  if (part.bytes != nullptr) {
    std::memcpy(into, part.bytes, part.length);
  } else {
    std::memset(into, 0, part.length);
  }
  return run({.kind = Kind::write,
              .at = start,
              .bytes = bounce.data(),
              .length = sector,
              .durable = part.durable});
}

Status ParallelState::write(VirtualOffset at, std::span<const std::byte> from,
                            bool durable) noexcept {
  // A write never changes the buffer that a Call names as mutable.
  return change({.kind = Kind::write,
                 .at = at,
                 .bytes = const_cast<std::byte*>(from.data()),
                 .length = from.size(),
                 .durable = durable});
}

Status ParallelState::zero(VirtualOffset at, std::uint64_t length, bool durable) noexcept {
  return change({.kind = Kind::zero, .at = at, .length = length, .durable = durable});
}

Status ParallelState::trim(VirtualOffset at, std::uint64_t length, bool durable) noexcept {
  return change({.kind = Kind::trim, .at = at, .length = length, .durable = durable});
}

Status ParallelState::flush() noexcept {
  if (!disk_.writable()) return Error{.code = Errc::read_only, .what = "opened for reading"};
  return run({.kind = Kind::flush});
}

Result<MapEntry> ParallelState::map(VirtualOffset at, std::uint64_t length) noexcept {
  const std::scoped_lock lock{mutex_};
  return disk_.map(at, length);
}

Result<DiskInfo> ParallelState::info(bool count_blocks) noexcept {
  const std::scoped_lock lock{mutex_};
  return disk_.info(count_blocks);
}

Result<Queue> ParallelState::open_queue(const QueueOptions& options) noexcept {
  const std::scoped_lock lock{mutex_};
  return Queue::open(disk_, options);
}

Status ParallelState::close() noexcept {
  const std::scoped_lock lock{mutex_};
  doors_.clear();
  slots_ = 0;
  number_ = next_number();
  return disk_.close();
}

}  // namespace openvhd::detail
