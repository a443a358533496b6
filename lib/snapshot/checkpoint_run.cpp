#include "snapshot/checkpoint_run.hpp"

#include <algorithm>
#include <utility>

#include "base/try.hpp"
#include "io/parent_open.hpp"
#include "snapshot/merge_record.hpp"
#include "snapshot/merge_run.hpp"

namespace openvhd::snapshot {
namespace {

constexpr std::size_t kMostFiles = 64;

Error invalid(const char* what) noexcept { return {.code = Errc::invalid, .what = what}; }

std::string upper_case(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return text;
}

}  // namespace

CheckpointTree CheckpointRun::tree() const {
  CheckpointTree out{.catalogue = catalogue_path(root_),
                     .current = path_of(catalogue_.current),
                     .current_parent = {},
                     .checkpoints = {},
                     .notes = notes_};
  if (parent_file_) {
    if (const auto* node = catalogue_.with_file(*parent_file_)) out.current_parent = node->id;
  }
  for (const Catalogue::Node& node : catalogue_.nodes) {
    out.checkpoints.push_back({.id = node.id,
                               .name = node.name,
                               .file = path_of(node.file),
                               .parent = node.parent,
                               .created_unix = node.created_unix,
                               .hidden = node.hidden});
  }
  return out;
}

Result<CheckpointTree> CheckpointRun::list() {
  // After a change the image that was given may be gone; the root stays.
  if (root_.empty()) OVHD_CHECK(find_root());
  OVHD_CHECK(load());
  if (catalogue_.merge) {
    notes_.push_back("a deletion is unfinished: the next change of a checkpoint finishes it");
    // The child is what goes last: without it the target holds all.
    if (!shop_.store.exists(path_of(catalogue_.merge->child))) merge_in_tree();
  }
  if (!catalogue_.trash.empty()) {
    notes_.push_back("images are left over that the next change of a checkpoint removes");
  }
  const std::string current = path_of(catalogue_.current);
  if (shop_.store.exists(current)) {
    OVHD_TRY(const HeldFile held, hold(shop_, current, Lock::none, std::nullopt));
    OVHD_TRY(const ImageFacts facts, facts_of(shop_, format_, held));
    if (facts.parent && !facts.parent->paths.empty()) {
      const auto name = plain_parent_name(facts.parent->paths.front().text);
      if (name) parent_file_ = *name;
    }
  }
  return tree();
}

// One change at a time: whoever has the disk open, or changes checkpoints, has this lock.
Status CheckpointRun::lock_root() {
  OVHD_TRY(root_lock_, hold(shop_, root_, Lock::writer, std::nullopt));
  return Ok{};
}

Status CheckpointRun::begin() {
  OVHD_CHECK(find_root());
  OVHD_CHECK(lock_root());
  OVHD_CHECK(load());
  OVHD_CHECK(finish_merge_under_way());
  OVHD_CHECK(expect_no_other_merge());
  OVHD_CHECK(empty_trash());
  OVHD_CHECK(drop_orphans());
  return drop_hidden();
}

// From this moment on the new state is the one that counts (C04). Without checkpoints there is no
// catalogue, so that the disk is one image like any other.
Status CheckpointRun::commit() {
  shop_.blame(catalogue_path(root_));
  if (!catalogue_.nodes.empty() || !catalogue_.trash.empty() || catalogue_.merge) {
    return shop_.store.write_text(catalogue_path(root_), encode(catalogue_));
  }
  if (!shop_.store.exists(catalogue_path(root_))) return Ok{};
  return shop_.store.remove(catalogue_path(root_));
}

Result<std::vector<std::string>> CheckpointRun::children_of(const std::string& file) {
  OVHD_TRY(const Family found, family());
  const auto self = std::ranges::find_if(
      found.members, [&](const FamilyMember& member) { return leaf_of(member.path) == file; });
  std::vector<std::string> out;
  if (self == found.members.end()) return out;
  for (const FamilyMember& member : found.members) {
    if (&member != &*self && member.is_child_of(self->id)) out.push_back(leaf_of(member.path));
  }
  return out;
}

// C06: what is removed is looked at once more, on the disk: nobody may be over it.
Status CheckpointRun::empty_trash() {
  if (catalogue_.trash.empty()) return Ok{};
  for (const std::string& file : catalogue_.trash) {
    if (!shop_.store.exists(path_of(file))) continue;
    OVHD_TRY(const std::vector<std::string> children, children_of(file));
    if (!children.empty()) {
      notes_.push_back(path_of(file) + ": left alone, another image is over it");
      continue;
    }
    OVHD_TRY(const HeldFile alone, hold(shop_, path_of(file), Lock::writer, std::nullopt));
    OVHD_CHECK(shop_.store.remove(path_of(file)));
  }
  catalogue_.trash.clear();
  return commit();
}

// The target takes in the child, gets its place in the tree, and the child goes away.
Status CheckpointRun::merge_away(const std::string& target, const std::string& child) {
  catalogue_.merge = Catalogue::Merge{.child = child, .target = target};
  OVHD_CHECK(commit());
  return finish_merge_under_way();
}

Status CheckpointRun::finish_merge_under_way() {
  if (!catalogue_.merge) return Ok{};
  const auto [child, target] = *catalogue_.merge;
  // The merge locks what it needs by itself.
  root_lock_ = {};
  if (shop_.store.exists(record_path(path_of(target)))) {
    OVHD_TRY(const MergeResult done, finish_merge(shop_, format_, path_of(target), {}));
    notes_.insert(notes_.end(), done.notes.begin(), done.notes.end());
  } else if (shop_.store.exists(path_of(child))) {
    OVHD_TRY(const MergeResult done,
             run_merge(shop_, {.format = format_, .paths = {path_of(child), path_of(target)}}));
    notes_.insert(notes_.end(), done.notes.begin(), done.notes.end());
  }
  if (shop_.store.exists(path_of(child))) {
    shop_.blame(path_of(child));
    return Error{.code = Errc::mismatch,
                 .what = "is not the image that the catalogue says was merged (C04)"};
  }
  OVHD_CHECK(lock_root());
  // Nobody was kept from changing the catalogue meanwhile.
  OVHD_CHECK(load());
  if (catalogue_.merge != Catalogue::Merge{.child = child, .target = target}) return Ok{};
  merge_in_tree();
  return commit();
}

// One that is not of the catalogue's making would take an image of the tree away, or change it.
Status CheckpointRun::expect_no_other_merge() {
  std::vector<std::string> files{leaf_of(root_), catalogue_.current};
  for (const Catalogue::Node& node : catalogue_.nodes) files.push_back(node.file);
  for (const std::string& file : files) {
    if (!shop_.store.exists(record_path(path_of(file)))) continue;
    shop_.blame(path_of(file));
    return Error{
        .code = Errc::denied,
        .what = "a merge into it was interrupted: vhdtool merge --resume finishes it (C05)"};
  }
  return expect_not_being_merged(shop_, path_of(catalogue_.current), {});
}

// The state of the target is gone; the child's is in its file now.
void CheckpointRun::merge_in_tree() {
  const auto [child, target] = *catalogue_.merge;
  auto& nodes = catalogue_.nodes;
  const auto gone = std::ranges::find(nodes, target, &Catalogue::Node::file);
  const auto moved = std::ranges::find(nodes, child, &Catalogue::Node::file);
  if (gone != nodes.end()) {
    for (Catalogue::Node& node : nodes) {
      if (node.parent == gone->id) node.parent = gone->parent;
    }
  }
  if (catalogue_.current == child) catalogue_.current = target;
  if (moved != nodes.end()) moved->file = target;
  if (gone != nodes.end()) nodes.erase(gone);
  catalogue_.merge.reset();
}

// What is begun must come to an end: better not to begin what a merge would refuse.
Result<bool> CheckpointRun::may_merge(const std::string& target, const std::string& child) {
  if (child != catalogue_.current && catalogue_.with_file(child) == nullptr) {
    notes_.push_back(path_of(child) + ": is over a deleted checkpoint, which stays for it");
    return false;
  }
  OVHD_TRY(const HeldFile below, hold(shop_, path_of(target), Lock::none, std::nullopt));
  OVHD_TRY(const HeldFile above, hold(shop_, path_of(child), Lock::none, std::nullopt));
  OVHD_TRY(const ImageFacts target_facts, facts_of(shop_, format_, below));
  OVHD_TRY(const ImageFacts child_facts, facts_of(shop_, format_, above));
  if (target_facts.geometry.virtual_size == child_facts.geometry.virtual_size) return true;
  notes_.push_back(path_of(child) + ": is larger than a deleted checkpoint, which stays for it");
  return false;
}

// A checkpoint that was cut off before it counted leaves an image that nobody knows and that
// stores nothing.
Status CheckpointRun::drop_orphans() {
  if (catalogue_.nodes.empty()) return Ok{};
  OVHD_TRY(const Family found, family());
  for (const FamilyMember& member : found.members) {
    const std::string leaf = leaf_of(member.path);
    const bool known = leaf == catalogue_.current || catalogue_.with_file(leaf) != nullptr ||
                       std::ranges::find(catalogue_.trash, leaf) != catalogue_.trash.end();
    const auto over = [&](const FamilyMember& other) {
      return other.path != member.path && other.is_child_of(member.id);
    };
    if (known || !is_ours(leaf) || std::ranges::any_of(found.members, over)) continue;
    auto held = hold(shop_, member.path, Lock::writer, member.identity);
    if (!held) continue;
    const HeldFile* const alone[] = {&*held};
    OVHD_TRY(auto disk, layers_over(shop_, format_, alone, false, true));
    const std::uint64_t size = disk->geometry().virtual_size;
    std::uint64_t at = 0;
    while (at < size) {
      OVHD_TRY(const MapEntry entry, disk->map({at}, size - at));
      if (entry.kind != MapEntry::Kind::hole) break;
      at += entry.length;
    }
    if (at < size) {
      notes_.push_back(member.path + ": is in no catalogue, and stores something: left alone");
      continue;
    }
    OVHD_CHECK(shop_.store.remove(member.path));
    notes_.push_back(member.path + ": left over from an interruption, and empty: removed");
  }
  return Ok{};
}

// A hidden image that only one other is over is merged with that one; one that nobody is over
// goes away. True: something changed, look again.
Result<bool> CheckpointRun::drop_one_hidden() {
  for (std::size_t i = 0; i < catalogue_.nodes.size(); ++i) {
    if (!catalogue_.nodes[i].hidden) continue;
    const Catalogue::Node node = catalogue_.nodes[i];
    OVHD_TRY(const std::vector<std::string> children, children_of(node.file));
    if (children.size() > 1) continue;
    if (children.size() == 1) {
      const std::string& child = children.front();
      OVHD_TRY(const bool possible, may_merge(node.file, child));
      if (!possible) continue;
      OVHD_CHECK(merge_away(node.file, child));
      return true;
    }
    catalogue_.trash.push_back(node.file);
    catalogue_.nodes.erase(catalogue_.nodes.begin() + static_cast<std::ptrdiff_t>(i));
    OVHD_CHECK(commit());
    OVHD_CHECK(empty_trash());
    return true;
  }
  return false;
}

Status CheckpointRun::drop_hidden() {
  for (std::size_t rounds = 0; rounds < kMostNodes; ++rounds) {
    OVHD_TRY(const bool changed, drop_one_hidden());
    if (!changed) break;
  }
  return Ok{};
}

Status CheckpointRun::expect_depth(const std::string& leaf) {
  std::string path = path_of(leaf);
  for (std::size_t files = 1; files < kMostFiles; ++files) {
    OVHD_TRY(const HeldFile held, hold(shop_, path, Lock::none, std::nullopt));
    OVHD_TRY(const ImageFacts facts, facts_of(shop_, format_, held));
    if (!facts.parent || facts.parent->paths.empty()) return Ok{};
    const auto name = plain_parent_name(facts.parent->paths.front().text);
    if (!name || !shop_.store.exists(beside(path, *name))) return Ok{};
    path = beside(path, *name);
  }
  return Error{.code = Errc::unsupported, .what = "more files in the chain than allowed (C02)"};
}

std::string CheckpointRun::new_leaf_name() const {
  const std::string root = leaf_of(root_);
  return root.substr(0, root.rfind('.')) + "_" + upper_case(to_string(shop_.host.random_guid())) +
         (format_ == Format::vhdx ? ".avhdx" : ".avhd");
}

Result<std::string> CheckpointRun::make_leaf(const std::string& over) {
  OVHD_CHECK(expect_depth(over));
  OVHD_TRY(const HeldFile held, hold(shop_, path_of(over), Lock::none, std::nullopt));
  OVHD_TRY(const ImageFacts facts, facts_of(shop_, format_, held));
  std::string leaf = new_leaf_name();
  ChildSpec spec{.geometry = facts.geometry,
                 .parent_linkage = facts.id,
                 .identifier = facts.disk_id,
                 .relative = ".\\" + over,
                 .name = over,
                 .timestamp = parent_timestamp(*held.file)};
  spec.geometry.block_size = 0;
  if (format_ == Format::vhd) spec.geometry.physical_sector_size = 512;
  shop_.blame(path_of(leaf));
  OVHD_CHECK(shop_.store.create(
      path_of(leaf), [&](File& file) { return create_child(format_, file, spec, shop_.host); }));
  return leaf;
}

Status CheckpointRun::judge_name(const std::string& name) const {
  if (!is_checkpoint_name(name)) return invalid("a checkpoint's name is text of 1 to 255 bytes");
  if (parse_guid(name)) return invalid("a checkpoint's name is no GUID");
  const auto taken = [&](const Catalogue::Node& node) { return !node.hidden && node.name == name; };
  if (std::ranges::any_of(catalogue_.nodes, taken)) {
    return invalid("another checkpoint has this name");
  }
  return Ok{};
}

Result<std::size_t> CheckpointRun::index_of(const std::string& which) const {
  const auto id = parse_guid(which);
  for (std::size_t i = 0; i < catalogue_.nodes.size(); ++i) {
    const Catalogue::Node& node = catalogue_.nodes[i];
    if (!node.hidden && (id ? node.id == *id : node.name == which)) return i;
  }
  shop_.blame(root_);
  return Error{.code = Errc::not_found, .what = "the disk has no such checkpoint"};
}

Result<CheckpointTree> CheckpointRun::create(const std::string& name) {
  OVHD_CHECK(begin());
  shop_.blame(root_);
  OVHD_CHECK(judge_name(name));
  if (catalogue_.nodes.size() == kMostNodes) return invalid("a disk has at most 1024 checkpoints");
  HeldFile alone;
  if (catalogue_.current != leaf_of(root_)) {
    OVHD_TRY(alone, hold(shop_, path_of(catalogue_.current), Lock::writer, std::nullopt));
  }
  OVHD_TRY(const CheckpointTree before, list());
  OVHD_TRY(std::string leaf, make_leaf(catalogue_.current));
  const Guid id = shop_.host.random_guid();
  catalogue_.nodes.push_back({.id = id,
                              .name = name,
                              .file = catalogue_.current,
                              .parent = before.current_parent,
                              .created_unix = shop_.host.now_unix()});
  parent_file_ = catalogue_.current;
  catalogue_.current = std::move(leaf);
  OVHD_CHECK(commit());
  return tree();
}

Result<CheckpointTree> CheckpointRun::apply(const std::string& which, bool discard) {
  OVHD_CHECK(begin());
  OVHD_TRY(const std::size_t index, index_of(which));
  const Catalogue::Node node = catalogue_.nodes[index];
  if (catalogue_.nodes.size() == kMostNodes) return invalid("a disk has at most 1024 checkpoints");
  const std::string old = catalogue_.current;
  OVHD_TRY(HeldFile alone, hold(shop_, path_of(old), Lock::writer, std::nullopt));
  OVHD_TRY(const CheckpointTree before, list());
  OVHD_TRY(std::string leaf, make_leaf(node.file));
  if (discard) {
    catalogue_.trash.push_back(old);
  } else {
    const Guid id = shop_.host.random_guid();
    catalogue_.nodes.push_back({.id = id,
                                .name = "before " + to_string(id).substr(0, 8),
                                .file = old,
                                .parent = before.current_parent,
                                .created_unix = shop_.host.now_unix()});
  }
  parent_file_ = node.file;
  catalogue_.current = std::move(leaf);
  OVHD_CHECK(commit());
  alone = {};
  OVHD_CHECK(empty_trash());
  OVHD_CHECK(drop_hidden());
  return list();
}

Result<CheckpointTree> CheckpointRun::remove(const std::string& which) {
  OVHD_CHECK(begin());
  OVHD_TRY(const std::size_t index, index_of(which));
  Catalogue::Node& node = catalogue_.nodes[index];
  node.hidden = true;
  node.name = "deleted " + to_string(node.id).substr(0, 8);
  OVHD_CHECK(commit());
  OVHD_CHECK(drop_hidden());
  parent_file_.reset();
  return list();
}

Result<CheckpointTree> CheckpointRun::rename(const std::string& which, const std::string& name) {
  OVHD_CHECK(begin());
  OVHD_TRY(const std::size_t index, index_of(which));
  shop_.blame(root_);
  if (catalogue_.nodes[index].name != name) OVHD_CHECK(judge_name(name));
  catalogue_.nodes[index].name = name;
  OVHD_CHECK(commit());
  return list();
}

}  // namespace openvhd::snapshot
