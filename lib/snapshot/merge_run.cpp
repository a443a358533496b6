// Merging into a parent, step by step: every step can be repeated, and each is durable before the
// next one begins (C05).
#include "snapshot/merge_run.hpp"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <utility>

#include "base/try.hpp"
#include "image/open.hpp"
#include "snapshot/family.hpp"
#include "snapshot/merge_copy.hpp"
#include "snapshot/merge_record.hpp"

namespace openvhd::snapshot {
namespace {

using Stage = MergeRecord::Stage;

class MergeRun {
 public:
  MergeRun(const Workshop& shop, Format format, std::string target,
           std::vector<std::string> child_dirs, MergeSide* side = nullptr)
      : shop_{shop},
        format_{format},
        target_path_{std::move(target)},
        child_dirs_{std::move(child_dirs)},
        side_{side} {}

  Status begin(const MergeTask& task);
  Status resume();
  Status resume_beside(const MergeTask& task);
  Result<MergeResult> go();
  Result<MergeResult> go_beside();

 private:
  Status hold_all(const std::vector<FileIdentity>& identities);
  Status judge_chain();
  Status find_children(bool judge_siblings);
  Status note_target_id();
  Status give_up_siblings();
  Status copy();
  Status tell_of_new_id();
  Status tell(const HeldFile& child, const ParentChange& change);
  Result<bool> child_has_moved_on();
  Status catch_up();
  Status copy_layers(const std::vector<const HeldFile*>& sources, const Milestone& milestone);
  Status relink();
  Status relink_kept();
  Status remove();
  Status enter(Stage stage);
  bool is_merged_file(const FileIdentity& identity) const;
  bool names_merged_file(const FamilyMember& member) const;
  /// A child that is to stay, with more than one level or for its own sake.
  bool child_goes_on() const { return record_.keep || files_.size() > 1; }

  const Workshop& shop_;
  Format format_;
  std::string target_path_;
  std::vector<std::string> child_dirs_;
  MergeSide* side_;
  MergeRecord record_;
  // The merged files, the child first; without a file where it is gone already.
  std::vector<HeldFile> files_;
  HeldFile target_;
  std::vector<HeldFile> children_;  // of the child
  std::vector<HeldFile> siblings_;  // given up
  std::vector<HeldFile> told_;      // of a merge that goes on: those over the target by now
  MergeResult result_;
};

/// A record may be read from elsewhere than where it was written.
std::string absolute_path(const std::string& path) {
  std::error_code failed;
  const std::filesystem::path absolute = std::filesystem::absolute(path, failed);
  return failed ? path : absolute.string();
}

/// How a record names a file: by its leaf where that is enough to find it again, so that a
/// directory may move with all that is in it.
std::string recorded_name(const std::string& target, const std::string& path) {
  return directory_of(path) == directory_of(target) ? leaf_of(path) : absolute_path(path);
}

Status MergeRun::hold_all(const std::vector<FileIdentity>& identities) {
  const auto expected = [&](std::size_t i) {
    return i < identities.size() ? std::optional{identities[i]} : std::nullopt;
  };
  for (std::size_t i = 0; i < files_.size(); ++i) {
    auto held = hold(shop_, files_[i].path, Lock::writer, expected(i));
    // Of what was to be removed some may be gone; its directory, where children are looked for,
    // may not.
    const bool gone = !held && held.error().code == Errc::not_found;
    if (gone && record_.stage != Stage::copy && (i != 0 || record_.stage == Stage::remove)) {
      continue;
    }
    if (!held) return held.error();
    files_[i] = *std::move(held);
  }
  OVHD_TRY(target_, hold(shop_, target_path_, Lock::writer, expected(files_.size())));
  return Ok{};
}

// C01 again, under the locks, and what only a merge asks for.
Status MergeRun::judge_chain() {
  OVHD_TRY(const ImageFacts target, facts_of(shop_, format_, target_));
  ImageFacts above;
  for (std::size_t i = 0; i < files_.size(); ++i) {
    OVHD_TRY(const ImageFacts facts, facts_of(shop_, format_, files_[i]));
    if (i != 0 && !(above.parent->linkage == facts.id || above.parent->linkage2 == facts.id)) {
      return Error{.code = Errc::mismatch,
                   .what = "the parent is not the one it was made from (C01)"};
    }
    if (!facts.parent) {
      return Error{.code = Errc::invalid,
                   .what =
                       "the image has no parent; an unfinished merge of it is given up by "
                       "removing the record, and the target with it (C05)"};
    }
    record_.ids.push_back(facts.id);
    above = facts;
  }
  if (above.parent->linkage != target.id && above.parent->linkage2 != target.id) {
    return Error{.code = Errc::mismatch,
                 .what = "the parent is not the one it was made from (C01)"};
  }
  OVHD_TRY(const ImageFacts child, facts_of(shop_, format_, files_.front()));
  if (child.geometry.virtual_size != target.geometry.virtual_size) {
    return Error{.code = Errc::mismatch,
                 .what =
                     "the child is larger than what it would be merged into: pull instead, "
                     "or resize that first (C01)"};
  }
  record_.old_id = target.id;
  return Ok{};
}

bool MergeRun::is_merged_file(const FileIdentity& identity) const {
  const auto is = [&](const HeldFile& held) {
    return held.file && held.file->identity() == identity;
  };
  return is(target_) || std::ranges::any_of(files_, is);
}

// A copy of a VHD has the same id for ever: whose child an image is only its path tells.
bool MergeRun::names_merged_file(const FamilyMember& member) const {
  if (format_ != Format::vhd) return true;
  for (const ParentPath& path : member.parent->paths) {
    if (path.kind != ParentPath::Kind::relative) continue;
    std::string way = path.text;
    std::ranges::replace(way, '\\', '/');
    const auto file = shop_.store.open(
        beside(member.path, way.starts_with("./") ? way.substr(2) : way), Lock::none);
    return file && is_merged_file((*file)->identity());
  }
  return false;
}

Status MergeRun::find_children(bool judge_siblings) {
  std::vector<std::string> directories{directory_of(target_path_)};
  for (const HeldFile& held : files_) directories.push_back(directory_of(held.path));
  directories.insert(directories.end(), child_dirs_.begin(), child_dirs_.end());
  OVHD_TRY(Family family, find_family(shop_.store, shop_.host, format_, directories));
  for (const Family::Unread& stranger : family.strangers) {
    result_.notes.push_back("not looked into: " + describe(stranger.error, stranger.path));
  }
  if (!family.unread.empty() && !record_.force_siblings) {
    shop_.blame(family.unread.front().path);
    return family.unread.front().error;
  }
  for (const FamilyMember& member : family.members) {
    if (is_merged_file(member.identity)) continue;
    if (member.is_child_of(record_.ids.front())) {
      // One that is gone has told its children already.
      if (format_ == Format::vhd && !files_.front().file) continue;
      if (!names_merged_file(member)) {
        if (record_.force_siblings) {
          result_.notes.push_back(member.path + ": left alone, it names another file");
          continue;
        }
        shop_.blame(member.path);
        return Error{.code = Errc::denied,
                     .what =
                         "it has the parent's id and names another file, a copy perhaps: move "
                         "it away, or force (C03)"};
      }
      OVHD_TRY(HeldFile child, hold(shop_, member.path, Lock::writer, member.identity));
      children_.push_back(std::move(child));
      continue;
    }
    if (!judge_siblings &&
        (member.is_child_of(record_.new_id) || member.is_child_of(record_.old_id))) {
      // It may have been told just when the merge was cut off. Who has it open has settled it.
      auto child = hold(shop_, member.path, Lock::writer, member.identity);
      if (child) told_.push_back(*std::move(child));
      continue;
    }
    const auto is_parent = [&](const Guid& id) { return member.is_child_of(id); };
    const bool sibling =
        judge_siblings && (is_parent(record_.old_id) ||
                           std::any_of(record_.ids.begin() + 1, record_.ids.end(), is_parent));
    if (!sibling) continue;
    if (!record_.force_siblings) {
      shop_.blame(member.path);
      return Error{.code = Errc::denied,
                   .what = "its parent would change under it: merge it first, or force (C03)"};
    }
    if (!names_merged_file(member)) {
      result_.notes.push_back(member.path + ": left alone, it names another file");
      continue;
    }
    OVHD_TRY(HeldFile given_up, hold(shop_, member.path, Lock::writer, member.identity));
    siblings_.push_back(std::move(given_up));
    result_.notes.push_back(member.path + ": cannot be used any more, its parent has changed");
  }
  return Ok{};
}

Status MergeRun::enter(Stage stage) {
  record_.stage = stage;
  shop_.blame(record_path(target_path_));
  return write_record(shop_.store, target_path_, record_);
}

Status MergeRun::begin(const MergeTask& task) {
  for (std::size_t i = 0; i + 1 < task.paths.size(); ++i) {
    if (shop_.store.exists(record_path(task.paths[i]))) {
      shop_.blame(task.paths[i]);
      return Error{.code = Errc::invalid,
                   .what = "a merge into it was interrupted: resume that first (C05)"};
    }
    files_.push_back({.path = task.paths[i], .file = nullptr});
    record_.files.push_back(recorded_name(target_path_, task.paths[i]));
  }
  for (const std::string& directory : child_dirs_) {
    record_.child_dirs.push_back(absolute_path(directory));
  }
  record_.keep = task.keep;
  record_.force_siblings = task.force_siblings;
  OVHD_CHECK(hold_all(task.identities));
  OVHD_CHECK(judge_chain());
  OVHD_CHECK(find_children(true));
  record_.new_id = shop_.host.random_guid();
  // Before anything is changed: what is to finish it can be read again, whatever is noted in it.
  MergeRecord longest = record_;
  longest.done = std::numeric_limits<std::uint64_t>::max();
  longest.stage = Stage::remove;
  const auto again = decode_record(encode(longest));
  if (!again || *again != longest) {
    shop_.blame(record_path(target_path_));
    return Error{.code = Errc::invalid,
                 .what = "names that are not UTF-8 or too long for a merge record (C05)"};
  }
  return enter(Stage::copy);
}

Status MergeRun::resume() {
  shop_.blame(record_path(target_path_));
  OVHD_TRY(record_, read_record(shop_.store, target_path_));
  result_.resumed = true;
  child_dirs_.insert(child_dirs_.end(), record_.child_dirs.begin(), record_.child_dirs.end());
  for (const std::string& name : record_.files) {
    files_.push_back({.path = recorded_path(target_path_, name), .file = nullptr});
  }
  OVHD_CHECK(hold_all({}));
  if (record_.stage == Stage::copy) {
    std::vector<Guid> ids = std::exchange(record_.ids, {});
    const Guid old_id = record_.old_id;
    OVHD_CHECK(judge_chain());
    record_.old_id = old_id;
    // Who wrote to the child since has made an id of its own; of VHDs nobody can tell.
    if (format_ != Format::vhdx || ids != record_.ids) record_.done = 0;
    OVHD_CHECK(enter(Stage::copy));
    // Nobody has been told of anything: whoever is over the target is a sibling.
    return find_children(true);
  }
  OVHD_TRY(const bool moved_on, child_has_moved_on());
  // Those that are over the target by now were found the last time, or are no siblings any more.
  OVHD_CHECK(find_children(false));
  return moved_on ? catch_up() : Ok{};
}

// The child is a disk as long as it is there: somebody may have written to it since its data was
// taken. A VHDX then has another id; of VHDs nobody can tell. A child that stays needs nothing.
Result<bool> MergeRun::child_has_moved_on() {
  if (record_.keep || !files_.front().file) return false;
  OVHD_TRY(const ImageFacts child, facts_of(shop_, format_, files_.front()));
  if (format_ == Format::vhd) return child.id == record_.ids.front();
  if (child.id == record_.ids.front() || !child.parent) return false;
  // From now on this is the child, with the children that it has.
  record_.ids.front() = child.id;
  return true;
}

// Takes in what was written to the child since. All that the target holds of the others it has
// already, under the id that whoever is over it knows: what the child reads as does not change.
Status MergeRun::catch_up() {
  OVHD_TRY(const ImageFacts target, facts_of(shop_, format_, target_));
  std::vector<const HeldFile*> sources;
  const Error other{.code = Errc::mismatch,
                    .what = "the child is not over the image that it was merged into (C01)"};
  for (const HeldFile& held : files_) {
    if (!held.file) return other;
    sources.push_back(&held);
    OVHD_TRY(const ImageFacts facts, facts_of(shop_, format_, held));
    if (!facts.parent) return other;
    const bool over_target =
        facts.parent->linkage == target.id || facts.parent->linkage2 == target.id;
    if (over_target) break;
    if (&held == &files_.back()) return other;
  }
  if (format_ == Format::vhdx) {
    // Whoever has been told already was made from what the child read as before.
    for (const HeldFile& child : told_) {
      OVHD_TRY(const ImageFacts facts, facts_of(shop_, format_, child));
      if (record_.force_siblings || facts.parent->linkage != target.id) continue;
      return Error{.code = Errc::denied,
                   .what =
                       "the merged child was written to, which would change its parent: pull "
                       "it first (C03)"};
    }
  }
  // The record stays where it is: what is cut off here is done again.
  OVHD_CHECK(copy_layers(sources, [](std::uint64_t) { return Status{Ok{}}; }));
  return enter(Stage::relink);
}

Result<MergeResult> MergeRun::go() {
  result_.disk = target_path_;
  if (record_.stage == Stage::copy) OVHD_CHECK(copy());
  if (record_.stage == Stage::relink) OVHD_CHECK(relink());
  OVHD_CHECK(remove());
  return std::move(result_);
}

// Before anything that they read changes. The id of a VHD never changes, and a VHDX between knows
// its parent on: only a parent that is nowhere keeps a sibling from reading a mixture.
Status MergeRun::give_up_siblings() {
  for (const HeldFile& sibling : siblings_) {
    shop_.blame(sibling.path);
    OVHD_CHECK(set_parent(format_, *sibling.file,
                          {.linkage = shop_.host.random_guid(), .linkage2 = Guid{}}, shop_.host));
  }
  return Ok{};
}

Status MergeRun::tell(const HeldFile& child, const ParentChange& change) {
  shop_.blame(child.path);
  if (side_ != nullptr) return side_->tell(child, change);
  return set_parent(format_, *child.file, change, shop_.host);
}

Status MergeRun::tell_of_new_id() {
  if (format_ != Format::vhdx) return Ok{};
  OVHD_TRY(const ImageFacts target, facts_of(shop_, format_, target_));
  // Both, since the image may have named the target of now by the second of its links alone.
  return tell(files_.back(), {.linkage = target.id, .linkage2 = record_.new_id});
}

// A retry: the merge that was stopped is this one, and was copying.
Status MergeRun::resume_beside(const MergeTask& task) {
  OVHD_TRY(const MergeRecord record, read_record(shop_.store, target_path_));
  const std::vector<std::string> files{recorded_name(target_path_, task.paths.front())};
  if (record.stage != Stage::copy || record.files != files) {
    return Error{.code = Errc::denied,
                 .what = "another merge into it was interrupted: finish it first (C05)"};
  }
  return resume();
}

Result<MergeResult> MergeRun::go_beside() {
  result_.disk = target_path_;
  OVHD_CHECK(give_up_siblings());
  OVHD_CHECK(tell_of_new_id());
  MovedBytes moved;
  const auto milestone = [&](std::uint64_t done) -> Status {
    record_.done = done;
    return enter(Stage::copy);
  };
  OVHD_CHECK(side_->copy(target_, record_.new_id, milestone, moved));
  const auto tail = [&](const Guid& id, bool& past) -> Status {
    // Of a leaf: the one under which the last of it was taken.
    record_.ids.front() = id;
    OVHD_CHECK(enter(Stage::relink));
    past = true;
    OVHD_CHECK(relink());
    return remove();
  };
  OVHD_CHECK(side_->settle(tail));
  result_.copied_bytes = moved.copied;
  result_.cleared_bytes = moved.cleared;
  return std::move(result_);
}

Status MergeRun::copy() {
  OVHD_CHECK(give_up_siblings());
  OVHD_CHECK(tell_of_new_id());
  std::vector<const HeldFile*> sources;
  for (const HeldFile& held : files_) sources.push_back(&held);
  const auto milestone = [&](std::uint64_t done) -> Status {
    record_.done = done;
    return enter(Stage::copy);
  };
  OVHD_CHECK(copy_layers(sources, milestone));
  return enter(Stage::relink);
}

Status MergeRun::copy_layers(const std::vector<const HeldFile*>& sources,
                             const Milestone& milestone) {
  OVHD_TRY(auto source, layers_over(shop_, format_, sources, false, true));
  const HeldFile* const into[] = {&target_};
  OVHD_TRY(auto target, layers_over(shop_, format_, into, true, false));
  target->image(0).set_link_identity(record_.new_id);
  const auto durable = [&](std::uint64_t done) -> Status {
    OVHD_CHECK(target->flush());
    return milestone(done);
  };
  // Once the record is past copying, all of the disk counts again.
  const std::uint64_t from = record_.stage == Stage::copy ? record_.done : 0;
  MovedBytes moved;
  const Status outcome = move_into(shop_, *source, *target, from, durable, moved);
  result_.copied_bytes = moved.copied;
  result_.cloned_bytes = moved.cloned;
  result_.cleared_bytes = moved.cleared;
  // What got there is kept, also when somebody said stop.
  if (outcome || outcome.error().code == Errc::cancelled) {
    if (outcome) shop_.blame(target_path_);
    if (const Status closed = target->close(); outcome && !closed) return closed;
  }
  return outcome;
}

// The target reads as the child does: whoever is over the child may be over the target.
Status MergeRun::relink() {
  OVHD_TRY(const ImageFacts target, facts_of(shop_, format_, target_));
  for (const HeldFile& child : children_) {
    OVHD_CHECK(tell(child, change_to(child.path, target_, target.id)));
    result_.reparented.push_back(child.path);
  }
  for (const HeldFile& child : told_) {
    shop_.blame(child.path);
    OVHD_CHECK(set_parent(format_, *child.file, {}, shop_.host));
  }
  if (child_goes_on()) {
    const HeldFile& child = files_.front();
    shop_.blame(child.path);
    OVHD_CHECK(
        set_parent(format_, *child.file, change_to(child.path, target_, target.id), shop_.host));
  }
  if (record_.keep) OVHD_CHECK(relink_kept());
  return enter(Stage::remove);
}

// The images between are no disks any more: their parent has changed under them. None may open as
// if nothing had happened.
Status MergeRun::relink_kept() {
  if (files_.size() < 2 || !files_.back().file) return Ok{};
  ParentChange change{.linkage2 = Guid{}};
  // The id of a VHD never changes, so that only another one can tell.
  if (format_ == Format::vhd) change.linkage = shop_.host.random_guid();
  shop_.blame(files_.back().path);
  return set_parent(format_, *files_.back().file, change, shop_.host);
}

Status MergeRun::remove() {
  // The child last: as long as it is there it is a disk that reads as it should.
  for (std::size_t i = files_.size(); i-- > 0 && !record_.keep;) {
    HeldFile& held = files_[i];
    if (!held.file) continue;
    OVHD_TRY(const ImageFacts facts, facts_of(shop_, format_, held));
    if (facts.id != record_.ids[i]) {
      result_.notes.push_back(held.path + ": left alone, it is not the image that was merged");
      continue;
    }
    shop_.blame(held.path);
    OVHD_CHECK(shop_.store.remove(held.path));
    result_.removed.push_back(held.path);
    held.file.reset();
  }
  shop_.blame(record_path(target_path_));
  return shop_.store.remove(record_path(target_path_));
}

}  // namespace

Result<MergeResult> run_merge(const Workshop& shop, const MergeTask& task) {
  MergeRun run{shop, task.format, task.paths.back(), task.child_dirs};
  OVHD_CHECK(run.begin(task));
  return run.go();
}

Result<MergeResult> run_merge(const Workshop& shop, const MergeTask& task, MergeSide& side) {
  MergeRun run{shop, task.format, task.paths.back(), task.child_dirs, &side};
  const bool again = shop.store.exists(record_path(task.paths.back()));
  // Nobody writes to images while they are looked into.
  OVHD_CHECK(side.still([&] { return again ? run.resume_beside(task) : run.begin(task); }));
  return run.go_beside();
}

Result<MergeResult> finish_merge(const Workshop& shop, Format format, const std::string& target,
                                 const std::vector<std::string>& child_dirs) {
  MergeRun run{shop, format, target, child_dirs};
  OVHD_CHECK(run.resume());
  return run.go();
}

}  // namespace openvhd::snapshot
