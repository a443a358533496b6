// Many queues and threads on one disk against a model, while its size and its layers change.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <openvhd/check.hpp>
#include <openvhd/online.hpp>
#include <openvhd/resize.hpp>
#include <random>
#include <thread>

#include "image/disk_fixture.hpp"
#include "image/queue/requests.hpp"

namespace openvhd {
namespace {

using test::kMiB;
using test::TestRequest;

constexpr unsigned kQueues = 2;
constexpr unsigned kThreads = 2;  // with calls that block
constexpr std::uint64_t kDisk = 24 * kMiB;
constexpr std::uint64_t kUnit = 16 * 1024;
constexpr std::uint64_t kUnits = kDisk / kUnit;
constexpr std::uint64_t kStamp = 4096;  // one value each

// Without a rate, making room for the workers takes most of the time.
constexpr std::uint64_t kFast = std::uint64_t{1} << 32;

unsigned rounds() {
  const char* const set = std::getenv("OPENVHD_LIVE_ROUNDS");
  return set != nullptr ? static_cast<unsigned>(std::atoi(set)) : 3;
}

/// What every stamp of the disk holds. Each is touched by one thread.
using Model = std::vector<std::uint8_t>;

/// Where one worker writes: units that no other has, all over the disk.
class Share {
 public:
  Share(Model& model, unsigned number) : model_{model}, number_{number}, random_{77 + number} {}

  std::uint64_t pick(std::uint64_t below) {
    return std::uniform_int_distribution<std::uint64_t>{0, below - 1}(random_);
  }
  /// A range of stamps within one unit.
  struct Range {
    std::uint64_t unit = 0;
    std::uint64_t at = 0;
    std::uint64_t length = 0;
  };
  Range range() {
    constexpr std::uint64_t kWorkers = kQueues + kThreads;
    Range out{.unit = pick(kUnits / kWorkers) * kWorkers + number_};
    const std::uint64_t skip = pick(kUnit / kStamp) * kStamp;
    out.at = out.unit * kUnit + skip;
    out.length = (1 + pick((kUnit - skip) / kStamp)) * kStamp;
    return out;
  }
  void note(const Range& range, std::uint8_t value) {
    for (std::uint64_t i = 0; i < range.length / kStamp; ++i) model_[range.at / kStamp + i] = value;
  }
  void expect(const Range& range, std::span<const std::byte> bytes) const {
    for (std::uint64_t i = 0; i < range.length; ++i)
      ASSERT_EQ(bytes[i], std::byte{model_[(range.at + i) / kStamp]}) << "at " << range.at + i;
  }

 private:
  Model& model_;
  unsigned number_;
  std::mt19937_64 random_;
};

class QueueWorker {
 public:
  QueueWorker(ParallelDisk& disk, Model& model, unsigned number, const std::atomic<bool>& stop)
      : disk_{disk}, share_{model, number}, stop_{stop} {}

  void run() {
    auto queue = disk_.open_queue({.depth = kDepth});
    ASSERT_TRUE(queue);
    queue_.emplace(*std::move(queue));
    for (unsigned i = 0; i < kDepth; ++i) slots_.emplace_back(*this);
    for (Slot& slot : slots_) start(slot);
    while (queue_->wait() != 0) {
    }
    queue_.reset();
  }

 private:
  static constexpr unsigned kDepth = 8;
  enum class What { read, write, zero, trim, flush };
  struct Slot : TestRequest {
    explicit Slot(QueueWorker& owner) : TestRequest{kUnit}, worker{owner} {}
    QueueWorker& worker;
    What what{};
    iovec piece{};
    Share::Range range{};
    bool used = false;
    std::uint8_t value = 0;
  };

  void start(Slot& slot) {
    slot.used = false;
    if (stop_.load(std::memory_order_relaxed)) return;
    const std::uint64_t chance = share_.pick(100);
    if (chance < 2) {
      slot.what = What::flush;
      slot.done = [](IoRequest& request, Status status) noexcept {
        auto& self = static_cast<Slot&>(request);
        self.worker.ended(self, status);
      };
      ASSERT_TRUE(queue_->flush(slot));
      return;
    }
    do {
      slot.range = share_.range();
    } while (std::ranges::any_of(slots_, [&](const Slot& other) {
      return other.used && other.range.unit == slot.range.unit;
    }));
    slot.used = true;
    slot.value = static_cast<std::uint8_t>(1 + share_.pick(255));
    slot.at = {slot.range.at};
    slot.length = slot.range.length;
    slot.piece = {slot.bytes().data(), slot.range.length};
    slot.buffers = {&slot.piece, 1};
    slot.durable = chance == 50;
    slot.done = [](IoRequest& request, Status status) noexcept {
      auto& self = static_cast<Slot&>(request);
      self.worker.ended(self, status);
    };
    if (chance < 45) {
      slot.what = What::read;
      ASSERT_TRUE(queue_->read(slot));
    } else if (chance < 92) {
      slot.what = What::write;
      std::memset(slot.piece.iov_base, slot.value, slot.piece.iov_len);
      ASSERT_TRUE(queue_->write(slot));
    } else {
      slot.what = chance < 96 ? What::zero : What::trim;
      slot.value = 0;
      ASSERT_TRUE(slot.what == What::zero ? queue_->write_zeroes(slot) : queue_->trim(slot));
    }
  }

  void ended(Slot& slot, const Status& status) {
    ASSERT_TRUE(status) << describe(status.error(), "request");
    if (slot.what == What::read) share_.expect(slot.range, slot.bytes());
    if (slot.what != What::read && slot.what != What::flush) share_.note(slot.range, slot.value);
    start(slot);
  }

  ParallelDisk& disk_;
  Share share_;
  const std::atomic<bool>& stop_;
  std::optional<Queue> queue_;
  std::deque<Slot> slots_;
};

/// The same with calls that block.
void call_until(ParallelDisk& disk, Model& model, unsigned number, const std::atomic<bool>& stop) {
  Share share{model, number};
  std::vector<std::byte> bytes(kUnit);
  while (!stop.load(std::memory_order_relaxed)) {
    const Share::Range range = share.range();
    const auto part = std::span{bytes}.first(range.length);
    const std::uint64_t chance = share.pick(100);
    if (chance < 45) {
      ASSERT_TRUE(disk.read({range.at}, part));
      share.expect(range, part);
    } else if (chance < 92) {
      const auto value = static_cast<std::uint8_t>(1 + share.pick(255));
      std::ranges::fill(part, std::byte{value});
      ASSERT_TRUE(disk.write({range.at}, part, chance == 50));
      share.note(range, value);
    } else if (chance < 98) {
      ASSERT_TRUE(disk.zero({range.at}, range.length, false));
      share.note(range, 0);
    } else {
      ASSERT_TRUE(disk.flush());
    }
    // Beyond the end is beyond the end, whatever the end is.
    EXPECT_EQ(disk.read({std::uint64_t{1} << 40}, part).error().code, Errc::out_of_range);
  }
}

struct Kind {
  const char* name;
  Format format;
  DriverKind driver = DriverKind::automatic;
};

class LiveModelTest : public test::DiskTest, public testing::WithParamInterface<Kind> {
 protected:
  LiveModelTest() {
    const bool vhdx = GetParam().format == Format::vhdx;
    CreateOptions options{
        .format = GetParam().format, .type = DiskType::dynamic, .virtual_size = kDisk};
    if (vhdx) options.block_size = kMiB;
    file_ = made(vhdx ? "disk.vhdx" : "disk.vhd", options);
  }
  ParallelDisk open_disk(Access access) {
    OpenReport report;
    auto disk = ParallelDisk::open(
        file_, {.access = access, .direct = true, .driver = GetParam().driver, .report = &report});
    EXPECT_TRUE(disk) << (disk ? "" : describe(disk.error(), report.files.back()));
    return *std::move(disk);
  }

  /// Runs `change` again and again beside all workers; what is left is what they wrote.
  template <class Change>
  void beside(Change change) {
    for (unsigned session = 0; session < 2; ++session) {
      {
        ParallelDisk disk = open_disk(Access::read_write);
        std::atomic<bool> stop{false};
        {
          std::vector<std::jthread> threads;
          for (unsigned i = 0; i < kQueues; ++i)
            threads.emplace_back([&, i] { QueueWorker{disk, model_, i, stop}.run(); });
          for (unsigned i = kQueues; i < kQueues + kThreads; ++i)
            threads.emplace_back([&, i] { call_until(disk, model_, i, stop); });
          std::this_thread::sleep_for(std::chrono::milliseconds{30});
          for (unsigned round = 0; round < rounds() && !HasFailure(); ++round) {
            change(disk, round);
            std::this_thread::sleep_for(std::chrono::milliseconds{10});
          }
          stop = true;
        }
        file_ = disk.files().front();
        const Status closed = disk.close();
        ASSERT_TRUE(closed) << describe(closed.error(), file_);
      }
      ASSERT_NO_FATAL_FAILURE(expect_model());
      const auto report = check(file_, {.chain = true});
      ASSERT_TRUE(report);
      EXPECT_TRUE(report->clean());
    }
  }
  void expect_model() {
    ParallelDisk disk = open_disk(Access::read_only);
    std::vector<std::byte> bytes(kMiB);
    for (std::uint64_t at = 0; at < kDisk; at += kMiB) {
      ASSERT_TRUE(disk.read({at}, bytes));
      for (std::uint64_t i = 0; i < kMiB; ++i)
        ASSERT_EQ(bytes[i], std::byte{model_[(at + i) / kStamp]}) << "at " << at + i;
    }
  }
  template <class T>
  void ok(const Result<T>& result, const char* what, const OpenReport& report) {
    ASSERT_TRUE(result) << what << ": "
                        << describe(result.error(),
                                    report.files.empty() ? file_ : report.files.back());
  }

  void resized(ParallelDisk& disk, unsigned round) {
    // Grows and shrinks behind what the workers use.
    const std::uint64_t size = kDisk + (round % 3) * 40 * kMiB;
    ok(disk.resize({.size = size, .force = true}), "resize", {});
    EXPECT_EQ(disk.geometry().virtual_size, size);
  }
  void kept(ParallelDisk& disk, unsigned round) {
    OpenReport report;
    const std::string name = "state " + std::to_string(made_++) + "." + std::to_string(round);
    auto tree = create_checkpoint(disk, name, {.report = &report});
    ok(tree, "checkpoint", report);
    if (tree) checkpoints_ = tree->checkpoints;
  }
  void deleted(ParallelDisk& disk, const std::string& name) {
    OpenReport report;
    auto tree = delete_checkpoint(disk, name, {.bytes_per_second = kFast, .report = &report});
    ok(tree, "delete", report);
    if (tree) checkpoints_ = tree->checkpoints;
  }
  void merged(ParallelDisk& disk, std::uint32_t layer) {
    OpenReport report;
    ok(merge(disk, layer, {.bytes_per_second = kFast, .report = &report}), "merge", report);
  }

  std::string file_;
  Model model_ = Model(kDisk / kStamp, 0);
  unsigned made_ = 0;
  std::vector<Checkpoint> checkpoints_;
};

TEST_P(LiveModelTest, AnotherSizeNowAndThen) {
  beside([this](ParallelDisk& disk, unsigned round) { resized(disk, round); });
}

TEST_P(LiveModelTest, CheckpointsComeAndGo) {
  beside([this](ParallelDisk& disk, unsigned round) {
    if (round % 3 != 2) return kept(disk, round);
    // The first, or the last: a middle layer is merged, or the leaf.
    deleted(disk, round % 2 == 0 ? checkpoints_.front().name : checkpoints_.back().name);
  });
}

TEST_P(LiveModelTest, LayersAreMergedUnderWriters) {
  // A chain of plain children.
  const std::string ending = GetParam().format == Format::vhdx ? ".vhdx" : ".vhd";
  for (unsigned i = 0; i < 3 * rounds() && i < 30; ++i) {
    CreateOptions options{
        .format = GetParam().format, .type = DiskType::differencing, .parent = file_};
    file_ = made("child" + std::to_string(i) + ending, options);
  }
  beside([this](ParallelDisk& disk, unsigned round) {
    if (disk.files().size() < 3) return;
    merged(disk, round % 2 == 0 ? 1 : 0);
  });
}

TEST_P(LiveModelTest, BlocksMoveUnderWriters) {
  if (GetParam().format != Format::vhdx) GTEST_SKIP() << "a VHD is compacted closed";
  beside([this](ParallelDisk& disk, unsigned round) {
    // Holes for blocks to move to: what a larger disk had at its end.
    ok(disk.resize({.size = kDisk + 32 * kMiB, .force = true}), "resize", {});
    std::vector<std::byte> bytes(kMiB, std::byte{1});
    for (unsigned i = 0; i < 8; ++i)
      ASSERT_TRUE(disk.write({kDisk + (8 * (round % 3) + i) * kMiB}, bytes, false));
    ASSERT_TRUE(disk.trim({kDisk}, 4 * kMiB, false));
    OpenReport report;
    const auto done = compact(disk, {.bytes_per_second = kFast, .report = &report});
    ok(done, "compact", report);
    ok(disk.resize({.size = kDisk, .force = true}), "resize", {});
    ok(compact(disk, {.bytes_per_second = kFast, .report = &report}), "compact", report);
  });
}

INSTANTIATE_TEST_SUITE_P(, LiveModelTest,
                         testing::Values(Kind{"Vhdx", Format::vhdx}, Kind{"Vhd", Format::vhd},
                                         Kind{"VhdxPool", Format::vhdx, DriverKind::blocking}),
                         [](const auto& one) { return one.param.name; });

}  // namespace
}  // namespace openvhd
