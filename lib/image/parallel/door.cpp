#include "image/parallel/door.hpp"

#include <algorithm>
#include <cstring>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "image/live/write_notes.hpp"
#include "image/queue/chain_finder.hpp"
#include "image/queue/owner.hpp"

namespace openvhd::detail {
namespace {

// The kernel moves less than 2 GiB in one call.
constexpr std::uint64_t kLongest = kGiB;

}  // namespace

Result<std::unique_ptr<Door>> Door::open(std::shared_ptr<DiskState> disk) {
  OVHD_TRY(Readers::Slot* const slot, disk->join_queue());
  return std::make_unique<Door>(Key{}, std::move(disk), slot);
}

std::unique_ptr<Door> Door::open_to_owner(std::shared_ptr<DiskState> disk) {
  return std::make_unique<Door>(Key{}, std::move(disk), nullptr);
}

Status Door::hand_over(Job::Kind kind, VirtualOffset at, std::span<std::byte> bytes,
                       bool durable) noexcept {
  for (std::uint64_t done = 0; done < bytes.size();) {
    const auto part = bytes.subspan(done, std::min(bytes.size() - done, kLongest));
    const iovec buffer{part.data(), part.size()};
    Job job{.kind = kind, .durable = durable, .at = at + done, .buffers = {&buffer, 1}};
    OVHD_CHECK(disk_->owner().run(job));
    done += part.size();
  }
  return Ok{};
}

bool Door::transfer(IoCommand::Kind kind, std::uint32_t layer, FileOffset at,
                    std::span<std::byte> bytes) noexcept {
  const iovec buffer{bytes.data(), bytes.size()};
  const auto moved = disk_->files()[layer]->execute(
      {.kind = kind, .at = at, .length = bytes.size(), .buffers = {&buffer, 1}});
  return moved >= 0 && static_cast<std::uint64_t>(moved) == bytes.size();
}

/// As much as one extent answers: 0 where the owner must be asked.
std::uint64_t Door::read_mapped(VirtualOffset at, std::span<std::byte> into) noexcept {
  if (slot_ == nullptr) return 0;
  const unsigned side = slot_->begin();
  Found found;
  const std::uint64_t most = std::min(into.size(), kLongest);
  const bool known = may_look(at, most) && disk_->finder().find(at, most, found);
  slot_->end_look_up();
  bool good = known;
  const auto part = into.first(known ? found.extent.length : 0);
  if (known && found.extent.kind == Extent::Kind::data) {
    good = disk_->files()[found.layer]->is_plain() &&
           transfer(IoCommand::Kind::read, found.layer, found.extent.at, part);
  } else if (known) {
    std::memset(part.data(), 0, part.size());
  }
  slot_->end_transfer(side);
  return good ? part.size() : 0;
}

Status Door::read(VirtualOffset at, std::span<std::byte> into) noexcept {
  while (!into.empty()) {
    const std::uint64_t moved = read_mapped(at, into);
    if (moved == 0) return hand_over(Job::Kind::read, at, into, false);
    at = at + moved;
    into = into.subspan(moved);
  }
  return Ok{};
}

std::uint64_t Door::write_mapped(VirtualOffset at, std::span<std::byte> from) noexcept {
  if (slot_ == nullptr) return 0;
  const unsigned side = slot_->begin();
  Extent extent;
  const std::uint64_t most = std::min(from.size(), kLongest);
  const bool known = may_look(at, most) && disk_->files().front()->is_plain() &&
                     disk_->finder().find_writable(at, most, extent);
  slot_->end_look_up();
  bool good = false;
  if (known) {
    if (WriteNotes* const notes = disk_->write_notes()) notes->note(at, extent.length);
    good = transfer(IoCommand::Kind::write, 0, extent.at, from.first(extent.length));
    disk_->chain().leaf().overwritten();
  }
  slot_->end_transfer(side);
  return good ? extent.length : 0;
}

Status Door::write(VirtualOffset at, std::span<const std::byte> from, bool durable) noexcept {
  // A write never changes the buffer that an iovec names as mutable.
  std::span bytes{const_cast<std::byte*>(from.data()), from.size()};
  while (!bytes.empty()) {
    // A durable write that fails must poison, which is the owner's to do (RELIABILITY e.2).
    const std::uint64_t moved = durable ? 0 : write_mapped(at, bytes);
    if (moved == 0) return hand_over(Job::Kind::write, at, bytes, durable);
    at = at + moved;
    bytes = bytes.subspan(moved);
  }
  return Ok{};
}

Status Door::change(Job::Kind kind, VirtualOffset at, std::uint64_t length, bool durable) noexcept {
  Job job{.kind = kind, .durable = durable, .at = at, .length = length};
  return disk_->owner().run(job);
}

}  // namespace openvhd::detail
