// Merging layers of a disk that is open and written to, under power cuts and failing hosts (C05,
// T10).
#include <algorithm>
#include <cerrno>
#include <optional>

#include "snapshot/live_side.hpp"
#include "snapshot/merge_record.hpp"
#include "snapshot/online/merge_in_use.hpp"

namespace openvhd::test {
namespace {

using snapshot::Pace;

/// Writes to the disk whenever the merge tells how far it is.
class Writer final : public Progress {
 public:
  explicit Writer(LiveDisk& disk) : disk_{disk} {}
  bool update(std::uint64_t, std::uint64_t) noexcept override {
    if (writes_ >= 8) return true;
    const std::uint64_t at = (writes_ * 37'000 + 512) % 200'000;
    if (writes_ == 3) {
      disk_.zero(at / 512 * 512, 40'960);
    } else {
      disk_.write(at, 2'000, 100 + writes_);
    }
    if (writes_ % 3 == 2) disk_.flush();
    ++writes_;
    return true;
  }

 private:
  LiveDisk& disk_;
  std::uint64_t writes_ = 0;
};

struct Which {
  const char* name;
  Format format;
  std::size_t layer;
};

class LiveMerge : public testing::TestWithParam<Which> {
 protected:
  LiveMerge() {
    SimChain chain{small_shape(GetParam().format), start_};
    names_ = {chain.name("leaf"), chain.name("middle"), chain.name("base")};
    chain.create(names_[2]);
    chain.write(names_[2], 0, pattern(100'000, 1));
    chain.create_child(names_[1], names_[2]);
    chain.write(names_[1], 3000, pattern(70'000, 2));
    chain.zero(names_[1], 131'072, 65'536);
    chain.create_child(names_[0], names_[1]);
    chain.write(names_[0], 20'000, pattern(9'000, 3));
  }

  struct Story {
    std::optional<History> history;
    Status merged{Ok{}};
    std::uint64_t done = SimStore::kNever;
    std::string failures;
  };
  Story run(const std::shared_ptr<SimStore>& store) {
    Story story;
    SimChain chain{small_shape(GetParam().format), store};
    auto opened = chain.open(names_[0], true);
    if (!opened) return story;
    LiveDisk disk{chain, *std::move(opened)};
    disk.write(1000, 3000, 4);
    disk.flush();
    Writer writer{disk};
    auto shop = chain.shop();
    snapshot::Workshop busy{
        .store = shop.store, .host = shop.host, .driver = shop.driver, .progress = &writer};
    const auto merged = snapshot::merge_in_use(busy, disk.state(), GetParam().format,
                                               GetParam().layer, {}, Pace{disk.state(), 0});
    if (merged) story.done = disk.tick();
    if (!merged) story.merged = merged.error();
    const bool known = merged && disk.failures().empty();
    EXPECT_TRUE(!known || disk.read_all() == disk.history().now());
    disk.write(150'000, 3'000, 5);
    disk.flush();
    disk.write(5'000, 300, 6);
    disk.close();
    story.history = disk.history();
    story.failures = disk.failures();
    return story;
  }

  /// The disk, as somebody finds it who knows its old names.
  void expect_allowed(const std::shared_ptr<SimStore>& store, const Story& story,
                      std::uint64_t tick) {
    SimChain chain{small_shape(GetParam().format), store};
    const bool switched = !store->exists(names_[0]);
    EXPECT_TRUE(!switched || GetParam().layer == 0);
    EXPECT_TRUE(tick < story.done || !story.merged || !store->exists(names_[GetParam().layer]));
    const std::string& disk = names_[switched ? 1 : 0];
    const auto got = chain.read(disk);
    ASSERT_TRUE(got) << disk << ": " << got.error().what;
    ASSERT_TRUE(story.history->allows(*got, tick)) << story.failures;
    const std::string& target = names_[GetParam().layer + 1];
    if (store->exists(snapshot::record_path(target))) {
      const auto shop = chain.shop();
      const auto finished = snapshot::finish_merge(shop, GetParam().format, target, {});
      ASSERT_TRUE(finished) << finished.error().what;
    }
    const auto again = chain.read(store->exists(names_[0]) ? names_[0] : names_[1]);
    ASSERT_TRUE(again) << again.error().what;
    ASSERT_TRUE(*again == *got) << "the resumed merge changed the disk";
    for (const std::string& name : names_) {
      if (!store->exists(name)) continue;
      const auto errors = serious_errors(chain, name);
      ASSERT_TRUE(errors.empty()) << name << ": " << errors.front();
    }
  }

  std::shared_ptr<SimStore> start_ = std::make_shared<SimStore>();
  std::vector<std::string> names_;
};

TEST_P(LiveMerge, TheDiskGoesOnWithoutTheLayer) {
  const auto store = start_->copy();
  const Story story = run(store);
  ASSERT_TRUE(story.merged) << story.merged.error().what;
  ASSERT_EQ(story.failures, "");
  EXPECT_FALSE(store->exists(names_[GetParam().layer]));
  EXPECT_FALSE(store->exists(snapshot::record_path(names_[GetParam().layer + 1])));
  expect_allowed(store->copy(), story, SimStore::kNever);
}

TEST_P(LiveMerge, EveryCutLeavesAllOfIt) {
  const auto store = start_->copy();
  const Story story = run(store);
  ASSERT_TRUE(story.merged) << story.merged.error().what;
  ASSERT_EQ(story.failures, "");
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

TEST_P(LiveMerge, AnyCommandMayFail) {
  const auto trial = start_->copy();
  static_cast<void>(run(trial));
  const std::uint64_t ticks = trial->power().now();
  const std::uint64_t stride = GetParam().format == Format::vhdx ? 11 : 3;
  for (std::uint64_t tick = 0; tick < ticks; tick += stride) {
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

INSTANTIATE_TEST_SUITE_P(Layers, LiveMerge,
                         testing::Values(Which{"VhdxLeaf", Format::vhdx, 0},
                                         Which{"VhdxMiddle", Format::vhdx, 1},
                                         Which{"VhdLeaf", Format::vhd, 0},
                                         Which{"VhdMiddle", Format::vhd, 1}),
                         [](const auto& one) { return one.param.name; });

}  // namespace
}  // namespace openvhd::test
