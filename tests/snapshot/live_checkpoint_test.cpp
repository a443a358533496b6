// Checkpoints of a disk that is open, under power cuts and failing hosts (C04, C06, D7, T10).
#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>

#include "snapshot/checkpoint_run.hpp"
#include "snapshot/live_side.hpp"

namespace openvhd::test {
namespace {

using snapshot::CheckpointRun;
using snapshot::Pace;

class LiveCheckpoint : public testing::TestWithParam<Format> {
 protected:
  LiveCheckpoint() {
    SimChain chain{small_shape(GetParam()), start_};
    name_ = chain.name("disk");
    chain.create(name_);
    chain.write(name_, 0, pattern(6000, 1));
  }

  /// What was done, and what each checkpoint reads as.
  struct Story {
    std::optional<History> history;
    std::map<std::string, Contents> states;
    std::map<std::string, std::uint64_t> made;  // ticks
    std::uint64_t gone = SimStore::kNever;      // "two", for sure
    std::string failure;
  };

  Result<CheckpointTree> create(SimChain& chain, LiveDisk& disk, const std::string& name,
                                Story& story) {
    const auto shop = chain.shop();
    CheckpointRun run{shop, GetParam(), {}};
    story.states[name] = disk.history().now();
    auto tree = run.create_online(disk.state(), name);
    if (tree) story.made[name] = disk.tick();
    if (!tree) story.failure += name + ": " + tree.error().what;
    return tree;
  }

  /// Three checkpoints of an open disk, of which the first comes before anything was written.
  Story run(const std::shared_ptr<SimStore>& store, bool remove) {
    Story story;
    SimChain chain{small_shape(GetParam()), store};
    auto opened = chain.open(name_, true);
    if (!opened) return story;
    LiveDisk disk{chain, *std::move(opened)};
    static_cast<void>(create(chain, disk, "one", story));
    disk.write(4096, 5000, 2);
    disk.flush();
    static_cast<void>(create(chain, disk, "two", story));
    disk.write(40960, 3000, 3);
    disk.zero(4096, 512);
    disk.write(70000, 3000, 4);
    static_cast<void>(create(chain, disk, "three", story));
    disk.write(60000, 3000, 5);
    if (remove) {
      disk.flush();
      const auto shop = chain.shop();
      CheckpointRun checkpoints{shop, GetParam(), {}};
      const auto tree = checkpoints.remove_online(disk.state(), "two", Pace{disk.state(), 0});
      if (tree) story.gone = disk.tick();
      if (!tree) story.failure += std::string{"remove: "} + tree.error().what;
    }
    disk.write(80000, 3000, 6);
    disk.flush();
    disk.close();
    story.history = disk.history();
    story.failure += disk.failures();
    return story;
  }

  void expect_allowed(const std::shared_ptr<SimStore>& store, const Story& story,
                      std::uint64_t tick) {
    SimChain chain{small_shape(GetParam()), store};
    const auto shop = chain.shop();
    CheckpointRun checkpoints{shop, GetParam(), name_};
    const auto tree = checkpoints.list();
    ASSERT_TRUE(tree) << tree.error().what;
    const auto got = chain.read(store->exists(tree->current) ? tree->current : name_);
    ASSERT_TRUE(got) << tree->current << ": " << got.error().what;
    ASSERT_TRUE(story.history->allows(*got, tick));
    std::map<std::string, bool> there;
    for (const Checkpoint& one : tree->checkpoints) {
      there[one.name] = true;
      const auto known = story.states.find(one.name);
      if (known == story.states.end()) continue;
      const auto state = chain.read(one.file);
      ASSERT_TRUE(state) << one.name << ": " << state.error().what;
      ASSERT_TRUE(*state == known->second) << one.name;
    }
    for (const auto& [name, made] : story.made) {
      const bool removed = name == "two" && removes_;
      EXPECT_TRUE(made > tick || removed || there[name]) << name;
    }
    // Whatever was left over or unfinished is settled by the next change.
    const auto more = CheckpointRun{shop, GetParam(), name_}.create("more");
    ASSERT_TRUE(more) << more.error().what;
    const auto again = chain.read(more->current);
    ASSERT_TRUE(again) << again.error().what;
    ASSERT_TRUE(story.history->allows(*again, tick));
    for (const Checkpoint& one : more->checkpoints) {
      const auto errors = serious_errors(chain, one.file);
      ASSERT_TRUE(errors.empty()) << one.file << ": " << errors.front();
    }
  }
  void cut_everywhere(bool remove) {
    removes_ = remove;
    const auto store = start_->copy();
    const Story story = run(store, remove);
    ASSERT_EQ(story.failure, "");
    std::uint64_t seed = 1;
    for (const std::uint64_t tick : store->cuts()) {
      for (const auto survivors : survivors_at(tick)) {
        SCOPED_TRACE("cut before tick " + std::to_string(tick) + ", survivors " +
                     std::to_string(static_cast<int>(survivors)));
        expect_allowed(store->after_cut(tick, survivors, seed++), story, tick);
        if (HasFatalFailure()) return;
      }
    }
  }

  void fail_everywhere(bool remove, int error) {
    removes_ = remove;
    const auto trial = start_->copy();
    static_cast<void>(run(trial, remove));
    const std::uint64_t ticks = trial->power().now();
    const std::uint64_t stride = GetParam() == Format::vhdx ? 11 : 3;
    for (std::uint64_t tick = 0; tick < ticks; tick += stride) {
      SCOPED_TRACE("error " + std::to_string(error) + " at tick " + std::to_string(tick));
      const auto store = start_->copy();
      fail(*store, tick, error);
      const Story story = run(store, remove);
      if (!story.history) continue;
      expect_allowed(store->copy(), story, SimStore::kNever);
      if (HasFatalFailure()) return;
    }
  }

  std::shared_ptr<SimStore> start_ = std::make_shared<SimStore>();
  std::string name_;
  bool removes_ = false;
};

TEST_P(LiveCheckpoint, KeepsStatesOfAnOpenDisk) {
  const auto store = start_->copy();
  const Story story = run(store, false);
  ASSERT_EQ(story.failure, "");
  expect_allowed(store->copy(), story, SimStore::kNever);
  EXPECT_EQ(story.made.size(), 3u);
}

TEST_P(LiveCheckpoint, EveryCutLeavesTheOldOrTheNew) { cut_everywhere(true); }
TEST_P(LiveCheckpoint, AnyCommandMayFail) { fail_everywhere(true, EIO); }
TEST_P(LiveCheckpoint, SpaceMayRunOut) { fail_everywhere(true, ENOSPC); }

INSTANTIATE_TEST_SUITE_P(Formats, LiveCheckpoint, testing::Values(Format::vhdx, Format::vhd),
                         [](const auto& one) { return std::string{to_string(one.param)}; });

}  // namespace
}  // namespace openvhd::test
