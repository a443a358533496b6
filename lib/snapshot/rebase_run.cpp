#include "snapshot/rebase_run.hpp"

#include <algorithm>
#include <utility>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "image/convert/buffers.hpp"

namespace openvhd::snapshot {
namespace {

using detail::DiskState;

constexpr std::uint64_t kStepBytes = 1 * kMiB;   // read from both chains at once
constexpr std::uint64_t kMostAtOnce = 1 * kGiB;  // of one look at a map

/// Copies into a child what its old chain and the new one hold differently.
class Rebaser {
 public:
  Rebaser(const Workshop& shop, DiskState& old_disk, DiskState& new_disk)
      : shop_{shop}, old_{old_disk}, new_{new_disk} {}

  Status run(RebaseResult& result);

 private:
  Status compare(std::uint64_t at, std::uint64_t length);
  Status compare_data(std::uint64_t at, std::uint64_t length);
  Result<MapEntry> new_entry(std::uint64_t at, std::uint64_t length);
  Status read_new(std::uint64_t at, std::span<std::byte> into);

  const Workshop& shop_;
  DiskState& old_;
  DiskState& new_;
  AlignedBuffer memory_{2 * kStepBytes};
  RebaseResult counts_;
};

// The new parent may end before the child: there are zeros behind it.
Result<MapEntry> Rebaser::new_entry(std::uint64_t at, std::uint64_t length) {
  const std::uint64_t end = new_.geometry().virtual_size;
  if (at >= end) {
    return MapEntry{.at = {at}, .length = length, .kind = MapEntry::Kind::hole};
  }
  return new_.map({at}, std::min(length, end - at));
}

Status Rebaser::read_new(std::uint64_t at, std::span<std::byte> into) {
  const std::uint64_t end = new_.geometry().virtual_size;
  const auto inside =
      static_cast<std::size_t>(at >= end ? 0 : std::min<std::uint64_t>(into.size(), end - at));
  std::ranges::fill(into.subspan(inside), std::byte{0});
  if (inside == 0) return Ok{};
  return new_.read({at}, into.first(inside));
}

Status Rebaser::compare_data(std::uint64_t at, std::uint64_t length) {
  const std::uint64_t sector = old_.geometry().logical_sector_size;
  for (std::uint64_t done = 0; done < length;) {
    const auto step = static_cast<std::size_t>(std::min(kStepBytes, length - done));
    const auto before = memory_.span().first(step);
    const auto after = memory_.span().subspan(kStepBytes, step);
    OVHD_CHECK(old_.read({at + done}, before));
    OVHD_CHECK(read_new(at + done, after));
    counts_.compared_bytes += step;
    for (std::size_t i = 0; i < step;) {
      // A run of sectors that differ is one write.
      const auto differs = [&](std::size_t from) {
        return from < step &&
               !std::ranges::equal(before.subspan(from, sector), after.subspan(from, sector));
      };
      std::size_t end = i;
      while (differs(end)) end += sector;
      if (end == i) {
        i += sector;
        continue;
      }
      OVHD_CHECK(old_.write({at + done + i}, before.subspan(i, end - i)));
      counts_.copied_bytes += end - i;
      i = end;
    }
    done += step;
  }
  return Ok{};
}

// [at, at + length) is not in the child, and one answer of the old chain.
Status Rebaser::compare(std::uint64_t at, std::uint64_t length) {
  while (length != 0) {
    OVHD_TRY(const MapEntry before, old_.map({at}, length));
    OVHD_TRY(const MapEntry after, new_entry(at, before.length));
    const std::uint64_t step = std::min(before.length, after.length);
    const bool data = before.kind == MapEntry::Kind::data;
    const bool same = !data && after.kind != MapEntry::Kind::data;
    // One place in one file, which both chains have in them.
    const bool shared =
        data && after.kind == MapEntry::Kind::data && before.host_offset == after.host_offset &&
        old_.files()[before.layer]->identity() == new_.files()[after.layer]->identity();
    if (!same && !shared) OVHD_CHECK(compare_data(at, step));
    at += step;
    length -= step;
  }
  return Ok{};
}

Status Rebaser::run(RebaseResult& result) {
  if (memory_.span().empty()) {
    return Error{.code = Errc::io, .sys_errno = 12, .what = "buffers for comparing"};
  }
  const std::uint64_t size = old_.geometry().virtual_size;
  for (std::uint64_t at = 0; at < size;) {
    OVHD_TRY(const MapEntry entry, old_.map({at}, std::min(size - at, kMostAtOnce)));
    const bool own = entry.kind != MapEntry::Kind::hole && entry.layer == 0;
    const std::uint64_t step = own ? entry.length : std::min(entry.length, 64 * kMiB);
    if (!own) OVHD_CHECK(compare(at, step));
    at += step;
    if (!shop_.update(at, size)) return stopped();
  }
  result.compared_bytes = counts_.compared_bytes;
  result.copied_bytes = counts_.copied_bytes;
  return Ok{};
}

}  // namespace

Result<RebaseResult> run_rebase(const Workshop& shop, RebaseTask task, DiskState& parent) {
  RebaseResult result{.parent = task.parent};
  if (task.old_disk) {
    DiskState& disk = *task.old_disk;
    // What the child reads as does not change, and its children are to go on knowing it.
    disk.image(0).set_link_identity(disk.image(0).link_identity());
    OVHD_CHECK((Rebaser{shop, disk, parent}.run(result)));
    OVHD_CHECK(disk.close());
  }
  OVHD_TRY(const HeldFile child, hold(shop, task.child, Lock::writer, std::nullopt));
  const ParentChange change{.linkage = parent.image(0).link_identity(),
                            .linkage2 = Guid{},
                            .relative = relative_way(task.child, task.parent),
                            .name = leaf_of(task.parent),
                            .timestamp = parent_timestamp(*parent.files().front())};
  OVHD_CHECK(set_parent(parent.format(), *child.file, change, shop.host));
  result.recorded = *change.relative;
  return result;
}

}  // namespace openvhd::snapshot
