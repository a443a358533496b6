// Many queues on many threads against a flat model: every thread knows what its own parts of the
// disk must hold, whatever the others do to their parts of the same blocks.
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <deque>
#include <openvhd/check.hpp>
#include <openvhd/queue.hpp>
#include <random>
#include <thread>

#include "image/disk_fixture.hpp"
#include "image/queue/requests.hpp"

namespace openvhd {
namespace {

using test::kMiB;
using test::TestRequest;

constexpr unsigned kThreads = 3;
constexpr std::uint64_t kDisk = 48 * kMiB;
constexpr std::uint64_t kUnit = 64 * 1024;
constexpr std::uint64_t kUnits = kDisk / kUnit;
constexpr std::uint64_t kStamp = 4096;  // one value each
constexpr std::uint64_t kStamps = kDisk / kStamp;

struct Kind {
  const char* name;
  Format format;
  DiskType type;
  std::uint32_t sector = 512;
  DriverKind driver = DriverKind::automatic;
};

constexpr std::array kKinds = {
    Kind{"Raw", Format::raw, DiskType::fixed},
    Kind{"Vhdx", Format::vhdx, DiskType::dynamic},
    Kind{"Vhdx4k", Format::vhdx, DiskType::dynamic, 4096},
    Kind{"VhdxFixed", Format::vhdx, DiskType::fixed},
    Kind{"VhdxChild", Format::vhdx, DiskType::differencing},
    Kind{"Vhd", Format::vhd, DiskType::dynamic},
    Kind{"VhdFixed", Format::vhd, DiskType::fixed},
    Kind{"VhdChild", Format::vhd, DiskType::differencing},
    Kind{"VhdxPool", Format::vhdx, DiskType::dynamic, 512, DriverKind::blocking},
    Kind{"VhdChildPool", Format::vhd, DiskType::differencing, 512, DriverKind::blocking},
};

unsigned operations_per_thread() {
  const char* const set = std::getenv("OPENVHD_QUEUE_OPERATIONS");
  return set != nullptr ? static_cast<unsigned>(std::atoi(set)) : 500;
}

/// What every stamp of the disk holds. Each is touched by one thread.
using Model = std::vector<std::uint8_t>;

/// One thread's work: units of 64 KiB, of which every third is its own in the front half of the
/// disk, so that threads share blocks; whole blocks in the back half.
class Worker {
 public:
  Worker(Disk& disk, Model& model, unsigned number, unsigned seed)
      : disk_{disk}, model_{model}, number_{number}, random_{seed + number} {}

  void run() {
    auto queue = Queue::open(disk_, {.depth = kDepth});
    ASSERT_TRUE(queue);
    queue_.emplace(*std::move(queue));
    for (unsigned i = 0; i < kDepth; ++i) slots_.emplace_back(*this);
    left_ = operations_per_thread();
    for (Slot& slot : slots_) start(slot);
    while (queue_->wait() != 0) {
    }
    EXPECT_EQ(left_, 0u);
    queue_.reset();
  }

 private:
  static constexpr unsigned kDepth = 12;
  enum class What { read, write, zero, trim, flush };
  struct Slot : TestRequest {
    explicit Slot(Worker& owner) : TestRequest{kMiB}, worker{owner} {}
    Worker& worker;
    What what{};
    iovec piece{};
    std::uint64_t unit = 0;
    std::uint64_t units = 0;
    std::uint8_t value = 0;
  };

  std::uint64_t pick(std::uint64_t below) {
    return std::uniform_int_distribution<std::uint64_t>{0, below - 1}(random_);
  }

  bool free_units(std::uint64_t first, std::uint64_t count) const {
    for (const Slot& slot : slots_)
      if (slot.units != 0 && first < slot.unit + slot.units && slot.unit < first + count)
        return false;
    return true;
  }

  void start(Slot& slot) {
    if (left_ == 0) return;
    --left_;
    const std::uint64_t chance = pick(100);
    slot.units = 0;
    if (chance < 4) {
      slot.what = What::flush;
      ASSERT_TRUE(queue_->flush(slot));
      return;
    }
    choose_range(slot);
    slot.value = static_cast<std::uint8_t>(1 + pick(255));
    slot.durable = false;
    if (chance < 35) {
      slot.what = What::read;
      ASSERT_TRUE(queue_->read(slot));
    } else if (chance < 80) {
      slot.what = What::write;
      slot.durable = pick(20) == 0;
      std::memset(slot.piece.iov_base, slot.value, slot.piece.iov_len);
      ASSERT_TRUE(queue_->write(slot));
    } else {
      slot.what = chance < 90 ? What::zero : What::trim;
      slot.value = 0;
      ASSERT_TRUE(slot.what == What::zero ? queue_->write_zeroes(slot) : queue_->trim(slot));
    }
  }

  /// A range of this thread's that no request of it is on its way to.
  void choose_range(Slot& slot) {
    constexpr std::uint64_t kBack = kUnits / 2;
    constexpr std::uint64_t kUnitsPerBlock = 2 * kMiB / kUnit;
    for (;;) {
      const bool shared = pick(2) == 0;
      std::uint64_t first = 0;
      std::uint64_t count = 1;
      if (shared) {
        first = pick(kBack / kThreads) * kThreads + number_;
      } else {
        const std::uint64_t blocks = (kUnits - kBack) / kUnitsPerBlock / kThreads;
        first = kBack + (pick(blocks) * kThreads + number_) * kUnitsPerBlock;
        count = pick(3) == 0 ? kUnitsPerBlock / 2 : 1 + pick(8);
        first += pick(kUnitsPerBlock - count + 1);
      }
      if (!free_units(first, count)) continue;
      slot.unit = first;
      slot.units = count;
      // Within a single unit also parts of it, down to one stamp.
      std::uint64_t skip = 0;
      std::uint64_t length = count * kUnit;
      if (count == 1) {
        skip = pick(kUnit / kStamp) * kStamp;
        length = (1 + pick((kUnit - skip) / kStamp)) * kStamp;
      }
      slot.at = {first * kUnit + skip};
      slot.length = length;
      slot.piece = {slot.bytes().data(), length};
      slot.buffers = {&slot.piece, 1};
      slot.done = [](IoRequest& request, Status status) noexcept {
        auto& self = static_cast<Slot&>(request);
        self.worker.ended(self, std::move(status));
      };
      return;
    }
  }

  void ended(Slot& slot, const Status& status) {
    ASSERT_TRUE(status) << describe(status.error(), "request");
    if (slot.what != What::flush) check_or_note(slot);
    slot.units = 0;
    start(slot);
  }

  void check_or_note(Slot& slot) {
    const std::uint64_t first = slot.at.value / kStamp;
    for (std::uint64_t i = 0; i < slot.length / kStamp; ++i) {
      if (slot.what != What::read) {
        model_[first + i] = slot.value;
        continue;
      }
      const auto stamp = slot.bytes().subspan(i * kStamp, kStamp);
      for (const std::byte byte : stamp)
        ASSERT_EQ(byte, std::byte{model_[first + i]}) << "at " << (first + i) * kStamp;
    }
  }

  Disk& disk_;
  Model& model_;
  unsigned number_;
  std::mt19937_64 random_;
  std::optional<Queue> queue_;
  std::deque<Slot> slots_;
  unsigned left_ = 0;
};

class QueueModelTest : public test::DiskTest, public testing::WithParamInterface<Kind> {
 protected:
  std::string image() {
    const Kind& kind = GetParam();
    const std::string ending = kind.format == Format::raw ? "raw" : to_string(kind.format);
    CreateOptions options{.format = kind.format,
                          .type = kind.type,
                          .virtual_size = kDisk,
                          .logical_sector_size = kind.format == Format::vhdx ? kind.sector : 0};
    if (kind.format == Format::vhdx) options.block_size = kMiB;
    if (kind.type == DiskType::differencing) {
      CreateOptions parent = options;
      parent.type = DiskType::dynamic;
      options.parent = made("parent." + ending, parent);
      fill_parent(options.parent);
    }
    return made("disk." + ending, options);
  }

  void fill_parent(const std::string& file) {
    Disk disk = opened(file);
    std::vector<std::byte> bytes(3 * kUnit);
    for (std::uint64_t unit = 1; unit + 3 < kUnits; unit += 5) {
      const auto value = static_cast<std::uint8_t>(1 + unit % 255);
      std::ranges::fill(bytes, std::byte{value});
      ASSERT_TRUE(disk.write({unit * kUnit}, bytes));
      std::fill_n(model_.begin() + static_cast<std::ptrdiff_t>(unit * kUnit / kStamp),
                  bytes.size() / kStamp, value);
    }
    ASSERT_TRUE(disk.close());
  }

  Disk open_disk(const std::string& file, Access access) {
    auto disk = Disk::open(file, {.access = access,
                                  .format = GetParam().format,
                                  .direct = true,
                                  .driver = GetParam().driver});
    EXPECT_TRUE(disk) << describe(disk.error(), file);
    return *std::move(disk);
  }

  void expect_model(const std::string& file) {
    Disk disk = open_disk(file, Access::read_only);
    std::vector<std::byte> bytes(kMiB);
    for (std::uint64_t at = 0; at < kDisk; at += kMiB) {
      ASSERT_TRUE(disk.read({at}, bytes));
      for (std::uint64_t i = 0; i < kMiB / kStamp; ++i) {
        const std::byte expected{model_[at / kStamp + i]};
        const auto stamp = std::span{bytes}.subspan(i * kStamp, kStamp);
        for (const std::byte byte : stamp) ASSERT_EQ(byte, expected) << at + i * kStamp;
      }
    }
  }

  Model model_ = Model(kStamps, 0);
};

INSTANTIATE_TEST_SUITE_P(, QueueModelTest, testing::ValuesIn(kKinds),
                         [](const auto& one) { return one.param.name; });

TEST_P(QueueModelTest, ManyThreadsLeaveWhatTheyWrote) {
  const std::string file = image();
  for (unsigned session = 0; session < 2; ++session) {
    Disk disk = open_disk(file, Access::read_write);
    {
      std::vector<std::jthread> threads;
      for (unsigned i = 0; i < kThreads; ++i) {
        threads.emplace_back(
            [&disk, this, i, session] { Worker{disk, model_, i, 100 * session}.run(); });
      }
    }
    ASSERT_TRUE(disk.close());
    ASSERT_NO_FATAL_FAILURE(expect_model(file));
    if (GetParam().format == Format::raw) continue;
    const auto report = check(file, {.chain = true});
    ASSERT_TRUE(report);
    EXPECT_TRUE(report->clean());
  }
}

}  // namespace
}  // namespace openvhd
