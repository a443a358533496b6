#include "snapshot/online/merge_in_use.hpp"

#include <algorithm>
#include <utility>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "image/live/kept_file.hpp"
#include "snapshot/online/store_in_use.hpp"

namespace openvhd::snapshot {
namespace {

constexpr std::uint64_t kPiece = kMiB;                 // moved at once
constexpr std::uint64_t kMostAtOnce = kGiB;            // of one look at a map
constexpr std::uint64_t kMilestoneBytes = 256 * kMiB;  // moved between two durable notes
constexpr std::uint64_t kLittle = 4 * kMiB;            // what requests may wait for
constexpr unsigned kRounds = 32;
// Who writes as fast as this makes room must wait for it at last.
constexpr unsigned kPacedRounds = 4;
// How often a still moment that cannot be had is asked for again, each for seconds.
constexpr unsigned kPatience = 60;

std::uint64_t bytes_of(const std::vector<WriteNotes::Run>& runs) {
  std::uint64_t out = 0;
  for (const WriteNotes::Run& run : runs) out += run.length;
  return out;
}

}  // namespace

MergeInUse::MergeInUse(const Workshop& shop, detail::DiskState& disk, Format format,
                       std::size_t index, const Pace& pace)
    : shop_{shop}, disk_{disk}, format_{format}, index_{index}, pace_{pace}, memory_{kPiece} {}

Status MergeInUse::tell(const HeldFile& child, const ParentChange& change) {
  const auto edit = [&](File& file) { return set_parent(format_, file, change, shop_.host); };
  if (child.file->identity() != disk_.files().front()->identity()) return edit(*child.file);
  const Status told = disk_.still([&] { return disk_.edit_leaf(edit); });
  if (source_ && is_leaf()) source_.emplace(disk_, index_, true);
  return told;
}

Status MergeInUse::open_target(HeldFile& target, const Guid& id) {
  auto* const lent = dynamic_cast<LentFile*>(target.file.get());
  if (lent == nullptr) {
    return Error{.code = Errc::invalid, .what = "the target is no layer of the disk in use"};
  }
  target_file_ = std::shared_ptr<File>{std::move(target.file)};
  target.file = std::make_unique<KeptFile>(target_file_);
  shop_.blame(target.path);
  LayerOpenOptions how = disk_.how();
  how.writable = true;
  OVHD_TRY(OpenedImage image,
           open_layer(format_, std::make_unique<KeptFile>(target_file_), how, shop_.host));
  image.layer->set_link_identity(id);
  if (is_leaf()) notes_ = std::make_shared<WriteNotes>(disk_.virtual_size());
  OVHD_CHECK(disk_.still([&] {
    disk_.replace_layer(index_ + 1, std::move(image));
    disk_.note_writes(notes_);
    return Status{Ok{}};
  }));
  lent->keep();
  source_.emplace(disk_, index_, true);
  target_.emplace(disk_, index_ + 1, false);
  return Ok{};
}

Status MergeInUse::copy(HeldFile& target, const Guid& id, const Milestone& milestone,
                        MovedBytes& moved) {
  if (memory_.span().empty()) return Error{.code = Errc::io, .what = "no memory to copy with"};
  OVHD_CHECK(open_target(target, id));
  Status outcome = copy_all(milestone, moved);
  if (outcome && is_leaf()) outcome = copy_noted(moved);
  if (!outcome) let_go();
  return outcome;
}

/// What got there stays, and counts once the merge has been resumed.
void MergeInUse::let_go() noexcept {
  static_cast<void>(disk_.still([&] {
    disk_.note_writes(nullptr);
    return Status{Ok{}};
  }));
  static_cast<void>(target_->close());
  static_cast<void>(target_file_->change_lock(Lock::reader));
}

Status MergeInUse::copy_entry(const MapEntry& entry, bool paced, MovedBytes& moved) {
  if (entry.kind == MapEntry::Kind::hole) return Ok{};
  const bool zero = entry.kind == MapEntry::Kind::zero;
  const std::uint64_t step = zero ? kMostAtOnce : kPiece;
  for (std::uint64_t done = 0; done < entry.length;) {
    const std::uint64_t part = std::min(step, entry.length - done);
    if (paced) pace_.begin();
    if (zero) {
      OVHD_CHECK(target_->zero(entry.at + done, part));
      moved.cleared += part;
    } else {
      const auto bytes = memory_.span().first(part);
      OVHD_CHECK(source_->read(entry.at + done, bytes));
      OVHD_CHECK(target_->write(entry.at + done, bytes));
      moved.copied += part;
    }
    if (paced) pace_.end(zero ? 0 : part);
    done += part;
  }
  return Ok{};
}

Status MergeInUse::copy_run(VirtualOffset at, std::uint64_t length, bool paced, MovedBytes& moved) {
  for (std::uint64_t done = 0; done < length;) {
    OVHD_TRY(const MapEntry entry, source_->map(at + done, std::min(length - done, kMostAtOnce)));
    OVHD_CHECK(copy_entry(entry, paced, moved));
    done += entry.length;
  }
  return Ok{};
}

Status MergeInUse::copy_all(const Milestone& milestone, MovedBytes& moved) {
  const std::uint64_t size = disk_.virtual_size();
  std::uint64_t noted = 0;
  for (std::uint64_t at = 0; at < size;) {
    if (!shop_.update(at, size)) return stopped();
    OVHD_TRY(MapEntry entry, source_->map({at}, std::min(size - at, kMostAtOnce)));
    // So that somebody who says stop is heard.
    if (entry.kind == MapEntry::Kind::data) entry.length = std::min(entry.length, 64 * kPiece);
    OVHD_CHECK(copy_entry(entry, true, moved));
    at += entry.length;
    const std::uint64_t all = moved.copied + moved.cleared;
    if (all - noted < kMilestoneBytes || is_leaf()) continue;
    // A leaf goes on changing under the same id: of it nobody could believe a note.
    noted = all;
    OVHD_CHECK(target_->flush());
    OVHD_CHECK(milestone(at));
  }
  return Ok{};
}

/// Until little is left, which is in rest_.
Status MergeInUse::copy_noted(MovedBytes& moved) {
  for (unsigned round = 0;; ++round) {
    OVHD_CHECK(disk_.still([&] {
      rest_ = notes_->take();
      return Status{Ok{}};
    }));
    if (bytes_of(rest_) <= kLittle || round == kRounds) break;
    const std::uint64_t size = disk_.virtual_size();
    for (const WriteNotes::Run& run : std::exchange(rest_, {})) {
      if (!shop_.update(size, size)) return stopped();
      OVHD_CHECK(copy_run(run.at, run.length, round < kPacedRounds, moved));
    }
  }
  // With little to do for the last sync.
  return target_->flush();
}

Status MergeInUse::settle(const Tail& tail) {
  return is_leaf() ? switch_leaf(tail) : drop_middle(tail);
}

Status MergeInUse::drop_middle(const Tail& tail) {
  bool past = false;
  Status outcome = target_->close();
  if (outcome) outcome = tail(disk_.image(index_).link_identity(), past);
  // Then the merge is done, and what is left is that the chain knows it: a queue's thread that
  // rests with completed requests for long does not turn that into a failure.
  const bool merged = outcome.has_value();
  for (unsigned more = 0; merged && more < kPatience; ++more) {
    outcome = disk_.still([&] {
      disk_.drop_layer(index_);
      return Status{Ok{}};
    });
    if (outcome || outcome.error().code != Errc::busy) break;
  }
  // Readers may come, as to any parent. A host that fails here leaves a lock too many.
  static_cast<void>(target_file_->change_lock(Lock::reader));
  return outcome;
}

// From the record's next stage on the leaf must not change under the id that the record knows, and
// once it may be gone not at all: whoever cannot go on to the parent then has no disk to go on
// with.
Status MergeInUse::switch_leaf(const Tail& tail) {
  bool past = false;
  const Status outcome = disk_.still([&]() -> Status {
    const auto last = [&]() -> Status {
      const std::vector<WriteNotes::Run> noted = notes_->take();
      rest_.insert(rest_.end(), noted.begin(), noted.end());
      for (const WriteNotes::Run& run : rest_) {
        OVHD_CHECK(copy_run(run.at, run.length, false, late_));
      }
      // Both: what a power cut leaves of the leaf reads as the parent does.
      OVHD_CHECK(disk_.flush());
      OVHD_CHECK(target_->flush());
      return tail(disk_.image(0).link_identity(), past);
    };
    const Status ended = last();
    disk_.note_writes(nullptr);
    if (ended) {
      disk_.drop_layer(0);
      return Ok{};
    }
    if (past) {
      disk_.break_leaf(ended.error());
    } else {
      // Fails only where the disk then does.
      static_cast<void>(disk_.renew_leaf());
    }
    return ended;
  });
  if (!outcome && !past) let_go();
  return outcome;
}

Result<MergeResult> merge_in_use(const Workshop& shop, detail::DiskState& disk, Format format,
                                 std::size_t layer, const std::vector<std::string>& child_dirs,
                                 const Pace& pace) {
  const std::vector<std::string> paths = disk.paths_now();
  if (layer >= paths.size() || paths.size() - layer < 2) {
    return Error{.code = Errc::out_of_range, .what = "the disk has no such layer with a parent"};
  }
  std::vector<std::shared_ptr<File>> files;
  OVHD_CHECK(disk.still([&] {
    for (std::size_t i = 0; i < paths.size(); ++i) files.push_back(disk.share_file(i));
    return Status{Ok{}};
  }));
  const std::vector<FileIdentity> identities{files[layer]->identity(),
                                             files[layer + 1]->identity()};
  StoreInUse store{shop.store, std::move(files)};
  const Workshop beside{.store = store,
                        .host = shop.host,
                        .driver = shop.driver,
                        .progress = shop.progress,
                        .report = shop.report};
  MergeInUse side{beside, disk, format, layer, pace};
  return run_merge(beside,
                   {.format = format,
                    .paths = {paths[layer], paths[layer + 1]},
                    .identities = identities,
                    .child_dirs = child_dirs},
                   side);
}

}  // namespace openvhd::snapshot
