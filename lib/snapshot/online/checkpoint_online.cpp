// Checkpoints of a disk in use. What is found out elsewhere by looking into images comes from the
// disk here: its leaf changes while one looks.
#include <algorithm>
#include <utility>

#include "base/try.hpp"
#include "snapshot/checkpoint_run.hpp"
#include "snapshot/merge_record.hpp"
#include "snapshot/merge_run.hpp"
#include "snapshot/online/layer_in_use.hpp"
#include "snapshot/online/merge_in_use.hpp"

namespace openvhd::snapshot {
namespace {

constexpr std::size_t kMostFiles = 64;

Error denied(const char* what) noexcept { return {.code = Errc::denied, .what = what}; }

/// What a child has to know of the leaf.
struct LeafFacts {
  Geometry geometry{};
  Guid id{};
  std::optional<Guid> disk_id{};
  /// The id that it gets if it is written to before the new leaf is in place.
  std::optional<Guid> next_id{};
};

LeafFacts facts_of_leaf(detail::DiskState& disk, Format format, Host& host) {
  LeafFacts out;
  disk.ask([&] {
    ImageLayer& leaf = disk.image(0);
    out.geometry = leaf.geometry();
    out.id = leaf.link_identity();
    out.disk_id = leaf.info().identifier;
    if (format != Format::vhdx || disk.leaf_was_written()) return;
    out.next_id = host.random_guid();
    leaf.set_link_identity(*out.next_id);
  });
  return out;
}

}  // namespace

/// The leaf is the disk that the catalogue means, and nothing is unfinished.
Status CheckpointRun::begin_online(detail::DiskState& disk) {
  const std::vector<std::string> paths = disk.paths_now();
  image_ = paths.front();
  root_ = image_;
  bool lost = false;
  for (const std::string& path : paths) {
    if (directory_of(path) != directory_of(image_)) break;
    if (shop_.store.exists(catalogue_path(path))) {
      root_ = path;
      lost = false;
      break;
    }
    lost = lost || is_checkpoint_of(leaf_of(image_), leaf_of(path));
  }
  shop_.blame(root_);
  if (lost) return denied("its catalogue is lost: checkpoint list makes another one (C04)");
  if (shop_.store.exists(catalogue_path(root_))) {
    OVHD_CHECK(load());
  } else {
    catalogue_ = {.current = leaf_of(root_)};
  }
  shop_.blame(image_);
  if (catalogue_.current != leaf_of(image_)) {
    return denied("it is not the current disk of its checkpoints (C03)");
  }
  parent_file_.reset();
  if (paths.size() > 1 && directory_of(paths[1]) == directory_of(image_)) {
    parent_file_ = leaf_of(paths[1]);
  }
  return Ok{};
}

/// A new leaf in a file of its own, durable; not yet known to anybody.
Result<std::string> CheckpointRun::make_leaf_online(const detail::DiskState& disk,
                                                    const ChildSpec& spec,
                                                    const std::optional<Guid>& next_id) {
  if (disk.paths_now().size() >= kMostFiles) {
    return Error{.code = Errc::unsupported, .what = "more files in the chain than allowed (C02)"};
  }
  std::string leaf = new_leaf_name();
  shop_.blame(path_of(leaf));
  const auto fill = [&](File& file) -> Status {
    OVHD_CHECK(create_child(format_, file, spec, shop_.host));
    if (!next_id) return Ok{};
    return set_parent(format_, file, {.linkage2 = *next_id}, shop_.host);
  };
  OVHD_CHECK(shop_.store.create(path_of(leaf), fill));
  return leaf;
}

Result<CheckpointTree> CheckpointRun::create_online(detail::DiskState& disk,
                                                    const std::string& name) {
  OVHD_TRY(const auto change, disk.begin_change());
  OVHD_CHECK(begin_online(disk));
  if (catalogue_.merge) return denied("a deletion is unfinished: finish it first (C04)");
  OVHD_CHECK(judge_name(name));
  if (catalogue_.nodes.size() == kMostNodes) {
    return Error{.code = Errc::invalid, .what = "a disk has at most 1024 checkpoints"};
  }
  const LeafFacts facts = facts_of_leaf(disk, format_, shop_.host);
  ChildSpec spec{.geometry = facts.geometry,
                 .parent_linkage = facts.id,
                 .identifier = facts.disk_id,
                 .relative = ".\\" + catalogue_.current,
                 .name = catalogue_.current,
                 .timestamp = parent_timestamp(*disk.files().front())};
  spec.geometry.block_size = 0;
  if (format_ == Format::vhd) spec.geometry.physical_sector_size = 512;
  OVHD_TRY(const std::string leaf, make_leaf_online(disk, spec, facts.next_id));
  const Status made = put_leaf_online(disk, leaf, name, facts.next_id);
  if (!made) {
    // Nobody has written to it.
    if (catalogue_.current != leaf) static_cast<void>(shop_.store.remove(path_of(leaf)));
    return made.error();
  }
  OVHD_CHECK(seal_parent_online(disk, spec.timestamp));
  return tree();
}

/// From the rename of the catalogue on the new leaf is the disk (C04): until all queues write to
/// it, what they write to the old one is read through it.
Status CheckpointRun::put_leaf_online(detail::DiskState& disk, const std::string& leaf,
                                      const std::string& name, const std::optional<Guid>& next_id) {
  std::optional<OpenedImage> image;
  OVHD_TRY(HeldFile held, hold(shop_, path_of(leaf), Lock::writer, std::nullopt));
  const auto open_image = [&]() -> Status {
    LayerOpenOptions how = disk.how();
    how.writable = true;
    OVHD_TRY(image, open_layer(format_, std::move(held.file), how, shop_.host));
    return Ok{};
  };
  if (!next_id) OVHD_CHECK(open_image());
  // Most of what the last flush would have to do.
  OVHD_CHECK(disk.flush());
  const Catalogue before = catalogue_;
  std::optional<Guid> parent;
  if (parent_file_) {
    if (const auto* node = catalogue_.with_file(*parent_file_)) parent = node->id;
  }
  catalogue_.nodes.push_back({.id = shop_.host.random_guid(),
                              .name = name,
                              .file = catalogue_.current,
                              .parent = parent,
                              .created_unix = shop_.host.now_unix()});
  catalogue_.current = leaf;
  Status outcome = commit();
  if (outcome) {
    outcome = disk.still([&]() -> Status {
      OVHD_CHECK(disk.flush());
      if (next_id) {
        // The one that it has is final: nobody writes to it any more.
        OVHD_CHECK(set_parent(format_, *held.file,
                              {.linkage = disk.image(0).link_identity(), .linkage2 = Guid{}},
                              shop_.host));
        OVHD_CHECK(open_image());
      }
      disk.push_leaf(*std::move(image), path_of(leaf));
      return Ok{};
    });
  }
  if (outcome) {
    parent_file_ = before.current;
    return Ok{};
  }
  // The disk as it was. Where even that fails it is read through the new leaf, which is empty.
  Catalogue failed = std::exchange(catalogue_, before);
  if (!commit()) catalogue_ = std::move(failed);
  return outcome;
}

/// The image of the checkpoint becomes one that was closed; others may read it. The checkpoint is
/// there whatever comes of that: its log is replayed by whoever opens it.
Status CheckpointRun::seal_parent_online(detail::DiskState& disk, std::uint32_t known) {
  const std::vector<std::string> paths = disk.paths_now();
  shop_.blame(paths[1]);
  Status sealed = LayerInUse(disk, 1, true).close();
  if (sealed) sealed = disk.files()[1]->change_lock(Lock::reader);
  if (!sealed) {
    notes_.push_back(paths[1] +
                     ": not left as a closed image: " + describe(sealed.error(), paths[1]));
    return Ok{};
  }
  // A VHD says when its parent was changed last, which was just now.
  const std::uint32_t changed = parent_timestamp(*disk.files()[1]);
  if (format_ != Format::vhd || changed == known) return Ok{};
  const auto edit = [&](File& file) {
    return set_parent(format_, file,
                      {.linkage = disk.image(1).link_identity(), .timestamp = changed}, shop_.host);
  };
  shop_.blame(paths[0]);
  return disk.still([&] { return disk.edit_leaf(edit); });
}

/// Of the disk's own images the one over `file`; what others there are has to be none.
Result<std::size_t> CheckpointRun::layer_over_online(detail::DiskState& disk,
                                                     const std::string& file) {
  const std::vector<std::string> paths = disk.paths_now();
  std::vector<std::string> children;
  // Nobody writes to the leaf while it is looked into.
  const auto look = [&]() -> Status {
    OVHD_TRY(children, children_of(file));
    return Ok{};
  };
  OVHD_CHECK(disk.still(look));
  for (std::size_t i = 0; i + 1 < paths.size(); ++i) {
    if (paths[i + 1] != path_of(file)) continue;
    if (children.size() == 1 && children.front() == leaf_of(paths[i])) return i;
    break;
  }
  shop_.blame(path_of(file));
  return denied("several images are over it, or none of this disk: close the disk first (C03)");
}

/// Merges what the catalogue says, and has it say so.
Status CheckpointRun::finish_online(detail::DiskState& disk, const Pace& pace) {
  OVHD_TRY(const std::size_t layer, layer_over_online(disk, catalogue_.merge->target));
  OVHD_TRY(const MergeResult done, merge_in_use(shop_, disk, format_, layer, {}, pace));
  notes_.insert(notes_.end(), done.notes.begin(), done.notes.end());
  merge_in_tree();
  OVHD_CHECK(commit());
  return begin_online(disk);
}

Result<CheckpointTree> CheckpointRun::remove_online(detail::DiskState& disk,
                                                    const std::string& which, const Pace& pace) {
  OVHD_TRY(const auto change, disk.begin_change());
  OVHD_CHECK(begin_online(disk));
  if (catalogue_.merge) {
    OVHD_CHECK(finish_online(disk, pace));
    // It may have been this one.
    if (!index_of(which)) return tree();
  }
  OVHD_TRY(const std::size_t index, index_of(which));
  Catalogue::Node& node = catalogue_.nodes[index];
  const std::string target = node.file;
  OVHD_TRY(const std::size_t over, layer_over_online(disk, target));
  node.hidden = true;
  node.name = "deleted " + to_string(node.id).substr(0, 8);
  catalogue_.merge = Catalogue::Merge{.child = leaf_of(disk.paths_now()[over]), .target = target};
  OVHD_CHECK(commit());
  OVHD_CHECK(finish_online(disk, pace));
  return tree();
}

}  // namespace openvhd::snapshot
