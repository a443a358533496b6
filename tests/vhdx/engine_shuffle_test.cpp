// Many operations at once on one image, completed in any order and in parts: they must give what
// a model says, and a flush among them must cover all that was complete when it began.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <optional>
#include <ostream>
#include <random>

#include "base/checked.hpp"
#include "image/chain.hpp"
#include "image/ops/clear_op.hpp"
#include "image/ops/flush_op.hpp"
#include "image/ops/read_op.hpp"
#include "image/ops/write_op.hpp"
#include "support/shuffle_driver.hpp"
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
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

/// A flush that knows how much had happened when it was done.
class WatchedFlush final : public Operation {
 public:
  WatchedFlush(Chain& chain, const FileHistory& history, std::size_t& done_at)
      : flush_{chain, FlushOp::Kind::flush}, history_{history}, done_at_{done_at} {}

  std::optional<IoCommand> next() noexcept override {
    auto command = flush_.next();
    if (!command && flush_.finished() && done_at_ == 0) done_at_ = history_.size();
    return command;
  }
  void complete(std::uint32_t slot, std::int32_t result) noexcept override {
    flush_.complete(slot, result);
  }
  std::optional<Status> finished() const noexcept override { return flush_.finished(); }

 private:
  FlushOp flush_;
  const FileHistory& history_;
  std::size_t& done_at_;
};

/// What a read is to find.
struct Reading {
  std::vector<std::byte> got;
  std::vector<std::byte> wanted;
};

/// Operations that began together, on ranges of their own, and all ended.
struct Batch {
  std::size_t begun_at = 0;    // events
  std::size_t flushed_at = 0;  // events when a flush in it was done; 0: there was none
  std::vector<DiskModel::Open> changes;
};

class Session {
 public:
  Session(const Case& c, std::uint64_t seed)
      : shape_{c.shape},
        random_{seed},
        store_{make_image(c.shape)},
        start_{*store_},
        before_{c.shape, c.window_bytes, c.windows, seed},
        model_{before_} {
    image_ = std::make_unique<OpenEngine>(store_, shape_, true, [&](std::unique_ptr<File> below) {
      return std::make_unique<RecordingFile>(std::move(below), history_);
    });
  }

  void run_batch() {
    Chain chain{{&image_->layer()}, true};
    Batch batch{.begun_at = history_.size(), .flushed_at = 0, .changes = {}};
    const std::size_t count = 2 + random_() % 12;
    for (std::size_t i = 0; i < count; ++i) add_operation(chain, batch);
    std::vector<Operation*> raw;
    for (const auto& operation : operations_) raw.push_back(operation.get());
    std::array<File*, 1> files{&image_->file()};
    // Transfers stop short at multiples of 512: that must not be inside a sector, for what a cut
    // may leave is judged by whole sectors.
    ShuffleDriver driver{files, random_(), shape_.sector_size == 512};
    for (const Status& status : driver.run(raw)) ASSERT_EQ(failure_of(status), "");
    for (const auto& reading : readings_) ASSERT_TRUE(reading->got == reading->wanted);
    for (const auto& [range, tag] : batch.changes) model_.put(range.at, range.length, tag);
    batches_.push_back(std::move(batch));
    taken_.clear();
    operations_.clear();
    readings_.clear();
    buffers_.clear();
    vectors_.clear();
  }

  void check() { ASSERT_EQ(model_.compare(*image_), ""); }
  void close() { ASSERT_EQ(failure_of(image_->close()), ""); }

  std::string judge(OpenEngine& image, std::size_t cut) const {
    std::size_t covered = 0;  // batches
    for (std::size_t i = 0; i < batches_.size(); ++i) {
      if (batches_[i].flushed_at != 0 && batches_[i].flushed_at <= cut) covered = i;
    }
    DiskModel flushed = before_;
    std::vector<DiskModel::Open> open;
    for (std::size_t i = 0; i < batches_.size() && batches_[i].begun_at <= cut; ++i) {
      for (const auto& change : batches_[i].changes) {
        if (i < covered) {
          flushed.put(change.range.at, change.range.length, change.tag);
        } else {
          open.push_back(change);
        }
      }
    }
    return flushed.compare(image, open);
  }

  const MemoryStore& start() const { return start_; }
  const FileHistory& history() const { return history_; }
  const EngineShape& shape() const { return shape_; }

 private:
  void add_operation(Chain& chain, Batch& batch) {
    const std::uint64_t what = random_() % 10;
    if (what == 0) {
      operations_.push_back(std::make_unique<WatchedFlush>(chain, history_, batch.flushed_at));
      return;
    }
    auto range = model_.random_range(random_, what < 6 ? 32 * kKiB : 512 * kKiB);
    if (what == 1) {
      range.at = align_down(range.at, shape_.block_size);
      range.length = std::min(shape_.block_size, shape_.virtual_size - range.at);
    }
    if (!take(range)) return;
    if (what < 4) {
      const auto kind = random_() % 2 == 0 ? ClearKind::zero : ClearKind::trim;
      operations_.push_back(
          std::make_unique<ClearOp>(chain, VirtualOffset{range.at}, range.length, kind));
      batch.changes.push_back({range, DiskModel::kZeros});
    } else if (what < 9) {
      const std::uint32_t tag = ++tag_;
      add_write(chain, range, model_.contents_of(range.at, range.length, tag));
      batch.changes.push_back({range, tag});
    } else {
      add_read(chain, range);
    }
  }

  void add_write(Chain& chain, DiskModel::Range range, std::vector<std::byte> bytes) {
    buffers_.push_back(std::make_unique<std::vector<std::byte>>(std::move(bytes)));
    vectors_.push_back(
        std::make_unique<iovec>(iovec{buffers_.back()->data(), buffers_.back()->size()}));
    operations_.push_back(std::make_unique<WriteOp>(
        chain, VirtualOffset{range.at}, std::span<const iovec>{vectors_.back().get(), 1}));
  }

  void add_read(Chain& chain, DiskModel::Range range) {
    if (shape_.has_parent) return;  // who is absent here is absent in this chain
    for (const auto& window : model_.windows()) {
      const std::uint64_t end = window.at + window.tags.size() * model_.sector_size();
      if (range.at < window.at || range.at + range.length > end) continue;
      auto reading = std::make_unique<Reading>();
      reading->got.resize(range.length);
      reading->wanted = model_.contents(window, range.at, range.length);
      vectors_.push_back(std::make_unique<iovec>(iovec{reading->got.data(), reading->got.size()}));
      operations_.push_back(std::make_unique<ReadOp>(
          chain, VirtualOffset{range.at}, std::span<const iovec>{vectors_.back().get(), 1}));
      readings_.push_back(std::move(reading));
    }
  }

  bool take(DiskModel::Range range) {
    for (const auto& other : taken_) {
      if (ranges_overlap(range.at, range.length, other.at, other.length)) return false;
    }
    taken_.push_back(range);
    return true;
  }

  EngineShape shape_;
  std::mt19937_64 random_;
  std::shared_ptr<MemoryStore> store_;
  MemoryStore start_;
  DiskModel before_;
  DiskModel model_;
  FileHistory history_;
  std::unique_ptr<OpenEngine> image_;
  std::vector<Batch> batches_;
  std::uint32_t tag_ = DiskModel::kParent;

  // Of the batch on its way.
  std::vector<DiskModel::Range> taken_;
  std::vector<std::unique_ptr<Operation>> operations_;
  std::vector<std::unique_ptr<Reading>> readings_;
  std::vector<std::unique_ptr<std::vector<std::byte>>> buffers_;
  std::vector<std::unique_ptr<iovec>> vectors_;
};

class VhdxEngineShuffle : public testing::TestWithParam<Case> {};

TEST_P(VhdxEngineShuffle, ConcurrentOperationsGiveWhatTheModelSays) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    Session session{GetParam(), seed};
    for (int batch = 0; batch < 60; ++batch) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << " batch " << batch);
      session.run_batch();
      if (batch % 10 == 9) session.check();
      if (HasFatalFailure()) return;
    }
    session.close();
  }
}

TEST_P(VhdxEngineShuffle, AFlushAmongOthersCoversWhatWasCompleteWhenItBegan) {
  for (std::uint64_t seed = 11; seed <= 11; ++seed) {
    Session session{GetParam(), seed};
    for (int batch = 0; batch < 8 && !HasFatalFailure(); ++batch) session.run_batch();
    const std::uint64_t payload = bat_offset(session.shape()) + kMiB;
    for (const Survival survival : {Survival::none, Survival::random, Survival::torn}) {
      PowerCut power{session.start(), session.history(), payload, session.shape().sector_size};
      std::mt19937_64 random{seed};
      for (std::size_t cut = 0; cut <= session.history().size(); ++cut) {
        SCOPED_TRACE(testing::Message()
                     << "seed " << seed << " cut " << cut << " of " << session.history().size()
                     << " survival " << static_cast<int>(survival));
        OpenEngine image{power.after(cut, survival, random), session.shape()};
        ASSERT_EQ(session.judge(image, cut), "");
      }
    }
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
    Shapes, VhdxEngineShuffle,
    testing::Values(Case{"Dynamic", shape(8 * kMiB, kMiB, 512, false), 256 * kKiB, 8},
                    Case{"Dynamic16T", shape(16 * kTiB, kMiB, 512, false), 128 * kKiB, 24},
                    Case{"Child", shape(8 * kMiB, kMiB, 512, true), 256 * kKiB, 8},
                    Case{"Child16T", shape(16 * kTiB, 2 * kMiB, 512, true), 128 * kKiB, 24}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace openvhd::test
