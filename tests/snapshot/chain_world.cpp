#include "snapshot/chain_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <set>

#include "base/try.hpp"
#include "io/blocking_driver.hpp"
#include "io/borrowed_file.hpp"
#include "io/file_steps.hpp"
#include "snapshot/merge_record.hpp"
#include "snapshot/merge_run.hpp"
#include "snapshot/rebase_run.hpp"
#include "support/bytes.hpp"
#include "vhd/compact.hpp"
#include "vhd/resize.hpp"
#include "vhdx/compact.hpp"
#include "vhdx/load.hpp"
#include "vhdx/resize.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

using snapshot::CheckpointRun;

constexpr std::size_t kMostDisks = 12;
constexpr std::size_t kMostCheckpoints = 5;
constexpr std::size_t kDeepest = 64;

bool failed() { return testing::Test::HasFatalFailure(); }

std::string what(const Status& status) { return status ? "" : status.error().what; }

/// Runs a plan of resize() or of one batch.
template <class Plan>
Status run_plan(Plan plan, File& file) {
  FileSteps steps{std::move(plan.steps), plan.file_bytes};
  return openvhd::run(steps, file);
}

Status resize_file(SimChain& chain, const std::string& name, std::uint64_t size) {
  FixedHost host{size | 1};
  OVHD_TRY(const auto file, chain.store().open(name, Lock::writer));
  if (chain.shape().format == Format::vhd) {
    OVHD_TRY(auto plan, vhd::plan_resize(*file, size));
    return run_plan(std::move(plan), *file);
  }
  OVHD_TRY(const auto replayed, vhdx::replay(*file, false, chain.shop().host));
  static_cast<void>(replayed);
  OVHD_TRY(auto plan, vhdx::plan_resize(*file, size, chain.shop().host));
  return run_plan(std::move(plan), *file);
}

template <class Compactor>
Status run_batches(Compactor plan, File& file, Host& host) {
  OVHD_CHECK(plan.begin(host));
  for (;;) {
    OVHD_TRY(auto steps, plan.next(file));
    if (!steps) return Ok{};
    FileSteps batch{*std::move(steps), plan.file_bytes()};
    OVHD_CHECK(openvhd::run(batch, file));
  }
}

Status compact_file(SimChain& chain, const std::string& name) {
  const snapshot::Workshop shop = chain.shop();
  OVHD_TRY(const auto file, chain.store().open(name, Lock::writer));
  if (chain.shape().format == Format::vhd) {
    OVHD_TRY(auto plan, vhd::Compactor::plan(*file, true, {.find_zeros = true, .move = true}));
    return run_batches(std::move(plan), *file, shop.host);
  }
  OVHD_TRY(auto loaded, vhdx::load_image(std::make_unique<BorrowedFile>(*file), true, shop.host));
  OVHD_TRY(auto plan, vhdx::Compactor::plan(*loaded.file, std::move(loaded.image),
                                            {.find_zeros = true, .move = true}));
  return run_batches(std::move(plan), *loaded.file, shop.host);
}

}  // namespace

ChainWorld::ChainWorld(const WorldPlan& plan)
    : random_{plan.seed}, chain_{plan.shape}, cuts_{plan.cuts}, root_{chain_.name("disk")} {
  add("");
  while (disks_.size() < plan.depth && !failed()) add(chain_.name("d" + std::to_string(made_ - 1)));
  chain_.create(root_);
  now_.resize(chain_.shape().size);
}

std::string ChainWorld::any() {
  return std::next(disks_.begin(), static_cast<std::ptrdiff_t>(pick(disks_.size())))->first;
}

std::vector<std::string> ChainWorld::children_of(const std::string& name) const {
  std::vector<std::string> out;
  for (const auto& [other, disk] : disks_) {
    if (disk.parent == name) out.push_back(other);
  }
  return out;
}

std::vector<std::string> ChainWorld::ancestors_of(const std::string& name) const {
  std::vector<std::string> out;
  for (std::string next = name; !next.empty(); next = disks_.at(next).parent) out.push_back(next);
  return out;
}

std::size_t ChainWorld::height_of(const std::string& name) const {
  std::size_t out = 0;
  for (const auto& [other, disk] : disks_) {
    const auto above = ancestors_of(other);
    const auto found = std::ranges::find(above, name);
    if (found == above.end()) continue;
    out = std::max(out, static_cast<std::size_t>(found - above.begin()) + 1);
  }
  return out;
}

std::size_t ChainWorld::deepest() const {
  std::size_t out = 0;
  for (const auto& [name, disk] : disks_) out = std::max(out, ancestors_of(name).size());
  return out;
}

void ChainWorld::run(const Change& change, const Work& work) {
  chain_ = SimChain{chain_.shape(), chain_.store().copy()};
  work(chain_);
  if (failed()) return;
  expect(chain_, change, true);
  auto ticks = chain_.store().cuts();
  if (ticks.size() > cuts_) {
    std::ranges::shuffle(ticks, random_);
    ticks.resize(cuts_);
  }
  std::shared_ptr<SimStore> left;
  for (const std::uint64_t tick : ticks) {
    const auto survivors = static_cast<SimStore::Survivors>(pick(3));
    SCOPED_TRACE("cut before tick " + std::to_string(tick) + ", survivors " +
                 std::to_string(static_cast<int>(survivors)));
    SimChain found{chain_.shape(), chain_.store().after_cut(tick, survivors, random_())};
    expect(found, change, false);
    if (failed()) return;
    work(found);
    if (failed()) return;
    expect(found, change, true);
    if (failed()) return;
    left = found.store().copy();
  }
  // What came of a cut is as good as any.
  if (left) chain_ = SimChain{chain_.shape(), left};
}

void ChainWorld::expect(SimChain& chain, const Change& change, bool done) {
  if (change.checkpoints) return expect_checkpoints(chain, change, done);
  expect_forest(chain, change, done);
}

void ChainWorld::expect_forest(SimChain& chain, const Change& change, bool done) {
  for (const auto& [name, disk] : disks_) {
    if (!children_of(name).empty()) continue;
    const bool changed = name == change.disk;
    const bool moved = changed && !change.moved_to.empty() && !chain.store().exists(name);
    if (changed && done && !change.moved_to.empty()) {
      ASSERT_TRUE(moved) << name << " is still there";
    }
    const auto got = chain.read(moved ? change.moved_to : name);
    ASSERT_TRUE(got) << name << ": " << got.error().what;
    const bool is_old = *got == disk.contents;
    const bool is_new = changed && change.after != nullptr && *got == *change.after;
    const bool may_be_old = !(changed && done && change.after != nullptr);
    ASSERT_TRUE(is_new || (is_old && may_be_old)) << name << " reads otherwise";
  }
}

CheckpointTree ChainWorld::tree_of(SimChain& chain) {
  const snapshot::Workshop shop = chain.shop();
  auto tree = CheckpointRun{shop, chain.shape().format, root_}.list();
  EXPECT_TRUE(tree) << tree.error().what;
  return tree ? *tree : CheckpointTree{};
}

void ChainWorld::expect_checkpoints(SimChain& chain, const Change& change, bool done) {
  const CheckpointTree tree = tree_of(chain);
  std::set<std::string> found;
  for (const Checkpoint& one : tree.checkpoints) {
    if (one.hidden) continue;
    found.insert(one.name);
    const auto known = states_.find(one.name);
    const Contents* const state = known != states_.end() ? &known->second : change.before;
    const auto got = chain.read(one.file);
    ASSERT_TRUE(got) << one.name << " in " << one.file << ": " << got.error().what;
    ASSERT_TRUE(state != nullptr && *got == *state) << one.name << " reads otherwise";
  }
  for (const auto& [name, state] : states_) {
    ASSERT_TRUE(found.contains(name) || name == change.gone) << name << " is gone";
  }
  // While it is merged, the disk may be in the file that takes it in.
  if (!done && !chain.store().exists(tree.current)) return;
  const auto got = chain.read(tree.current);
  ASSERT_TRUE(got) << tree.current << ": " << got.error().what;
  const bool is_new = change.after != nullptr && *got == *change.after;
  const bool is_old = *got == now_ && !(done && change.after != nullptr);
  ASSERT_TRUE(is_new || is_old) << "the disk reads otherwise";
}

void ChainWorld::expect_all() {
  for (const auto& [name, disk] : disks_) {
    const auto got = chain_.read(name);
    ASSERT_TRUE(got) << name << ": " << got.error().what;
    ASSERT_TRUE(*got == disk.contents) << name << " reads otherwise";
  }
  expect_checkpoints(chain_, {}, true);
}

void ChainWorld::add(const std::string& parent) {
  const std::string name = chain_.name("d" + std::to_string(made_++));
  if (parent.empty()) {
    chain_.create(name, pick(3) == 0 ? DiskType::fixed : DiskType::dynamic);
    disks_[name] = {"", Contents(chain_.shape().size)};
    return;
  }
  const std::uint64_t size = disks_.at(parent).contents.size();
  const std::uint64_t more = pick(8) == 0 ? size + chain_.shape().block : 0;
  chain_.create_child(name, parent, more);
  disks_[name] = {parent, disks_.at(parent).contents};
  if (more != 0) disks_[name].contents.resize(more);
}

void ChainWorld::write() {
  const std::string name = any();
  if (!children_of(name).empty()) return;  // what others are over does not change
  Disk& disk = disks_.at(name);
  const std::uint64_t at = pick(disk.contents.size());
  const std::uint64_t most = pick(2) == 0 ? 2048 : chain_.shape().block * 2;
  const auto length = static_cast<std::size_t>(1 + pick(std::min(most, disk.contents.size() - at)));
  const auto to = disk.contents.begin() + static_cast<std::ptrdiff_t>(at);
  if (pick(3) == 0) {
    chain_.zero(name, at, length);
    std::fill_n(to, length, std::byte{0});
    return;
  }
  const auto bytes = pattern(length, random_());
  chain_.write(name, at, bytes);
  std::ranges::copy(bytes, to);
}

// Downwards from anywhere; all that is in between must have nobody else over it.
void ChainWorld::merge() {
  std::vector<std::string> paths{any()};
  const std::uint64_t levels = pick(8) == 0 ? kDeepest : 1 + pick(4);
  while (paths.size() <= levels) {
    const std::string parent = disks_.at(paths.back()).parent;
    if (parent.empty() || children_of(parent).size() != 1) break;
    paths.push_back(parent);
  }
  if (paths.size() < 2) return;
  const std::string child = paths.front();
  const std::string target = paths.back();
  if (disks_.at(child).contents.size() != disks_.at(target).contents.size()) return;
  const auto children = children_of(child);
  run({.disk = child, .moved_to = target}, [&](SimChain& chain) {
    const auto shop = chain.shop();
    const Format format = chain.shape().format;
    if (chain.store().exists(snapshot::record_path(target))) {
      const auto done = snapshot::finish_merge(shop, format, target, {});
      ASSERT_TRUE(done) << done.error().what;
    } else if (chain.store().exists(child)) {
      const auto done = run_merge(shop, {.format = format, .paths = paths});
      ASSERT_TRUE(done) << done.error().what;
    }
  });
  disks_.at(target).contents = disks_.at(child).contents;
  for (const std::string& one : children) disks_.at(one).parent = target;
  for (std::size_t i = 0; i + 1 < paths.size(); ++i) disks_.erase(paths[i]);
}

void ChainWorld::pull() {
  std::vector<std::string> paths = ancestors_of(any());
  if (paths.size() < 2) return;
  const bool detach = paths.size() == 2 || pick(2) == 0;
  if (!detach) paths.resize(3 + pick(paths.size() - 2));
  const std::string child = paths.front();
  run({}, [&](SimChain& chain) {
    const auto above = chain.chain(child);
    ASSERT_TRUE(above) << above.error().what;
    if (above->size() < paths.size()) return;  // it was done before the cut
    const auto done =
        run_pull(chain.shop(), {.format = chain.shape().format, .paths = paths, .detach = detach});
    ASSERT_TRUE(done) << done.error().what;
  });
  disks_.at(child).parent = detach ? "" : paths.back();
}

void ChainWorld::rebase() {
  const std::string child = any();
  const std::string parent = any();
  const auto above = ancestors_of(parent);
  if (disks_.at(child).parent.empty() || std::ranges::find(above, child) != above.end()) return;
  if (disks_.at(parent).contents.size() > disks_.at(child).contents.size()) return;
  if (above.size() + height_of(child) > kDeepest || disks_.at(child).parent == parent) return;
  run({}, [&](SimChain& chain) {
    const auto now = chain.chain(child);
    ASSERT_TRUE(now) << now.error().what;
    if ((*now)[1] == parent) return;
    auto old_disk = chain.open(child, true);
    ASSERT_TRUE(old_disk) << old_disk.error().what;
    auto new_disk = chain.open(parent, false);
    ASSERT_TRUE(new_disk) << new_disk.error().what;
    const auto done = run_rebase(
        chain.shop(), {.child = child, .parent = parent, .old_disk = *std::move(old_disk)},
        **new_disk);
    ASSERT_TRUE(done) << done.error().what;
  });
  disks_.at(child).parent = parent;
}

void ChainWorld::resize() {
  const std::string name = any();
  if (!children_of(name).empty()) return;  // they know their parent by an id that changes
  Disk& disk = disks_.at(name);
  const std::uint64_t block = chain_.shape().block;
  const std::uint64_t least = disk.parent.empty() ? block : disks_.at(disk.parent).contents.size();
  const std::uint64_t most = 2 * chain_.shape().size;
  if (least >= most) return;
  const std::uint64_t size = least + pick((most - least) / 4096) * 4096;
  Contents after = disk.contents;
  after.resize(size);
  run({.disk = name, .after = &after}, [&](SimChain& chain) {
    const Status done = resize_file(chain, name, size);
    ASSERT_TRUE(done) << what(done);
  });
  disk.contents = std::move(after);
}

void ChainWorld::compact() {
  const std::string name = any();
  run({}, [&](SimChain& chain) {
    const Status done = compact_file(chain, name);
    // A fixed disk has nothing to give.
    ASSERT_TRUE(done || done.error().code == Errc::unsupported) << what(done);
  });
}

void ChainWorld::create_checkpoint() {
  const std::string name = "c" + std::to_string(made_++);
  states_[name] = now_;
  // Cut off before there is a catalogue, the first one is rebuilt from the images, without its
  // name.
  run({.checkpoints = true, .gone = name, .before = &now_}, [&](SimChain& chain) {
    const CheckpointTree tree = tree_of(chain);
    if (std::ranges::find(tree.checkpoints, name, &Checkpoint::name) != tree.checkpoints.end()) {
      return;
    }
    const snapshot::Workshop shop = chain.shop();
    const auto done = CheckpointRun{shop, chain.shape().format, root_}.create(name);
    ASSERT_TRUE(done) << done.error().what;
  });
  if (!failed()) adopt(now_);
}

void ChainWorld::adopt(const Contents& state) {
  for (const Checkpoint& one : tree_of(chain_).checkpoints) {
    if (!one.hidden && !states_.contains(one.name)) states_[one.name] = state;
  }
}

void ChainWorld::apply_checkpoint(const std::string& name, bool discard) {
  const Contents after = states_.at(name);
  run({.after = &after, .checkpoints = true, .before = &now_}, [&](SimChain& chain) {
    const auto is = chain.read(tree_of(chain).current);
    // A merge that a cut left half done may have the disk in another file.
    if (is && *is == after && !(after == now_)) return;
    const snapshot::Workshop shop = chain.shop();
    const auto done = CheckpointRun{shop, chain.shape().format, root_}.apply(name, discard);
    ASSERT_TRUE(done) << done.error().what;
  });
  if (failed()) return;
  adopt(now_);
  now_ = after;
}

void ChainWorld::delete_checkpoint(const std::string& name) {
  run({.checkpoints = true, .gone = name}, [&](SimChain& chain) {
    const snapshot::Workshop shop = chain.shop();
    const auto done = CheckpointRun{shop, chain.shape().format, root_}.remove(name);
    ASSERT_TRUE(done || done.error().code == Errc::not_found) << done.error().what;
  });
  states_.erase(name);
}

void ChainWorld::rename_checkpoint(const std::string& name) {
  const std::string other = "r" + std::to_string(made_++);
  const Contents state = states_.at(name);
  run({.checkpoints = true, .gone = name, .before = &state}, [&](SimChain& chain) {
    const snapshot::Workshop shop = chain.shop();
    const auto done = CheckpointRun{shop, chain.shape().format, root_}.rename(name, other);
    ASSERT_TRUE(done || done.error().code == Errc::not_found) << done.error().what;
  });
  states_.erase(name);
  states_[other] = state;
}

void ChainWorld::write_current() {
  const std::uint64_t at = pick(now_.size() - 4096);
  const auto bytes = pattern(1 + pick(4096), random_());
  // An unfinished merge of its images is finished by the next change, not by a write.
  chain_.write(tree_of(chain_).current, at, bytes);
  std::ranges::copy(bytes, now_.begin() + static_cast<std::ptrdiff_t>(at));
}

void ChainWorld::checkpoint() {
  const std::uint64_t kind = pick(6);
  if (states_.empty() || (kind == 0 && states_.size() < kMostCheckpoints)) {
    return create_checkpoint();
  }
  const std::string name =
      std::next(states_.begin(), static_cast<std::ptrdiff_t>(pick(states_.size())))->first;
  if (kind == 1) return apply_checkpoint(name, states_.size() >= kMostCheckpoints || pick(2) == 0);
  if (kind == 2) return rename_checkpoint(name);
  if (kind == 3) return delete_checkpoint(name);
  write_current();
}

void ChainWorld::step() {
  switch (pick(16)) {
    case 0:
    case 1:
    case 2: {
      const std::string parent = any();
      const bool full = disks_.size() >= std::max(kMostDisks, deepest() + 2);
      if (full || ancestors_of(parent).size() >= kDeepest) return merge();
      return add(parent);
    }
    case 3:
    case 4:
    case 5:
      return write();
    case 6:
    case 7:
      return merge();
    case 8:
      return pull();
    case 9:
      return rebase();
    case 10:
      return resize();
    case 11:
      return compact();
    default:
      return checkpoint();
  }
}

}  // namespace openvhd::test
