#include "devices/queue_block.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <openvhd/create.hpp>

#include "support/temp_dir.hpp"

namespace openvhd::vmm {
namespace {

struct Waited : BlockRequest {
  static void finish(BlockRequest& request, Status status) noexcept {
    auto& self = static_cast<Waited&>(request);
    self.good = status.has_value();
    self.ended = true;
    self.changed->notify_all();
  }
  bool ended = false;
  bool good = false;
  std::condition_variable* changed = nullptr;
};

class QueueBlockTest : public testing::Test {
 protected:
  void SetUp() override {
    path = folder / "disk.vhdx";
    ASSERT_TRUE(create(path, {.virtual_size = 8 << 20}));
    auto opened = Disk::open(path, {.access = Access::read_write});
    ASSERT_TRUE(opened);
    disk.emplace(*std::move(opened));
  }
  bool run(Block& block, BlockRequest::Kind kind, std::uint64_t at, std::span<std::byte> bytes) {
    const iovec piece{.iov_base = bytes.data(), .iov_len = bytes.size()};
    Waited request;
    request.kind = kind;
    request.at = {at};
    request.buffers = {&piece, bytes.empty() ? 0U : 1U};
    request.done = Waited::finish;
    request.changed = &changed;
    std::unique_lock lock{machine};
    block.submit(request);
    changed.wait(lock, [&] { return request.ended; });
    return request.good;
  }
  test::TempDir folder;
  std::string path;
  std::optional<Disk> disk;
  std::mutex machine;
  std::condition_variable changed;
};

TEST_F(QueueBlockTest, WhatIsWrittenIsInTheImage) {
  std::vector<std::byte> bytes(4096, std::byte{0x6b});
  {
    auto block = QueueBlock::open(*disk, machine, "S");
    ASSERT_TRUE(block);
    EXPECT_EQ((*block)->shape().bytes, 8U << 20);
    EXPECT_TRUE(run(**block, BlockRequest::Kind::write, 512 * 3, bytes));
    EXPECT_TRUE(run(**block, BlockRequest::Kind::flush, 0, {}));
    std::vector<std::byte> back(4096);
    EXPECT_TRUE(run(**block, BlockRequest::Kind::read, 512 * 3, back));
    EXPECT_EQ(back, bytes);
    EXPECT_FALSE(run(**block, BlockRequest::Kind::read, 8 << 20, back)) << "beyond the end";
  }
  ASSERT_TRUE(disk->close());
  auto again = Disk::open(path, {});
  ASSERT_TRUE(again);
  std::vector<std::byte> back(4096);
  ASSERT_TRUE(again->read({512 * 3}, back));
  EXPECT_EQ(back, bytes);
}

TEST_F(QueueBlockTest, EndingWaitsForWhatIsUnderWay) {
  std::vector<std::byte> bytes(1 << 20, std::byte{1});
  const iovec piece{.iov_base = bytes.data(), .iov_len = bytes.size()};
  std::array<Waited, 8> requests;
  {
    auto block = QueueBlock::open(*disk, machine, "S");
    ASSERT_TRUE(block);
    const std::lock_guard lock{machine};
    for (std::size_t i = 0; i < requests.size(); ++i) {
      requests[i].kind = BlockRequest::Kind::write;
      requests[i].at = {i << 20};
      requests[i].buffers = {&piece, 1};
      requests[i].done = Waited::finish;
      requests[i].changed = &changed;
      (*block)->submit(requests[i]);
    }
  }
  for (const auto& request : requests) EXPECT_TRUE(request.ended && request.good);
}

TEST_F(QueueBlockTest, LargeSectorsAreRefusedByName) {
  const auto large = folder / "large.vhdx";
  ASSERT_TRUE(create(large, {.virtual_size = 8 << 20, .logical_sector_size = 4096}));
  auto opened = Disk::open(large, {});
  ASSERT_TRUE(opened);
  const auto block = QueueBlock::open(*opened, machine, "S");
  ASSERT_FALSE(block);
  EXPECT_EQ(block.error().code, Errc::unsupported);
}

}  // namespace
}  // namespace openvhd::vmm
