// Random work on one image against a model of its sectors: alone, through reopening, and through
// being dropped after a flush.
#include "vhdx/engine_model.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <ostream>
#include <random>

#include "base/checked.hpp"
#include "vhdx/engine_fixture.hpp"

namespace openvhd::test {
namespace {

struct Case {
  const char* name;
  EngineShape shape;
  std::uint64_t window_bytes;
  std::size_t windows;
  int operations;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class VhdxEngineModel : public testing::TestWithParam<Case> {};

class Session {
 public:
  Session(const Case& c, std::uint64_t seed)
      : case_{c},
        random_{seed},
        store_{make_image(c.shape)},
        model_{c.shape, c.window_bytes, c.windows, seed},
        image_{std::make_unique<OpenEngine>(store_, c.shape)} {}

  void step() {
    switch (random_() % 16) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
      case 5:
        return write(model_.random_range(random_, 64 * kKiB));
      case 6:
        return write(model_.random_range(random_, 4 * kMiB));
      case 7:
      case 8:
      case 9:
        return clear(model_.random_range(random_, 128 * kKiB));
      case 10:
      case 11:
        return clear(blocks());
      case 12:
        ASSERT_EQ(failure_of(image_->flush()), "");
        return;
      case 13:
      case 14:
        return read(model_.random_range(random_, kMiB));
      default:
        if (random_() % 8 == 0) reopen();
    }
  }

  void reopen() {
    // A dropped image is one whose process was killed: everything that reached the file is
    // there, and what a flush covered must be.
    if (random_() % 2 == 0) {
      ASSERT_EQ(failure_of(image_->close()), "");
      EXPECT_EQ(store_->size % kMiB, 0u);
    } else {
      ASSERT_EQ(failure_of(image_->flush()), "");
    }
    image_.reset();
    {
      OpenEngine reader{store_, case_.shape, false};
      ASSERT_EQ(model_.compare(reader), "") << "read-only";
    }
    image_ = std::make_unique<OpenEngine>(store_, case_.shape);
    check();
  }

  void check() { ASSERT_EQ(model_.compare(*image_), ""); }

 private:
  void write(DiskModel::Range range) {
    const std::uint32_t tag = ++tag_;
    ASSERT_EQ(failure_of(image_->write(range.at, model_.contents_of(range.at, range.length, tag))),
              "");
    model_.put(range.at, range.length, tag);
  }

  void clear(DiskModel::Range range) {
    const auto kind = random_() % 2 == 0 ? ClearKind::zero : ClearKind::trim;
    ASSERT_EQ(failure_of(image_->clear(range.at, range.length, kind)), "");
    model_.put(range.at, range.length, DiskModel::kZeros);
  }

  DiskModel::Range blocks() {
    const auto& shape = case_.shape;
    const auto [at, length] = model_.random_range(random_, 1);
    const std::uint64_t first = align_down(at, shape.block_size);
    const std::uint64_t count = 1 + random_() % 3;
    return {first, std::min(count * shape.block_size, shape.virtual_size - first)};
  }

  void read(DiskModel::Range range) {
    for (const auto& window : model_.windows()) {
      if (range.at < window.at) continue;
      if (range.at + range.length > window.at + window.tags.size() * model_.sector_size()) continue;
      std::vector<std::byte> got(range.length);
      ASSERT_EQ(failure_of(image_->read(range.at, got)), "");
      ASSERT_TRUE(got == model_.contents(window, range.at, range.length)) << "at " << range.at;
    }
  }

  const Case& case_;
  std::mt19937_64 random_;
  std::shared_ptr<MemoryStore> store_;
  DiskModel model_;
  std::unique_ptr<OpenEngine> image_;
  std::uint32_t tag_ = DiskModel::kParent;
};

TEST_P(VhdxEngineModel, ReadsWhatTheModelSays) {
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    SCOPED_TRACE(seed);
    Session run{GetParam(), seed};
    for (int i = 0; i < GetParam().operations; ++i) {
      SCOPED_TRACE(i);
      run.step();
      if (i % 64 == 63) run.check();
      if (HasFatalFailure()) return;
    }
    run.reopen();
    if (HasFatalFailure()) return;
  }
}

EngineShape shape(std::uint64_t size, std::uint64_t block, std::uint32_t sector, bool parent) {
  return {.virtual_size = size,
          .block_size = block,
          .sector_size = sector,
          .has_parent = parent,
          .table_cache_bytes = 0};
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, VhdxEngineModel,
    testing::Values(
        Case{"Dynamic1M", shape(20 * kMiB + 512, kMiB, 512, false), 4 * kMiB, 5, 200},
        Case{"Dynamic4K", shape(20 * kMiB + 4096, kMiB, 4096, false), 4 * kMiB, 5, 200},
        Case{"Dynamic32M", shape(200 * kMiB, 32 * kMiB, 512, false), 2 * kMiB, 6, 200},
        Case{"DynamicChunks", shape(3 * 4096 * kMiB + kMiB, 2 * kMiB, 512, false), kMiB, 12, 200},
        Case{"Dynamic64T", shape(64 * kTiB, kMiB, 512, false), 256 * kKiB, 60, 300},
        Case{"Child1M", shape(20 * kMiB + 512, kMiB, 512, true), 4 * kMiB, 5, 200},
        Case{"Child4K", shape(20 * kMiB + 4096, kMiB, 4096, true), 4 * kMiB, 5, 200},
        Case{"Child256M", shape(600 * kMiB, 256 * kMiB, 512, true), kMiB, 6, 200},
        Case{"Child2M", shape(3 * 4096 * kMiB + kMiB, 2 * kMiB, 512, true), kMiB, 12, 200},
        Case{"Child64T", shape(64 * kTiB, kMiB, 4096, true), 256 * kKiB, 60, 300}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace openvhd::test
