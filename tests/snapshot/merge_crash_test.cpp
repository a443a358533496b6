// Power cuts and failing hosts in the middle of a merge: C05 and D7, at every step.
#include <gtest/gtest.h>

#include <cerrno>
#include <functional>

#include "snapshot/merge_record.hpp"
#include "snapshot/merge_run.hpp"
#include "snapshot/sim_chain.hpp"
#include "support/bytes.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::test {
namespace {

using snapshot::MergeTask;
using snapshot::PullTask;

/// base <- a <- b <- leaf, each with data, zeros and partly written blocks of its own; `other` is
/// over the leaf.
SimChain four_levels(const Shape& shape, DiskType base_type = DiskType::dynamic) {
  SimChain chain{shape};
  const std::uint64_t block = chain.shape().block;
  const std::string base = chain.name("base"), a = chain.name("a"), b = chain.name("b"),
                    leaf = chain.name("leaf"), other = chain.name("other");
  chain.create(base, base_type);
  chain.write(base, 0, pattern(block + 4096, 1));
  chain.write(base, 3 * block, pattern(block, 2));
  chain.create_child(a, base);
  chain.write(a, 1024, pattern(3000, 3));
  chain.zero(a, block, block);
  chain.create_child(b, a);
  chain.write(b, block + 512, pattern(512, 4));
  chain.write(b, 2 * block, pattern(block, 5));
  chain.zero(b, 8192, 1024);
  chain.create_child(leaf, b);
  chain.write(leaf, 2 * block + 4096, pattern(4096, 6));
  chain.zero(leaf, 3 * block, 4096);
  chain.create_child(other, leaf);
  chain.write(other, 100, pattern(300, 7));
  return chain;
}

struct Case {
  const char* name;
  Format format;
  unsigned child;   // 0: leaf, 1: b, 2: a
  unsigned levels;  // merged at once
  bool keep = false;
  DiskType base = DiskType::dynamic;
  std::uint32_t sector = 512;
  bool in_steps = false;  // a note after each block
};

Shape shape_of(const Case& c) {
  Shape out = small_shape(c.format, c.sector);
  if (c.in_steps) out.milestone = out.block;
  return out;
}

class MergeCrash : public testing::TestWithParam<Case> {
 protected:
  MergeCrash() : chain_{four_levels(shape_of(GetParam()), GetParam().base)} {
    const std::vector<std::string> names{chain_.name("leaf"), chain_.name("b"), chain_.name("a"),
                                         chain_.name("base")};
    const Case& c = GetParam();
    task_ = {.format = c.format,
             .paths = {names.begin() + c.child, names.begin() + c.child + c.levels + 1},
             .keep = c.keep};
    for (const char* stem : {"other", "leaf", "b", "a", "base"}) {
      const std::string name = chain_.name(stem);
      before_[name] = *chain_.read(name);
    }
    // Those above the merged child live on, whatever happens below them.
    live_ = {chain_.name("other")};
    live_.insert(live_.end(), names.begin(), names.begin() + c.child);
    // From here on everything is recorded.
    chain_ = SimChain{chain_.shape(), chain_.store().copy()};
  }

  const std::string& child() const { return task_.paths.front(); }
  const std::string& target() const { return task_.paths.back(); }

  /// Every live disk reads as it did before; the merged one by its own name or the target's.
  void expect_readable(SimChain& chain) {
    for (const std::string& name : live_) expect_reads(chain, name, name);
    const bool there = chain.store().exists(child());
    expect_reads(chain, there ? child() : target(), child());
  }
  void expect_reads(SimChain& chain, const std::string& name, const std::string& as) {
    const auto got = chain.read(name);
    ASSERT_TRUE(got) << name << ": " << got.error().what;
    ASSERT_TRUE(*got == before_.at(as)) << name << " reads otherwise";
  }
  void expect_merged(SimChain& chain) {
    expect_readable(chain);
    expect_reads(chain, target(), child());
    EXPECT_EQ(chain.store().exists(child()), task_.keep);
    EXPECT_FALSE(chain.store().exists(snapshot::record_path(target())));
    const auto names = chain.store().list(".");
    for (const std::string& name : *names) {
      EXPECT_EQ(chain.errors_in(name), std::vector<std::string>{}) << name;
    }
  }
  /// Goes on as the tool would: by the record where there is one, else from the start.
  void finish(SimChain& chain) {
    const auto shop = chain.shop();
    if (chain.store().exists(snapshot::record_path(target()))) {
      const auto done = snapshot::finish_merge(shop, task_.format, target(), {});
      ASSERT_TRUE(done) << done.error().what;
      EXPECT_TRUE(done->resumed);
    } else if (chain.store().exists(child()) && !merged(chain)) {
      const auto done = run_merge(shop, task_);
      ASSERT_TRUE(done) << done.error().what;
    }
  }
  bool merged(SimChain& chain) {
    return task_.keep && *chain.read(target()) == before_.at(child()) &&
           (*chain.chain(child()))[1] == target() && task_.paths.size() > 2;
  }

  SimChain chain_;
  MergeTask task_;
  std::map<std::string, Contents> before_;
  std::vector<std::string> live_;
};

TEST_P(MergeCrash, MergesAndKeepsEveryLiveDisk) {
  const auto done = run_merge(chain_.shop(), task_);
  ASSERT_TRUE(done) << done.error().what;
  expect_merged(chain_);
  EXPECT_EQ(done->removed.size(), task_.keep ? 0 : GetParam().levels);
}

TEST_P(MergeCrash, EveryCutLeavesWhatCanBeReadAndFinished) {
  ASSERT_TRUE(run_merge(chain_.shop(), task_));
  const auto cuts = chain_.store().cuts();
  ASSERT_GT(cuts.size(), 20u);
  std::uint64_t seed = 1;
  for (const std::uint64_t tick : cuts) {
    for (const auto survivors :
         {SimStore::Survivors::all, SimStore::Survivors::none, SimStore::Survivors::some}) {
      SCOPED_TRACE("cut before tick " + std::to_string(tick) + ", survivors " +
                   std::to_string(static_cast<int>(survivors)));
      SimChain found{chain_.shape(), chain_.store().after_cut(tick, survivors, seed++)};
      expect_readable(found);
      if (HasFatalFailure()) return;
      finish(found);
      if (HasFatalFailure()) return;
      expect_merged(found);
      if (HasFatalFailure()) return;
    }
  }
}

// A merge that is far along is not begun again, unless somebody wrote to the child.
TEST(VhdxMerge, AResumedMergeGoesOnFromItsLastNote) {
  Shape shape = small_shape(Format::vhdx);
  shape.milestone = shape.block;
  SimChain chain = four_levels(shape);
  const std::vector<std::string> paths{chain.name("leaf"), chain.name("b"), chain.name("a"),
                                       chain.name("base")};
  ASSERT_TRUE(chain.store().remove(chain.name("other")));
  const Contents before = *chain.read(paths.front());
  chain = SimChain{shape, chain.store().copy()};
  const auto whole = run_merge(chain.shop(), {.format = Format::vhdx, .paths = paths});
  ASSERT_TRUE(whole) << whole.error().what;
  unsigned noted = 0;
  std::uint64_t furthest = 0;
  for (const std::uint64_t tick : chain.store().cuts()) {
    SCOPED_TRACE("cut before tick " + std::to_string(tick));
    const auto store = chain.store().after_cut(tick, SimStore::Survivors::none, tick);
    const auto record = snapshot::read_record(*store, paths.back());
    if (!record || record->stage != snapshot::MergeRecord::Stage::copy || record->done == 0) {
      continue;
    }
    ++noted;
    furthest = std::max(furthest, record->done);
    SimChain found{shape, store->copy()};
    const auto done = snapshot::finish_merge(found.shop(), Format::vhdx, paths.back(), {});
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_LT(done->copied_bytes, whole->copied_bytes);
    ASSERT_TRUE(*found.read(paths.back()) == before);
    SimChain written{shape, store->copy()};
    written.write(paths.front(), 512, pattern(1024, tick));
    const Contents after = *written.read(paths.front());
    const auto again = snapshot::finish_merge(written.shop(), Format::vhdx, paths.back(), {});
    ASSERT_TRUE(again) << again.error().what;
    EXPECT_GE(again->copied_bytes, whole->copied_bytes);
    ASSERT_TRUE(*written.read(paths.back()) == after);
  }
  EXPECT_GT(noted, 2u);
  EXPECT_GE(furthest, 2 * shape.block);
}

// The second half of what the cuts leave is cut again.
TEST_P(MergeCrash, AResumedMergeMayBeCutToo) {
  ASSERT_TRUE(run_merge(chain_.shop(), task_));
  const auto cuts = chain_.store().cuts();
  std::uint64_t seed = 1;
  for (std::size_t i = 0; i < cuts.size(); i += 7) {
    SimChain first{chain_.shape(),
                   chain_.store().after_cut(cuts[i], SimStore::Survivors::some, seed++)};
    finish(first);
    ASSERT_FALSE(HasFatalFailure());
    const auto again = first.store().cuts();
    for (std::size_t k = i % 5; k < again.size(); k += 5) {
      SCOPED_TRACE("cut before tick " + std::to_string(cuts[i]) + ", again before " +
                   std::to_string(again[k]));
      SimChain second{chain_.shape(),
                      first.store().after_cut(again[k], SimStore::Survivors::some, seed++)};
      expect_readable(second);
      if (HasFatalFailure()) return;
      finish(second);
      if (HasFatalFailure()) return;
      expect_merged(second);
      if (HasFatalFailure()) return;
    }
  }
}

// The child is a disk for as long as it has its name: what a guest writes to it after a cut is in
// the disk that the resumed merge leaves.
TEST_P(MergeCrash, WhatIsWrittenToTheChildBetweenCutAndResumeIsKept) {
  // Whoever is over a disk that is written to cannot be used any more.
  if (child() != chain_.name("leaf")) GTEST_SKIP();
  ASSERT_TRUE(chain_.store().remove(chain_.name("other")));
  live_.clear();
  chain_ = SimChain{chain_.shape(), chain_.store().copy()};
  ASSERT_TRUE(run_merge(chain_.shop(), task_));
  const std::uint64_t block = chain_.shape().block;
  std::uint64_t seed = 1;
  std::map<snapshot::MergeRecord::Stage, unsigned> stages;
  for (const std::uint64_t tick : chain_.store().cuts()) {
    SCOPED_TRACE("cut before tick " + std::to_string(tick));
    SimChain found{chain_.shape(),
                   chain_.store().after_cut(tick, SimStore::Survivors::some, seed++)};
    const auto record = snapshot::read_record(found.store(), target());
    if (!record || !found.store().exists(child())) continue;
    ++stages[record->stage];
    found.write(child(), block + 1024, pattern(2048, 100 + seed));
    found.zero(child(), 2 * block, 512);
    if (HasFatalFailure()) return;
    const auto written = found.read(child());
    ASSERT_TRUE(written);
    const auto done = snapshot::finish_merge(found.shop(), task_.format, target(), {});
    ASSERT_TRUE(done) << done.error().what;
    const auto got = found.read(task_.keep ? child() : target());
    ASSERT_TRUE(got) << got.error().what;
    ASSERT_TRUE(*got == *written) << "stage " << static_cast<int>(record->stage);
    EXPECT_EQ(found.store().exists(child()), task_.keep);
    EXPECT_EQ(found.errors_in(target()), std::vector<std::string>{});
  }
  EXPECT_GT(stages[snapshot::MergeRecord::Stage::copy], 0u);
  // With one level and nobody over the child there is nothing to do between the two notes.
  EXPECT_GT(
      stages[snapshot::MergeRecord::Stage::relink] + stages[snapshot::MergeRecord::Stage::remove],
      1u);
}

TEST_P(MergeCrash, AnyCommandMayFail) {
  std::uint64_t ticks = 0;
  {
    SimChain trial{chain_.shape(), chain_.store().copy()};
    ASSERT_TRUE(run_merge(trial.shop(), task_));
    ticks = trial.store().power().now();
  }
  // One by one where an image is small; a VHDX takes milliseconds to look at.
  const std::uint64_t stride = GetParam().format == Format::vhdx ? 3 : 1;
  for (std::uint64_t tick = 0; tick < ticks; tick += stride) {
    SCOPED_TRACE("error at tick " + std::to_string(tick));
    SimChain trial{chain_.shape(), chain_.store().copy()};
    trial.store().fail_at(tick, EIO);
    // What may be left out, such as giving space back, may fail unseen.
    static_cast<void>(run_merge(trial.shop(), task_));
    SimChain found{chain_.shape(), trial.store().copy()};
    expect_readable(found);
    if (HasFatalFailure()) return;
    finish(found);
    if (HasFatalFailure()) return;
    expect_merged(found);
    if (HasFatalFailure()) return;
  }
}

TEST_P(MergeCrash, AFullDiskStopsItAndRoomLetsItGoOn) {
  for (std::uint64_t tick = 0;; tick += 3) {
    SCOPED_TRACE("full from tick " + std::to_string(tick));
    SimChain trial{chain_.shape(), chain_.store().copy()};
    trial.store().full_from(tick);
    const auto done = run_merge(trial.shop(), task_);
    if (done) break;
    EXPECT_EQ(done.error().code, Errc::no_space) << done.error().what;
    SimChain found{chain_.shape(), trial.store().copy()};
    expect_readable(found);
    if (HasFatalFailure()) return;
    finish(found);
    if (HasFatalFailure()) return;
    expect_merged(found);
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Chains, MergeCrash,
    testing::Values(Case{"VhdxOne", Format::vhdx, 0, 1}, Case{"VhdxMiddle", Format::vhdx, 1, 1},
                    Case{"Vhdx4KnAllInSteps", Format::vhdx, 0, 3, false, DiskType::dynamic, 4096,
                         true},
                    Case{"VhdxKeep", Format::vhdx, 0, 2, true},
                    Case{"VhdxIntoFixed", Format::vhdx, 2, 1, false, DiskType::fixed},
                    Case{"VhdOne", Format::vhd, 0, 1}, Case{"VhdMiddle", Format::vhd, 1, 1},
                    Case{"VhdAllInSteps", Format::vhd, 0, 3, false, DiskType::dynamic, 512, true},
                    Case{"VhdKeep", Format::vhd, 0, 2, true},
                    Case{"VhdIntoFixed", Format::vhd, 2, 1, false, DiskType::fixed}),
    [](const auto& one) { return one.param.name; });

// As it is after somebody else's merge that was finished without its last step.
TEST(VhdxMerge, AChildThatKnowsItsParentByTheSecondLinkReadsTheSameAtEveryCut) {
  SimChain chain{small_shape(Format::vhdx)};
  const std::string base = chain.name("base"), child = chain.name("child");
  chain.create(base);
  chain.write(base, 0, pattern(8192, 1));
  chain.create_child(child, base);
  chain.write(child, 4096, pattern(2048, 2));
  {
    auto held = hold(chain.shop(), base, Lock::none, std::nullopt);
    ASSERT_TRUE(held);
    const auto facts = facts_of(chain.shop(), Format::vhdx, *held);
    ASSERT_TRUE(facts);
    auto file = chain.store().open(child, Lock::writer);
    ASSERT_TRUE(file);
    FixedHost host;
    ASSERT_TRUE(
        set_parent(Format::vhdx, **file, {.linkage = Guid{{1}}, .linkage2 = facts->id}, host));
  }
  const auto before = chain.read(child);
  ASSERT_TRUE(before);
  chain = SimChain{chain.shape(), chain.store().copy()};
  const MergeTask task{.format = Format::vhdx, .paths = {child, base}};
  ASSERT_TRUE(run_merge(chain.shop(), task));
  std::uint64_t seed = 1;
  for (const std::uint64_t tick : chain.store().cuts()) {
    SCOPED_TRACE("cut before tick " + std::to_string(tick));
    SimChain found{chain.shape(), chain.store().after_cut(tick, SimStore::Survivors::some, seed++)};
    const auto got = found.read(found.store().exists(child) ? child : base);
    ASSERT_TRUE(got) << got.error().what;
    ASSERT_TRUE(*got == *before);
    if (!found.store().exists(snapshot::record_path(base))) continue;
    ASSERT_TRUE(snapshot::finish_merge(found.shop(), Format::vhdx, base, {}));
    ASSERT_TRUE(*found.read(base) == *before);
  }
}

struct PullCase {
  const char* name;
  Format format;
  unsigned levels;  // that stay above: 0 pulls everything
  std::uint32_t sector = 512;
};

class PullCrash : public testing::TestWithParam<PullCase> {
 protected:
  PullCrash() : chain_{four_levels(small_shape(GetParam().format, GetParam().sector))} {
    const std::vector<std::string> names{chain_.name("leaf"), chain_.name("b"), chain_.name("a"),
                                         chain_.name("base")};
    task_ = {.format = GetParam().format, .paths = names, .detach = GetParam().levels == 0};
    if (GetParam().levels == 2) task_.paths.pop_back();
    for (const char* stem : {"other", "leaf", "b", "a", "base"}) {
      before_[chain_.name(stem)] = *chain_.read(chain_.name(stem));
    }
    chain_ = SimChain{chain_.shape(), chain_.store().copy()};
  }
  void expect_same(SimChain& chain) {
    for (const auto& [name, contents] : before_) {
      const auto got = chain.read(name);
      ASSERT_TRUE(got) << name << ": " << got.error().what;
      ASSERT_TRUE(*got == contents) << name << " reads otherwise";
    }
  }
  void expect_pulled(SimChain& chain) {
    expect_same(chain);
    const auto files = chain.chain(chain.name("leaf"));
    ASSERT_TRUE(files);
    EXPECT_EQ(files->size(), 1 + GetParam().levels);
    EXPECT_EQ(chain.errors_in(chain.name("leaf")), std::vector<std::string>{});
  }
  void finish(SimChain& chain) {
    if (chain.chain(chain.name("leaf"))->size() == 1 + GetParam().levels) {
      // A VHD may have two whole footers that lead to two whole headers, which read the same: one
      // of the two is to go, and a repair knows how.
      if (GetParam().format == Format::vhd) {
        const auto file = chain.store().open(chain.name("leaf"), Lock::writer);
        std::vector<std::string> actions;
        FixedHost host;
        ASSERT_TRUE(vhd::repair(**file, host, actions));
      }
      return;
    }
    const auto done = run_pull(chain.shop(), task_);
    ASSERT_TRUE(done) << done.error().what;
  }

  SimChain chain_;
  PullTask task_;
  std::map<std::string, Contents> before_;
};

TEST_P(PullCrash, EveryCutLeavesWhatCanBeReadAndFinished) {
  const auto done = run_pull(chain_.shop(), task_);
  ASSERT_TRUE(done) << done.error().what;
  expect_pulled(chain_);
  std::uint64_t seed = 1;
  for (const std::uint64_t tick : chain_.store().cuts()) {
    for (const auto survivors :
         {SimStore::Survivors::all, SimStore::Survivors::none, SimStore::Survivors::some}) {
      SCOPED_TRACE("cut before tick " + std::to_string(tick) + ", survivors " +
                   std::to_string(static_cast<int>(survivors)));
      SimChain found{chain_.shape(), chain_.store().after_cut(tick, survivors, seed++)};
      expect_same(found);
      if (HasFatalFailure()) return;
      finish(found);
      if (HasFatalFailure()) return;
      expect_pulled(found);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(PullCrash, AnyCommandMayFail) {
  std::uint64_t ticks = 0;
  {
    SimChain trial{chain_.shape(), chain_.store().copy()};
    ASSERT_TRUE(run_pull(trial.shop(), task_));
    ticks = trial.store().power().now();
  }
  // One by one where an image is small; a VHDX takes milliseconds to look at.
  const std::uint64_t stride = GetParam().format == Format::vhdx ? 3 : 1;
  for (std::uint64_t tick = 0; tick < ticks; tick += stride) {
    SCOPED_TRACE("error at tick " + std::to_string(tick));
    SimChain trial{chain_.shape(), chain_.store().copy()};
    trial.store().fail_at(tick, EIO);
    // What may be left out, such as giving space back, may fail unseen.
    static_cast<void>(run_pull(trial.shop(), task_));
    SimChain found{chain_.shape(), trial.store().copy()};
    expect_same(found);
    if (HasFatalFailure()) return;
    finish(found);
    if (HasFatalFailure()) return;
    expect_pulled(found);
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Chains, PullCrash,
                         testing::Values(PullCase{"VhdxEverything", Format::vhdx, 0},
                                         PullCase{"Vhdx4KnOverBase", Format::vhdx, 1, 4096},
                                         PullCase{"VhdxOverA", Format::vhdx, 2},
                                         PullCase{"VhdEverything", Format::vhd, 0},
                                         PullCase{"VhdOverBase", Format::vhd, 1},
                                         PullCase{"VhdOverA", Format::vhd, 2}),
                         [](const auto& one) { return one.param.name; });

}  // namespace
}  // namespace openvhd::test
