// Cuts power at every command of random work on one image. Whatever the cut leaves must open,
// hold what a flush covered, and hold in every other sector something that was written to it.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <ostream>
#include <random>
#include <vector>

#include "base/checked.hpp"
#include "support/bytes.hpp"
#include "vhdx/engine_crash_file.hpp"
#include "vhdx/engine_fixture.hpp"
#include "vhdx/engine_model.hpp"

namespace openvhd::test {
namespace {

struct Case {
  const char* name;
  EngineShape shape;
  std::uint64_t window_bytes;
  std::size_t windows;
  int operations;
  std::uint64_t seeds;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class VhdxEngineCrash : public testing::TestWithParam<Case> {};

/// What each sector may hold: by the event count after which an operation had begun, or a flush
/// had completed.
struct Mark {
  std::size_t events = 0;
  bool flushed = false;
  DiskModel::Range range{};
  std::uint32_t tag = 0;
};

class Workload {
 public:
  Workload(const Case& c, std::uint64_t seed)
      : random_{seed}, shape_{c.shape}, model_{c.shape, c.window_bytes, c.windows, seed} {
    const auto store = make_image(c.shape);
    start_ = std::make_unique<MemoryStore>(*store);
    // A few blocks from an earlier session, so that there is something to lose.
    {
      OpenEngine image{store, c.shape};
      for (int i = 0; i < 6; ++i) step(image);
      EXPECT_EQ(failure_of(image.close()), "");
    }
    marks_.clear();
    before_ = std::make_unique<DiskModel>(model_);
    start_ = std::make_unique<MemoryStore>(*store);
    OpenEngine image{store, c.shape, true, [&](std::unique_ptr<File> below) {
                       return std::make_unique<RecordingFile>(std::move(below), history_);
                     }};
    for (int i = 0; i < c.operations; ++i) step(image);
    EXPECT_EQ(failure_of(image.close()), "");
    marks_.push_back({.events = history_.size(), .flushed = true});
  }

  void step(OpenEngine& image) {
    const std::uint64_t what = random_() % 12;
    if (what < 2) {
      EXPECT_EQ(failure_of(image.flush()), "");
      marks_.push_back({.events = history_.size(), .flushed = true});
      return;
    }
    auto range = model_.random_range(random_, what < 8 ? 16 * kKiB : kMiB);
    std::uint32_t tag = ++tag_;
    if (what >= 9) {
      tag = DiskModel::kZeros;
      if (what == 11) {
        const std::uint64_t first = align_down(range.at, shape_.block_size);
        range = {first, std::min(2 * shape_.block_size, shape_.virtual_size - first)};
      }
    }
    // From here on the sectors may hold it.
    marks_.push_back({.events = history_.size(), .flushed = false, .range = range, .tag = tag});
    if (what >= 9) {
      const auto kind = what == 9 ? ClearKind::zero : ClearKind::trim;
      EXPECT_EQ(failure_of(image.clear(range.at, range.length, kind)), "");
    } else {
      EXPECT_EQ(failure_of(image.write(range.at, model_.contents_of(range.at, range.length, tag))),
                "");
    }
    model_.put(range.at, range.length, tag);
  }

  std::size_t events() const { return history_.size(); }
  const MemoryStore& start() const { return *start_; }
  const FileHistory& history() const { return history_; }

  /// Empty when `image` may be what a cut after `cut` events left.
  std::string judge(OpenEngine& image, std::size_t cut) const {
    DiskModel flushed = *before_;
    std::vector<DiskModel::Open> open;
    for (const Mark& mark : marks_) {
      if (mark.events > cut) break;
      if (!mark.flushed) {
        open.push_back({mark.range, mark.tag});
        continue;
      }
      for (const auto& [range, tag] : open) flushed.put(range.at, range.length, tag);
      open.clear();
    }
    return flushed.compare(image, open);
  }

 private:
  std::mt19937_64 random_;
  EngineShape shape_;
  DiskModel model_;
  std::unique_ptr<DiskModel> before_;
  std::unique_ptr<MemoryStore> start_;
  FileHistory history_;
  std::vector<Mark> marks_;
  std::uint32_t tag_ = DiskModel::kParent;
};

void check_cut(const Workload& work, const EngineShape& shape,
               const std::shared_ptr<MemoryStore>& store, std::size_t cut) {
  {
    OpenEngine reader{store, shape, false};
    ASSERT_EQ(work.judge(reader, cut), "") << "read-only";
  }
  OpenEngine writer{store, shape};
  ASSERT_EQ(work.judge(writer, cut), "") << "after replay into the file";
  ASSERT_EQ(failure_of(writer.write(0, filled(shape.sector_size, 7))), "");
  ASSERT_EQ(failure_of(writer.close()), "");
}

TEST_P(VhdxEngineCrash, EveryCutLeavesOldOrNewInEverySector) {
  const Case& c = GetParam();
  std::size_t states = 0;
  for (std::uint64_t seed = 1; seed <= c.seeds; ++seed) {
    const Workload work{c, seed};
    for (const Survival survival : {Survival::none, Survival::all, Survival::prefix,
                                    Survival::random, Survival::random, Survival::torn}) {
      PowerCut power{work.start(), work.history(), bat_offset(c.shape) + kMiB, c.shape.sector_size};
      std::mt19937_64 random{seed};
      for (std::size_t cut = 0; cut <= work.events(); ++cut) {
        SCOPED_TRACE(testing::Message()
                     << "seed " << seed << " cut " << cut << " of " << work.events() << " survival "
                     << static_cast<int>(survival));
        check_cut(work, c.shape, power.after(cut, survival, random), cut);
        if (HasFailure()) return;
        ++states;
      }
    }
  }
  RecordProperty("states", static_cast<int>(states));
  EXPECT_GT(states, 100u);
}

// Space that a block gave up is zeroed and used again within one flush: what it held must not come
// to light when the table is durable and the zeros, or the data, are not.
TEST(VhdxEngineReuse, ShowsNothingOfWhatTheSpaceHeldBefore) {
  const EngineShape small{.virtual_size = 8 * kMiB, .block_size = kMiB};
  const auto store = make_image(small);
  {
    OpenEngine image{store, small};
    for (std::uint64_t block = 0; block < 4; ++block) {
      ASSERT_TRUE(image.write(block * kMiB, filled(kMiB, 0xaa)));
    }
    ASSERT_TRUE(image.close());
  }
  const MemoryStore start{*store};
  FileHistory history;
  std::size_t freed = 0;
  {
    OpenEngine image{store, small, true, [&](std::unique_ptr<File> below) {
                       return std::make_unique<RecordingFile>(std::move(below), history);
                     }};
    ASSERT_TRUE(image.clear(0, 4 * kMiB, ClearKind::trim));
    ASSERT_TRUE(image.flush());
    freed = history.size();
    for (std::uint64_t block = 4; block < 8; ++block) {
      ASSERT_TRUE(image.write(block * kMiB, filled(4096, 0x55)));
      ASSERT_TRUE(image.flush());
    }
    ASSERT_TRUE(image.close());
  }
  for (std::uint64_t seed = 0; seed < 24; ++seed) {
    std::mt19937_64 random{seed};
    PowerCut power{start, history, bat_offset(small) + kMiB, small.sector_size};
    for (std::size_t cut = freed; cut <= history.size(); ++cut) {
      OpenEngine reader{power.after(cut, Survival::random, random), small, false};
      for (std::uint64_t at = 4 * kMiB; at < 8 * kMiB; at += 64 * kKiB) {
        std::vector<std::byte> bytes(4096);
        ASSERT_TRUE(reader.read(at, bytes));
        ASSERT_EQ(std::ranges::count(bytes, std::byte{0xaa}), 0)
            << "at " << at << " after cut " << cut << " of " << history.size() << ", seed " << seed;
      }
    }
  }
}

EngineShape shape(std::uint64_t size, std::uint64_t block, std::uint32_t sector, bool parent) {
  return {.virtual_size = size, .block_size = block, .sector_size = sector, .has_parent = parent};
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, VhdxEngineCrash,
    testing::Values(
        Case{"Dynamic", shape(8 * kMiB, kMiB, 512, false), 128 * kKiB, 6, 40, 2},
        Case{"DynamicChunks", shape(9000 * kMiB, 2 * kMiB, 512, false), 64 * kKiB, 8, 40, 1},
        Case{"Child", shape(8 * kMiB, kMiB, 512, true), 128 * kKiB, 6, 40, 2},
        Case{"ChildChunks", shape(9000 * kMiB, 2 * kMiB, 512, true), 64 * kKiB, 8, 40, 1},
        Case{"Child4K", shape(8 * kMiB, kMiB, 4096, true), 128 * kKiB, 6, 40, 2}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace openvhd::test
