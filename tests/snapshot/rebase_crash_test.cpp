// Power cuts and failing hosts in the middle of a rebase: the child is over its old parent or over
// the new one, and reads the same (C05, D7).
#include <gtest/gtest.h>

#include <cerrno>
#include <map>

#include "snapshot/rebase_run.hpp"
#include "snapshot/sim_chain.hpp"
#include "support/bytes.hpp"

namespace openvhd::test {
namespace {

struct Case {
  const char* name;
  Format format;
  std::uint32_t sector;
};

/// base <- a <- child <- over, and beside it other <- new, which holds some of the same.
class RebaseCrash : public testing::TestWithParam<Case> {
 protected:
  RebaseCrash() : chain_{small_shape(GetParam().format, GetParam().sector)} {
    const std::uint64_t block = chain_.shape().block;
    const std::string base = chain_.name("base"), a = chain_.name("a"), over = chain_.name("over"),
                      other = chain_.name("other");
    child_ = chain_.name("child");
    new_ = chain_.name("new");
    chain_.create(base);
    chain_.write(base, 0, pattern(2 * block, 1));
    chain_.create_child(a, base);
    chain_.write(a, block + 4096, pattern(8192, 2));
    chain_.zero(a, 8192, 4096);
    chain_.create_child(child_, a);
    chain_.write(child_, 3 * block, pattern(5000, 3));
    chain_.create_child(over, child_);
    chain_.write(over, 100, pattern(300, 4));
    chain_.create(other);
    chain_.write(other, 0, pattern(block, 1));
    chain_.write(other, 2 * block, pattern(block, 5));
    chain_.create_child(new_, other);
    chain_.write(new_, 3 * block + 2048, pattern(20000, 6));
    for (const std::string& name : {base, a, child_, over, other, new_}) {
      before_[name] = *chain_.read(name);
    }
    chain_ = SimChain{chain_.shape(), chain_.store().copy()};
  }

  Status rebase(SimChain& chain) {
    auto old_disk = chain.open(child_, true);
    if (!old_disk) return old_disk.error();
    auto new_disk = chain.open(new_, false);
    if (!new_disk) return new_disk.error();
    const auto done =
        run_rebase(chain.shop(),
                   {.child = child_, .parent = new_, .old_disk = *std::move(old_disk)}, **new_disk);
    if (!done) return done.error();
    return Ok{};
  }
  void expect_same(SimChain& chain) {
    for (const auto& [name, contents] : before_) {
      const auto got = chain.read(name);
      ASSERT_TRUE(got) << name << ": " << got.error().what;
      ASSERT_TRUE(*got == contents) << name << " reads otherwise";
    }
  }
  /// Where it is not over its new parent yet, it is rebased once more.
  void expect_finishes(SimChain& chain) {
    const auto files = chain.chain(child_);
    ASSERT_TRUE(files) << files.error().what;
    if ((*files)[1] != new_) {
      const Status done = rebase(chain);
      ASSERT_TRUE(done) << done.error().what;
    }
    expect_same(chain);
    EXPECT_EQ((*chain.chain(child_))[1], new_);
    // A VHD that was cut off between its two footers opens by either; a repair makes them one.
    if (GetParam().format == Format::vhdx) {
      EXPECT_EQ(chain.errors_in(child_), std::vector<std::string>{});
    }
  }

  SimChain chain_;
  std::string child_, new_;
  std::map<std::string, Contents> before_;
};

TEST_P(RebaseCrash, EveryCutLeavesTheSameDiskOverOneOfTheTwo) {
  ASSERT_TRUE(rebase(chain_));
  expect_finishes(chain_);
  std::uint64_t seed = 1;
  for (const std::uint64_t tick : chain_.store().cuts()) {
    for (const auto survivors :
         {SimStore::Survivors::all, SimStore::Survivors::none, SimStore::Survivors::some}) {
      SCOPED_TRACE("cut before tick " + std::to_string(tick) + ", survivors " +
                   std::to_string(static_cast<int>(survivors)));
      SimChain found{chain_.shape(), chain_.store().after_cut(tick, survivors, seed++)};
      expect_same(found);
      if (HasFatalFailure()) return;
      expect_finishes(found);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(RebaseCrash, AnyCommandMayFail) {
  std::uint64_t ticks = 0;
  {
    SimChain trial{chain_.shape(), chain_.store().copy()};
    ASSERT_TRUE(rebase(trial));
    ticks = trial.store().power().now();
  }
  // One by one where an image is small; a VHDX takes milliseconds to look at.
  const std::uint64_t stride = GetParam().format == Format::vhdx ? 3 : 1;
  for (std::uint64_t tick = 0; tick < ticks; tick += stride) {
    SCOPED_TRACE("error at tick " + std::to_string(tick));
    SimChain trial{chain_.shape(), chain_.store().copy()};
    trial.store().fail_at(tick, EIO);
    static_cast<void>(rebase(trial));
    SimChain found{chain_.shape(), trial.store().copy()};
    expect_same(found);
    if (HasFatalFailure()) return;
    expect_finishes(found);
    if (HasFatalFailure()) return;
  }
}

TEST_P(RebaseCrash, AFullDiskStopsItAndRoomLetsItGoOn) {
  bool stopped = false;
  for (std::uint64_t tick = 0;; tick += 3) {
    SCOPED_TRACE("full from tick " + std::to_string(tick));
    SimChain trial{chain_.shape(), chain_.store().copy()};
    trial.store().full_from(tick);
    const Status done = rebase(trial);
    if (done) break;
    stopped = true;
    EXPECT_EQ(done.error().code, Errc::no_space) << done.error().what;
    SimChain found{chain_.shape(), trial.store().copy()};
    expect_same(found);
    if (HasFatalFailure()) return;
    expect_finishes(found);
    if (HasFatalFailure()) return;
  }
  EXPECT_TRUE(stopped);
}

INSTANTIATE_TEST_SUITE_P(Formats, RebaseCrash,
                         testing::Values(Case{"Vhdx4Kn", Format::vhdx, 4096},
                                         Case{"Vhd", Format::vhd, 512}),
                         [](const auto& one) { return std::string{one.param.name}; });

}  // namespace
}  // namespace openvhd::test
