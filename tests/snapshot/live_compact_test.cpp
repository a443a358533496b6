// Compacting the file of a disk that is open and written to, under power cuts and failing hosts.
#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/checked.hpp"
#include "snapshot/live_side.hpp"
#include "snapshot/online/compact_in_use.hpp"

namespace openvhd::test {
namespace {

/// Writes to the disk between moves.
class Writer final : public Progress {
 public:
  explicit Writer(LiveDisk& disk) : disk_{disk} {}
  bool update(std::uint64_t, std::uint64_t) noexcept override {
    if (++calls_ % 2 != 0) return true;
    // In blocks that are there, but for one.
    disk_.write((5 + calls_ % 4) * kMiB + 5000, 2000, 50 + calls_);
    if (calls_ == 4) disk_.write(9 * kMiB, 3000, 70);
    if (calls_ == 6) disk_.flush();
    return true;
  }

 private:
  LiveDisk& disk_;
  unsigned calls_ = 0;
};

class LiveCompact : public testing::TestWithParam<DiskType> {
 protected:
  static constexpr Shape kShape{Format::vhdx, 12 << 20, 1 << 20};

  LiveCompact() {
    SimChain chain{kShape, start_};
    if (GetParam() == DiskType::differencing) {
      chain.create("base.vhdx");
      chain.write("base.vhdx", 2 * kMiB, pattern(200'000, 9));
      chain.create_child("disk.vhdx", "base.vhdx");
    } else {
      chain.create("disk.vhdx");
    }
    // Holes at the beginning of the file, blocks behind them.
    for (std::uint64_t block = 0; block < 9; ++block)
      chain.write("disk.vhdx", block * kMiB + 100, pattern(4000, block + 1));
    for (const std::uint64_t block : {0u, 1u, 3u, 4u}) chain.zero("disk.vhdx", block * kMiB, kMiB);
  }

  struct Story {
    std::optional<History> history;
    Result<CompactResult> compacted{CompactResult{}};
    std::string failures;
  };
  Story run(const std::shared_ptr<SimStore>& store) {
    Story story;
    SimChain chain{kShape, store};
    auto opened = chain.open("disk.vhdx", true);
    if (!opened) return story;
    LiveDisk disk{chain, *std::move(opened), 12 * kMiB};
    Writer writer{disk};
    auto shop = chain.shop();
    const snapshot::Workshop busy{
        .store = shop.store, .host = shop.host, .driver = shop.driver, .progress = &writer};
    story.compacted = snapshot::compact_in_use(busy, disk.state(), snapshot::Pace{disk.state(), 0});
    disk.write(7 * kMiB, 3000, 80);
    disk.flush();
    disk.write(8 * kMiB, 3000, 81);
    disk.close();
    story.history = disk.history();
    story.failures = disk.failures();
    return story;
  }
  void expect_allowed(const std::shared_ptr<SimStore>& store, const Story& story,
                      std::uint64_t tick) {
    SimChain chain{kShape, store};
    const auto got = chain.read("disk.vhdx");
    ASSERT_TRUE(got) << got.error().what;
    ASSERT_TRUE(story.history->allows(*got, tick));
    chain.write("disk.vhdx", 11 * kMiB, pattern(100, 1));
    const auto errors = chain.errors_in("disk.vhdx");
    ASSERT_TRUE(errors.empty()) << errors.front();
  }

  std::shared_ptr<SimStore> start_ = std::make_shared<SimStore>();
};

TEST_P(LiveCompact, TheFileIsAsShortAsWhatItHolds) {
  const auto store = start_->copy();
  const Story story = run(store);
  ASSERT_TRUE(story.compacted) << story.compacted.error().what;
  EXPECT_EQ(story.failures, "");
  EXPECT_GE(story.compacted->moved_blocks, 2u);
  EXPECT_LT(story.compacted->file_size_after, story.compacted->file_size_before);
  expect_allowed(store->copy(), story, SimStore::kNever);
}

TEST_P(LiveCompact, EveryCutKeepsTheDisk) {
  const auto store = start_->copy();
  const Story story = run(store);
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

TEST_P(LiveCompact, AnyCommandMayFail) {
  const auto trial = start_->copy();
  static_cast<void>(run(trial));
  const std::uint64_t ticks = trial->power().now();
  for (std::uint64_t tick = 0; tick < ticks; tick += 11) {
    for (const int error : {EIO, ENOSPC}) {
      SCOPED_TRACE("error " + std::to_string(error) + " at tick " + std::to_string(tick));
      const auto store = start_->copy();
      fail(*store, tick, error);
      const Story story = run(store);
      if (!story.history) continue;
      expect_allowed(store->copy(), story, SimStore::kNever);
      if (HasFatalFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, LiveCompact,
                         testing::Values(DiskType::dynamic, DiskType::differencing),
                         [](const auto& one) { return std::string{to_string(one.param)}; });

}  // namespace
}  // namespace openvhd::test
