// Resizing a disk that is open, under power cuts and failing hosts (C07, D7, T10).
#include <algorithm>
#include <cerrno>
#include <openvhd/resize.hpp>
#include <optional>

#include "base/checked.hpp"
#include "snapshot/live_side.hpp"

namespace openvhd::test {
namespace {

struct Sizes {
  const char* name;
  Format format;
  DiskType type;
  std::uint64_t from;
  std::uint64_t to;
  std::uint64_t block = 1 << 20;
};

class LiveResize : public testing::TestWithParam<Sizes> {
 protected:
  LiveResize() {
    const Sizes& sizes = GetParam();
    SimChain chain{{sizes.format, sizes.from, sizes.block}, start_};
    name_ = chain.name("disk");
    chain.create(name_, sizes.type);
    chain.write(name_, 0, pattern(6000, 1));
  }

  struct Story {
    std::optional<History> history;  // of what both sizes have
    Status resized{Ok{}};
    std::uint64_t settled = SimStore::kNever;  // from here on the disk has its new size
  };
  SimChain chain_on(const std::shared_ptr<SimStore>& store) {
    return SimChain{{GetParam().format, GetParam().from, GetParam().block}, store};
  }
  static std::uint64_t front() { return std::min({GetParam().from, GetParam().to, 8 * kMiB}); }

  /// Writes, resizes, writes.
  Story run(const std::shared_ptr<SimStore>& store) {
    Story story;
    SimChain chain = chain_on(store);
    auto opened = chain.open(name_, true);
    if (!opened) return story;
    LiveDisk disk{chain, *std::move(opened), front()};
    disk.write(8192, 3000, 2);
    disk.write(front() - 4096, 3000, 3);
    disk.flush();
    disk.write(24'000, 3000, 4);
    const auto resized = disk.disk().resize({.size = GetParam().to, .force = true});
    if (resized) {
      story.settled = disk.tick();
      EXPECT_EQ(disk.disk().geometry().virtual_size, GetParam().to);
      std::vector<std::byte> beyond(512);
      EXPECT_EQ(disk.disk().read({GetParam().to}, beyond).error().code, Errc::out_of_range);
    } else {
      story.resized = resized.error();
    }
    // It goes on, whatever came of that.
    disk.write(16'384, 3000, 5);
    disk.flush();
    disk.write(8'000, 3000, 6);
    disk.close();
    story.history = disk.history();
    return story;
  }

  void expect_old_or_new(const std::shared_ptr<SimStore>& store, const Story& story,
                         std::uint64_t tick) {
    SimChain chain = chain_on(store);
    {
      // Mends what a cut left.
      auto disk = chain.open(name_, true);
      ASSERT_TRUE(disk) << disk.error().what;
      ASSERT_TRUE((*disk)->close());
    }
    auto disk = chain.open(name_, false);
    ASSERT_TRUE(disk) << disk.error().what;
    const std::uint64_t size = (*disk)->virtual_size();
    EXPECT_TRUE(size == GetParam().to ||
                ((tick < story.settled || !story.resized) && size == GetParam().from))
        << size;
    Contents got(front());
    ASSERT_TRUE((*disk)->read({}, got));
    ASSERT_TRUE(story.history->allows(got, tick));
    const std::uint64_t end = std::min(size, 8 * kMiB);
    if (end > GetParam().from) {
      Contents grown(end - GetParam().from);
      ASSERT_TRUE((*disk)->read({GetParam().from}, grown));
      EXPECT_TRUE(std::ranges::all_of(grown, [](std::byte b) { return b == std::byte{0}; }));
    }
    disk->reset();
    const auto errors = serious_errors(chain, name_);
    EXPECT_TRUE(errors.empty()) << errors.front();
  }

  std::shared_ptr<SimStore> start_ = std::make_shared<SimStore>();
  std::string name_;
};

TEST_P(LiveResize, EveryCutLeavesTheOldOrTheNew) {
  const auto store = start_->copy();
  const Story story = run(store);
  ASSERT_TRUE(story.resized) << story.resized.error().what;
  std::uint64_t seed = 1;
  for (const std::uint64_t tick : store->cuts()) {
    for (const auto survivors : survivors_at(tick)) {
      SCOPED_TRACE("cut before tick " + std::to_string(tick) + ", survivors " +
                   std::to_string(static_cast<int>(survivors)));
      expect_old_or_new(store->after_cut(tick, survivors, seed++), story, tick);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(LiveResize, AnyCommandMayFail) {
  const auto trial = start_->copy();
  static_cast<void>(run(trial));
  const std::uint64_t ticks = trial->power().now();
  const std::uint64_t stride = GetParam().format == Format::vhdx ? 9 : 2;
  for (std::uint64_t tick = 0; tick < ticks; tick += stride) {
    for (const int error : {EIO, ENOSPC}) {
      SCOPED_TRACE("error " + std::to_string(error) + " at tick " + std::to_string(tick));
      const auto store = start_->copy();
      fail(*store, tick, error);
      const Story story = run(store);
      if (!story.history) continue;
      expect_old_or_new(store->copy(), story, SimStore::kNever);
      if (HasFatalFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, LiveResize,
    testing::Values(
        Sizes{"VhdxGrows", Format::vhdx, DiskType::dynamic, 4 * kMiB, 7 * kMiB},
        Sizes{"VhdxTableMoves", Format::vhdx, DiskType::dynamic, 4 * kMiB, 200 * kGiB},
        Sizes{"VhdxShrinks", Format::vhdx, DiskType::dynamic, 7 * kMiB, 4 * kMiB},
        Sizes{"VhdxFixedGrows", Format::vhdx, DiskType::fixed, 4 * kMiB, 6 * kMiB},
        Sizes{"VhdGrows", Format::vhd, DiskType::dynamic, 256 * kKiB, 512 * kKiB, 32 * kKiB},
        Sizes{"VhdTableMoves", Format::vhd, DiskType::dynamic, 256 * kKiB, 6 * kMiB, 32 * kKiB},
        Sizes{"VhdShrinks", Format::vhd, DiskType::dynamic, 256 * kKiB, 128 * kKiB, 32 * kKiB},
        Sizes{"VhdFixedGrows", Format::vhd, DiskType::fixed, 256 * kKiB, 320 * kKiB, 32 * kKiB},
        Sizes{"VhdFixedShrinks", Format::vhd, DiskType::fixed, 256 * kKiB, 192 * kKiB, 32 * kKiB}),
    [](const auto& one) { return one.param.name; });

}  // namespace
}  // namespace openvhd::test
