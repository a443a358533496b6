// Checkpoints under power cuts and failing hosts (C04, C06, D7), and catalogues that are lost.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <map>
#include <set>

#include "snapshot/checkpoint_run.hpp"
#include "snapshot/sim_chain.hpp"
#include "support/bytes.hpp"

namespace openvhd::test {
namespace {

using snapshot::CheckpointRun;

/// A disk with checkpoints in a simulated directory, and what all of its states read as.
class Timeline {
 public:
  explicit Timeline(Format format, std::uint32_t sector = 512)
      : chain_{small_shape(format, sector)} {
    disk_ = chain_.name("disk");
    chain_.create(disk_);
    write(0, 6000, 1);
  }
  Timeline(const Timeline& other, std::shared_ptr<SimStore> store)
      : chain_{other.chain_.shape(), std::move(store)},
        disk_{other.disk_},
        states_{other.states_} {}

  SimChain& chain() { return chain_; }
  const std::string& disk() const { return disk_; }
  Result<CheckpointTree> on(const std::function<Result<CheckpointTree>(CheckpointRun&)>& step) {
    const auto shop = chain_.shop();
    CheckpointRun run{shop, chain_.shape().format, disk_};
    return step(run);
  }
  CheckpointTree list() {
    auto tree = on([](CheckpointRun& run) { return run.list(); });
    EXPECT_TRUE(tree) << tree.error().what;
    return tree ? *tree : CheckpointTree{};
  }
  void write(std::uint64_t at, std::size_t length, std::uint64_t seed) {
    chain_.write(list().current, at, pattern(length, seed));
  }
  Contents now() { return *chain_.read(list().current); }
  /// Keeps the state, and what it reads as.
  void keep(const std::string& name) {
    states_[name] = now();
    const auto made = on([&](CheckpointRun& run) { return run.create(name); });
    ASSERT_TRUE(made) << made.error().what;
  }
  const Contents& state(const std::string& name) const { return states_.at(name); }

  /// Every checkpoint that has one of these names reads as it did.
  void expect_states() {
    for (const Checkpoint& one : list().checkpoints) {
      const auto known = states_.find(one.name);
      if (known == states_.end()) continue;
      const auto got = chain_.read(one.file);
      ASSERT_TRUE(got) << one.name << " in " << one.file << ": " << got.error().what;
      ASSERT_TRUE(*got == known->second) << one.name << " reads otherwise";
    }
  }
  bool has(const std::string& name) {
    const auto tree = list();
    return std::ranges::any_of(tree.checkpoints,
                               [&](const Checkpoint& one) { return one.name == name; });
  }

 private:
  SimChain chain_;
  std::string disk_;
  std::map<std::string, Contents> states_;
};

/// one <- two <- (three <- now, side): three forks.
Timeline timeline(Format format, std::uint32_t sector = 512) {
  Timeline out{format, sector};
  out.keep("one");
  out.write(40960, 5000, 2);
  out.keep("two");
  out.write(2048, 2048, 3);
  out.keep("three");
  out.write(70000, 3000, 4);
  out.keep("side");
  out.write(100, 50, 5);
  EXPECT_TRUE(out.on([](CheckpointRun& run) { return run.apply("two", true); }));
  out.write(90000, 1000, 6);
  return out;
}

struct Change {
  const char* name;
  Format format;
  std::function<Result<CheckpointTree>(CheckpointRun&)> step;
  const char* becomes;    // the state that the disk then has; empty: that of now
  const char* gone = "";  // the checkpoint that it gives up
  std::uint32_t sector = 512;
};

class CheckpointCrash : public testing::TestWithParam<Change> {
 protected:
  CheckpointCrash() : start_{timeline(GetParam().format, GetParam().sector)}, now_{start_.now()} {}

  const Contents& after() const {
    const std::string becomes = GetParam().becomes;
    return becomes.empty() ? now_ : start_.state(becomes);
  }
  /// The disk is the old one or the new one, and no state is lost but the one that is given up.
  void expect_old_or_new(Timeline& found) {
    found.expect_states();
    if (HasFatalFailure()) return;
    const auto tree = found.list();
    const bool merged = !found.chain().store().exists(tree.current);
    if (!merged) {
      const Contents got = found.now();
      ASSERT_TRUE(got == now_ || got == after());
    }
    for (const char* name : {"one", "two", "three", "side"}) {
      const bool given_up = std::string{name} == GetParam().gone;
      EXPECT_TRUE(given_up || found.has(name)) << name;
    }
  }
  /// Whatever was unfinished is finished by the next change.
  void expect_settled(Timeline& found) {
    const auto more = found.on([](CheckpointRun& run) { return run.create("more"); });
    ASSERT_TRUE(more) << more.error().what;
    found.expect_states();
    if (HasFatalFailure()) return;
    const Contents got = found.now();
    ASSERT_TRUE(got == now_ || got == after());
    std::set<std::string> needed{found.disk() + ".checkpoints", more->current};
    for (const Checkpoint& one : more->checkpoints) needed.insert(one.file);
    const auto names = found.chain().store().list(".");
    EXPECT_EQ(std::set<std::string>(names->begin(), names->end()), needed);
  }

  Timeline start_;
  Contents now_;
};

TEST_P(CheckpointCrash, ChangesWhatItSays) {
  ASSERT_TRUE(start_.on(GetParam().step));
  start_.expect_states();
  EXPECT_TRUE(start_.now() == after());
  EXPECT_FALSE(start_.has(GetParam().gone));
  expect_settled(start_);
}

TEST_P(CheckpointCrash, EveryCutLeavesTheOldOrTheNew) {
  Timeline run{start_, start_.chain().store().copy()};
  ASSERT_TRUE(run.on(GetParam().step));
  std::uint64_t seed = 1;
  for (const std::uint64_t tick : run.chain().store().cuts()) {
    for (const auto survivors :
         {SimStore::Survivors::all, SimStore::Survivors::none, SimStore::Survivors::some}) {
      SCOPED_TRACE("cut before tick " + std::to_string(tick) + ", survivors " +
                   std::to_string(static_cast<int>(survivors)));
      Timeline found{start_, run.chain().store().after_cut(tick, survivors, seed++)};
      expect_old_or_new(found);
      if (HasFatalFailure()) return;
      expect_settled(found);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(CheckpointCrash, AnyCommandMayFail) {
  std::uint64_t ticks = 0;
  {
    Timeline trial{start_, start_.chain().store().copy()};
    ASSERT_TRUE(trial.on(GetParam().step));
    ticks = trial.chain().store().power().now();
  }
  // One by one where an image is small; a VHDX takes milliseconds to look at.
  const std::uint64_t stride = GetParam().format == Format::vhdx ? 5 : 1;
  for (std::uint64_t tick = 0; tick < ticks; tick += stride) {
    SCOPED_TRACE("error at tick " + std::to_string(tick));
    Timeline trial{start_, start_.chain().store().copy()};
    trial.chain().store().fail_at(tick, EIO);
    static_cast<void>(trial.on(GetParam().step));
    Timeline found{start_, trial.chain().store().copy()};
    expect_old_or_new(found);
    if (HasFatalFailure()) return;
    expect_settled(found);
    if (HasFatalFailure()) return;
  }
}

TEST_P(CheckpointCrash, AFullDiskChangesNothingThatCounts) {
  for (std::uint64_t tick = 0;; tick += 5) {
    SCOPED_TRACE("full from tick " + std::to_string(tick));
    Timeline trial{start_, start_.chain().store().copy()};
    trial.chain().store().full_from(tick);
    const auto done = trial.on(GetParam().step);
    if (done) break;
    EXPECT_EQ(done.error().code, Errc::no_space) << done.error().what;
    Timeline found{start_, trial.chain().store().copy()};
    expect_old_or_new(found);
    if (HasFatalFailure()) return;
    expect_settled(found);
    if (HasFatalFailure()) return;
  }
}

std::vector<Change> changes() {
  std::vector<Change> out;
  for (const Format format : {Format::vhdx, Format::vhd}) {
    const bool vhdx = format == Format::vhdx;
    const std::uint32_t sector = vhdx ? 4096 : 512;
    out.push_back({vhdx ? "VhdxCreate" : "VhdCreate", format,
                   [](CheckpointRun& run) { return run.create("four"); }, ""});
    out.push_back({vhdx ? "Vhdx4KnApply" : "VhdApply", format,
                   [](CheckpointRun& run) { return run.apply("one", false); }, "one", "", sector});
    out.push_back({vhdx ? "VhdxApplyDiscard" : "VhdApplyDiscard", format,
                   [](CheckpointRun& run) { return run.apply("side", true); }, "side"});
    out.push_back({vhdx ? "Vhdx4KnDeleteFirst" : "VhdDeleteFirst", format,
                   [](CheckpointRun& run) { return run.remove("one"); }, "", "one", sector});
    out.push_back({vhdx ? "VhdxDeleteFork" : "VhdDeleteFork", format,
                   [](CheckpointRun& run) { return run.remove("two"); }, "", "two"});
    out.push_back({vhdx ? "VhdxDeleteLeaf" : "VhdDeleteLeaf", format,
                   [](CheckpointRun& run) { return run.remove("side"); }, "", "side"});
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Changes, CheckpointCrash, testing::ValuesIn(changes()),
                         [](const auto& one) { return one.param.name; });

class CheckpointLost : public testing::TestWithParam<Format> {};

TEST_P(CheckpointLost, TheTreeIsRebuiltFromTheImages) {
  Timeline disk = timeline(GetParam());
  const CheckpointTree before = disk.list();
  ASSERT_TRUE(disk.chain().store().remove(disk.disk() + ".checkpoints"));
  const CheckpointTree after = disk.list();
  std::set<std::string> files_before{before.current};
  std::set<std::string> files_after{after.current};
  for (const Checkpoint& one : before.checkpoints) files_before.insert(one.file);
  for (const Checkpoint& one : after.checkpoints) files_after.insert(one.file);
  EXPECT_EQ(files_before, files_after);
  EXPECT_FALSE(after.notes.empty());
  // It counts from the next change on.
  ASSERT_TRUE(disk.on([](CheckpointRun& run) { return run.create("four"); }));
  EXPECT_TRUE(disk.has("recovered 1"));
  EXPECT_TRUE(disk.has("four"));
}

TEST_P(CheckpointLost, ABrokenCatalogueIsAnErrorAndStays) {
  Timeline disk = timeline(GetParam());
  ASSERT_TRUE(disk.chain().store().write_text(disk.disk() + ".checkpoints", "{\"version\": 1"));
  const auto tree = disk.on([](CheckpointRun& run) { return run.create("four"); });
  ASSERT_FALSE(tree);
  EXPECT_EQ(tree.error().code, Errc::corrupt);
  EXPECT_EQ(*disk.chain().store().read_text(disk.disk() + ".checkpoints", 100), "{\"version\": 1");
}

INSTANTIATE_TEST_SUITE_P(Formats, CheckpointLost, testing::Values(Format::vhdx, Format::vhd),
                         [](const auto& one) { return std::string{to_string(one.param)}; });

}  // namespace
}  // namespace openvhd::test
