// Finding a disk's checkpoints: by the catalogue, or by what its images say.
#include <algorithm>
#include <map>
#include <utility>

#include "base/try.hpp"
#include "io/parent_open.hpp"
#include "snapshot/checkpoint_run.hpp"

namespace openvhd::snapshot {
namespace {

constexpr std::size_t kDeepest = 64;

/// "disk" of "disk.vhdx".
std::string stem_of(const std::string& leaf) { return leaf.substr(0, leaf.rfind('.')); }

/// "disk" of "disk_01234567-....avhdx"; empty for other names.
std::string disk_of(const std::string& leaf) {
  const std::string stem = stem_of(leaf);
  const std::size_t mark = stem.rfind('_');
  if (mark == std::string::npos || mark == 0 || !parse_guid(stem.substr(mark + 1))) return {};
  return stem.substr(0, mark);
}

}  // namespace

// The nearest of the image and those below it that has a catalogue; where it was lost, the one
// whose name the others' names are made of; else the image itself.
Status CheckpointRun::find_root() {
  root_ = image_;
  std::string path = image_;
  const std::string disk = disk_of(leaf_of(image_));
  std::string by_name;
  for (std::size_t depth = 0; depth < kDeepest; ++depth) {
    if (shop_.store.exists(catalogue_path(path))) {
      root_ = path;
      return Ok{};
    }
    if (!disk.empty() && stem_of(leaf_of(path)) == disk) by_name = path;
    OVHD_TRY(const HeldFile held, hold(shop_, path, Lock::none, std::nullopt));
    OVHD_TRY(const ImageFacts facts, facts_of(shop_, format_, held));
    if (!facts.parent || facts.parent->paths.empty()) break;
    // Checkpoints lie in one directory, and what leads out of it is none of them.
    const auto name = plain_parent_name(facts.parent->paths.front().text);
    if (!name || !shop_.store.exists(beside(path, *name))) break;
    path = beside(path, *name);
  }
  if (!by_name.empty()) root_ = by_name;
  return Ok{};
}

Result<Family> CheckpointRun::family() {
  OVHD_TRY(Family found, find_family(shop_.store, shop_.host, format_, {directory_of(root_)}));
  // Whoever cannot be read may be a child of anything.
  if (!found.unread.empty()) {
    shop_.blame(found.unread.front().path);
    return found.unread.front().error;
  }
  // What has one of our names was an image once.
  for (const Family::Unread& stranger : found.strangers) {
    const std::string leaf = leaf_of(stranger.path);
    const bool listed = leaf == catalogue_.current || catalogue_.with_file(leaf) != nullptr;
    if (!listed && !is_ours(leaf)) continue;
    shop_.blame(stranger.path);
    return stranger.error;
  }
  return found;
}

bool CheckpointRun::is_checkpoint_of(const std::string& leaf, const std::string& root) {
  return !disk_of(leaf).empty() && disk_of(leaf) == stem_of(root);
}

bool CheckpointRun::is_ours(const std::string& leaf) const {
  return disk_of(leaf) == stem_of(leaf_of(root_));
}

bool CheckpointRun::all_there() const {
  const auto there = [&](const std::string& leaf) { return shop_.store.exists(path_of(leaf)); };
  return there(catalogue_.current) &&
         std::ranges::all_of(catalogue_.nodes,
                             [&](const Catalogue::Node& node) { return there(node.file); });
}

Status CheckpointRun::load() {
  catalogue_ = {.current = leaf_of(root_)};
  shop_.blame(catalogue_path(root_));
  auto text = shop_.store.read_text(catalogue_path(root_), kMaxCatalogueBytes);
  if (!text && text.error().code != Errc::not_found) return text.error();
  if (!text) return rebuild({});
  OVHD_TRY(catalogue_, decode_catalogue(*text));
  // While a merge is under way one of its files is gone at some moment.
  if (catalogue_.merge || all_there()) return Ok{};
  notes_.push_back("the catalogue names images that are not there: it was rebuilt");
  return rebuild(std::exchange(catalogue_, {}));
}

// Whoever has children holds a state that others are made of; of those that have none one is the
// disk, the last one written, and the others are states of their own.
Status CheckpointRun::rebuild(const Catalogue& known) {
  catalogue_ = {.current = leaf_of(root_)};
  OVHD_TRY(const Family found, family());
  const auto root = std::ranges::find_if(found.members, [&](const FamilyMember& member) {
    return leaf_of(member.path) == leaf_of(root_);
  });
  if (root == found.members.end()) return Ok{};
  std::vector<const FamilyMember*> reached{&*root};
  std::vector<const FamilyMember*> leaves;
  std::map<const FamilyMember*, Guid> ids;
  for (std::size_t i = 0; i < reached.size() && i < kMostNodes; ++i) {
    const FamilyMember& member = *reached[i];
    bool has_children = false;
    for (const FamilyMember& other : found.members) {
      const bool ours = is_ours(leaf_of(other.path)) && other.is_child_of(member.id);
      if (!ours || std::ranges::find(reached, &other) != reached.end()) continue;
      reached.push_back(&other);
      has_children = true;
    }
    if (!has_children) leaves.push_back(&member);
  }
  if (reached.size() == 1) return Ok{};
  const auto last = std::ranges::max_element(leaves, [](const auto* a, const auto* b) {
    return std::pair{a->modified_unix, a->path} < std::pair{b->modified_unix, b->path};
  });
  catalogue_.current = leaf_of((*last)->path);
  if (!known.current.empty() && shop_.store.exists(path_of(known.current))) {
    catalogue_.current = known.current;
  }
  for (const FamilyMember* member : reached) {
    const std::string file = leaf_of(member->path);
    if (file == catalogue_.current) continue;
    Catalogue::Node node{.id = shop_.host.random_guid(),
                         .name = "recovered " + std::to_string(catalogue_.nodes.size() + 1),
                         .file = file,
                         .created_unix = member->modified_unix};
    if (const Catalogue::Node* old = known.with_file(file)) {
      node = *old;
      node.parent.reset();
    }
    for (const FamilyMember* above : reached) {
      if (member->is_child_of(above->id) && ids.contains(above)) node.parent = ids.at(above);
    }
    ids[member] = node.id;
    catalogue_.nodes.push_back(std::move(node));
  }
  if (known.current.empty())
    notes_.push_back(
        "there was no catalogue: names were made up, and the image written last is taken for "
        "the disk");
  return Ok{};
}

}  // namespace openvhd::snapshot
