// Random operations, many at once and completed in any order, against a flat array.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>

#include "base/checked.hpp"
#include "image/ops/clear_op.hpp"
#include "image/ops/flush_op.hpp"
#include "image/ops/read_op.hpp"
#include "image/ops/write_op.hpp"
#include "support/bytes.hpp"
#include "support/shuffle_driver.hpp"
#include "vhd/disk.hpp"
#include "vhd/image_bytes.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::test {
namespace {

struct Shape {
  const char* name;
  DiskType type;
  std::uint64_t size;
  std::uint64_t block;
  std::uint64_t cache_bytes;
  unsigned rounds;
};

/// A request and the memory that it uses.
struct Request {
  std::unique_ptr<Operation> op;
  std::vector<std::byte> bytes;
  iovec piece{};
  std::uint64_t at = 0;
  bool is_read = false;
};

class Model {
 public:
  Model(const Shape& shape, std::uint64_t seed) : shape_{shape}, random_{seed}, flat_(shape.size) {
    vhd::CreateSpec spec{.type = shape.type,
                         .geometry = {.virtual_size = shape.size, .block_size = shape.block}};
    spec.parent_name = "p.vhd";
    spec.parent_relative = ".\\p.vhd";
    MemoryFile file{store_};
    FixedHost host{seed};
    EXPECT_TRUE(vhd::create(file, spec, host));
    if (shape.type == DiskType::differencing) {
      const Bytes below = fixed_image(std::max<std::uint64_t>(512, shape.size / 2 / 512 * 512));
      std::copy(below.begin(), below.end() - 512, flat_.begin());
      parent_ = store_of(below);
    }
    open(true);
  }

  void run() {
    for (unsigned round = 0; round < shape_.rounds && !testing::Test::HasFailure(); ++round) {
      one_round();
      if (random_() % 16 != 0) continue;
      ASSERT_TRUE(disk_->close());
      open(random_() % 4 != 0);
    }
    read_everything();
    ASSERT_TRUE(disk_->close());
    open(false);
    read_everything();
    MemoryFile file{store_};
    std::vector<Finding> findings;
    ASSERT_TRUE(vhd::check(file, false, findings, 100, nullptr));
    for (const Finding& f : findings) EXPECT_EQ(f.severity, Severity::note) << f.id << f.text;
  }

 private:
  void open(bool writable) {
    writable_ = writable;
    FixedHost host{9};
    std::vector<OpenedImage> images;
    images.push_back(
        *vhd::open(std::make_unique<MemoryFile>(store_, MemoryFile::Options{.writable = writable}),
                   {.writable = writable, .table_cache_bytes = shape_.cache_bytes}, host));
    if (parent_) {
      images.push_back(*vhd::open(
          std::make_unique<MemoryFile>(parent_, MemoryFile::Options{.writable = false}), {}, host));
    }
    disk_.emplace(std::move(images));
  }

  /// A range of sectors that no other request of the round touches, or nothing.
  std::pair<std::uint64_t, std::uint64_t> pick() {
    const std::uint64_t sectors = shape_.size / 512;
    std::uint64_t length = 1 + random_() % (random_() % 3 == 0 ? 3 * shape_.block / 512 : 8);
    std::uint64_t first = random_() % sectors;
    if (random_() % 4 == 0) first = align_down(first, shape_.block / 512);
    if (random_() % 4 == 0) length = align_up(length, shape_.block / 512);
    length = std::min(length, sectors - first);
    const bool free = std::ranges::none_of(taken_, [&](const auto& other) {
      return ranges_overlap(first, length, other.first, other.second);
    });
    if (!free) return {0, 0};
    taken_.emplace_back(first, length);
    return {first * 512, length * 512};
  }

  void add_request(std::vector<Request>& requests) {
    const unsigned kind = writable_ ? static_cast<unsigned>(random_() % 16) : 0;
    if (kind == 15) {
      auto op = std::make_unique<FlushOp>(disk_->chain(), FlushOp::Kind::flush);
      requests.push_back({.op = std::move(op), .bytes = {}});
      return;
    }
    const auto [at, length] = pick();
    if (length == 0) return;
    Request& r = requests.emplace_back();
    r.at = at;
    if (kind >= 12) {
      std::fill_n(flat_.begin() + static_cast<std::ptrdiff_t>(at), length, std::byte{0});
      r.op = std::make_unique<ClearOp>(disk_->chain(), VirtualOffset{at}, length,
                                       kind == 12 ? ClearKind::zero : ClearKind::trim);
      return;
    }
    r.is_read = kind < 5;
    r.bytes = r.is_read ? Bytes(length) : pattern(length, random_());
    r.piece = {r.bytes.data(), r.bytes.size()};
    if (r.is_read) {
      r.op = std::make_unique<ReadOp>(disk_->chain(), VirtualOffset{at}, std::span{&r.piece, 1});
    } else {
      std::ranges::copy(r.bytes, flat_.begin() + static_cast<std::ptrdiff_t>(at));
      r.op = std::make_unique<WriteOp>(disk_->chain(), VirtualOffset{at}, std::span{&r.piece, 1});
    }
  }

  void one_round() {
    taken_.clear();
    std::vector<Request> requests;
    requests.reserve(10);  // pieces are pointed to
    const unsigned count = 1 + static_cast<unsigned>(random_() % 10);
    for (unsigned i = 0; i < count; ++i) add_request(requests);
    std::vector<Operation*> operations;
    for (const Request& r : requests) operations.push_back(r.op.get());
    ShuffleDriver driver{disk_->files(), random_(), true};
    for (const Status& status : driver.run(operations))
      ASSERT_TRUE(status) << error_of(status).what;
    for (const Request& r : requests) {
      if (!r.is_read) continue;
      ASSERT_TRUE(std::equal(r.bytes.begin(), r.bytes.end(),
                             flat_.begin() + static_cast<std::ptrdiff_t>(r.at)))
          << "read of " << r.bytes.size() << " at " << r.at;
    }
  }

  void read_everything() {
    Bytes all(flat_.size());
    ASSERT_TRUE(disk_->read(0, all));
    ASSERT_TRUE(all == flat_);
  }

  Shape shape_;
  std::mt19937_64 random_;
  Bytes flat_;
  Store store_ = std::make_shared<MemoryStore>();
  Store parent_;
  std::optional<Disk> disk_;
  bool writable_ = true;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> taken_;
};

class VhdModel : public testing::TestWithParam<Shape> {};

TEST_P(VhdModel, AgreesWithAFlatArray) {
  for (std::uint64_t seed = 1; seed <= 3 && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Model{GetParam(), seed}.run();
  }
}

constexpr std::uint64_t kK = 1024;
INSTANTIATE_TEST_SUITE_P(
    Shapes, VhdModel,
    testing::Values(
        Shape{"dynamic_64k", DiskType::dynamic, 40 * 64 * kK - 1536, 64 * kK, 64 << 20, 2000},
        Shape{"dynamic_4k_little_memory", DiskType::dynamic, 30000 * kK, 4 * kK, 1, 2000},
        Shape{"dynamic_2m", DiskType::dynamic, 20480 * kK, 2048 * kK, 64 << 20, 100},
        Shape{"differencing_64k", DiskType::differencing, 40 * 64 * kK + 512, 64 * kK, 64 << 20,
              2000},
        Shape{"differencing_4k_little_memory", DiskType::differencing, 30000 * kK, 4 * kK, 1, 2000},
        Shape{"differencing_one_sector", DiskType::differencing, 512, 2048 * kK, 64 << 20, 50}),
    [](const auto& shape) { return std::string{shape.param.name}; });

}  // namespace
}  // namespace openvhd::test
