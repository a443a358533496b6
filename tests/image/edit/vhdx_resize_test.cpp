// Sizes of VHDX disks, changed while they are closed.
#include <gtest/gtest.h>

#include <cerrno>

#include "image/edit/edit_disk.hpp"
#include "io/blocking_driver.hpp"
#include "support/bytes.hpp"
#include "vhdx/resize.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kM = std::uint64_t{1} << 20;
constexpr std::uint64_t kG = kM << 10;

Status resize(File& file, std::uint64_t size, Host& host) {
  if (auto replayed = vhdx::replay(file, false, host); !replayed) return replayed.error();
  auto plan = vhdx::plan_resize(file, size, host);
  if (!plan) return plan.error();
  FileSteps steps{std::move(plan->steps), plan->file_bytes};
  return run(steps, file);
}

Status resize(EditDisk& disk, std::uint64_t size) {
  MemoryFile file{disk.leaf()};
  return resize(file, size, disk.host());
}

std::string failure(const Status& status) {
  return status ? std::string{} : describe(status.error(), "disk");
}

Guid data_guid(EditDisk& disk) { return disk.open(disk.leaf(), false)->image(0).link_identity(); }

const EditShape kShapes[] = {
    {"Dynamic", Format::vhdx, DiskType::dynamic, 40 * kM + 512, kM, 512},
    {"Dynamic4Kn", Format::vhdx, DiskType::dynamic, 40 * kM + 4096, 2 * kM, 4096},
    {"DynamicPastOneChunk", Format::vhdx, DiskType::dynamic, 4 * kG + 3 * kM, kM, 512},
    {"DynamicTableFull", Format::vhdx, DiskType::dynamic, 127 * kG, kM, 512},
    {"Fixed", Format::vhdx, DiskType::fixed, 20 * kM + 1536, kM, 512},
    {"Child", Format::vhdx, DiskType::differencing, 40 * kM + 512, kM, 512},
    {"ChildLargeBlocks", Format::vhdx, DiskType::differencing, 100 * kM, 32 * kM, 512},
    {"ChildTableFull", Format::vhdx, DiskType::differencing, 127 * kG, kM, 512},
};

class VhdxResize : public testing::TestWithParam<EditShape> {};

TEST_P(VhdxResize, GrowsKeepingEveryByte) {
  EditDisk disk{GetParam()};
  std::mt19937_64 random{5};
  disk.scribble(random, 40);
  const Contents before = disk.contents();
  const Guid id = data_guid(disk);
  const std::uint64_t size = before.size;
  const bool fixed = disk.shape().type == DiskType::fixed;
  for (const std::uint64_t more : {std::uint64_t{4096}, kM, 37 * kM, fixed ? 60 * kM : 6 * kG}) {
    ASSERT_EQ(failure(resize(disk, size + more)), "") << more;
    const Contents after = disk.contents();
    EXPECT_EQ(after.size, size + more);
    EXPECT_TRUE(after.same_bytes(before)) << more;
    EXPECT_EQ(findings_of(disk.leaf(), Format::vhdx), "") << more;
  }
  EXPECT_NE(data_guid(disk), id);
  disk.scribble(random, 40);
  EXPECT_EQ(findings_of(disk.leaf(), Format::vhdx), "");
}

TEST_P(VhdxResize, ShrinksAndGrowsBackToZeros) {
  EditDisk disk{GetParam()};
  if (disk.shape().type == DiskType::differencing) {
    // A child may not be smaller than its parent: it is made larger first.
    ASSERT_EQ(failure(resize(disk, disk.shape().virtual_size + 3 * kM)), "");
  }
  std::mt19937_64 random{6};
  disk.scribble(random, 60);
  const std::uint64_t size = disk.size();
  const std::uint64_t smaller = disk.shape().type == DiskType::differencing
                                    ? disk.shape().virtual_size
                                    : size / 2 / 4096 * 4096;
  const auto fill = size - smaller < kM ? size - smaller : kM;
  disk.write(smaller, filled(fill, 0x5a));
  disk.write(size - fill, filled(fill, 0x5b));
  const Contents before = disk.contents();
  ASSERT_EQ(failure(resize(disk, smaller)), "");
  const Contents after = disk.contents();
  EXPECT_EQ(after.size, smaller);
  EXPECT_EQ(findings_of(disk.leaf(), Format::vhdx), "");
  ASSERT_EQ(failure(resize(disk, size)), "");
  EXPECT_EQ(findings_of(disk.leaf(), Format::vhdx), "");
  const Contents again = disk.contents();
  EXPECT_EQ(again.size, size);
  EXPECT_TRUE(again.same_bytes(after));
  for (const auto& [at, sum] : after.pieces) {
    if (at + 65536 > smaller) continue;
    EXPECT_EQ(before.pieces.at(at), sum) << at;
  }
}

TEST_P(VhdxResize, APowerCutLeavesOldOrNew) {
  EditDisk disk{GetParam()};
  std::mt19937_64 random{7};
  disk.scribble(random, 12);
  const Contents old = disk.contents();
  for (const std::uint64_t size : {old.size + 5 * kM, old.size + 2 * kG}) {
    if (disk.shape().type == DiskType::fixed && size > kG) continue;
    const Contents grown{.size = size, .pieces = old.pieces};
    EXPECT_EQ(
        crash_everywhere(
            disk, [&](File& file) { return resize(file, size, disk.host()); }, {old, grown}, 24),
        "");
  }
  if (disk.shape().type == DiskType::differencing) return;
  EditDisk copy{GetParam()};
  copy.write(old.size - 4 * kM, pattern(kM, 3));
  copy.write(kM / 2, pattern(kM, 4));
  const Contents large = copy.contents();
  Contents small{.size = large.size - 8 * kM};
  for (const auto& [at, sum] : large.pieces) {
    if (at < small.size) small.pieces.emplace(at, sum);
  }
  EXPECT_EQ(crash_everywhere(
                copy, [&](File& file) { return resize(file, small.size, copy.host()); },
                {large, small}, 24),
            "");
}

TEST_P(VhdxResize, AFailingCommandLeavesOldOrNew) {
  EditDisk disk{GetParam()};
  std::mt19937_64 random{8};
  disk.scribble(random, 8);
  const Contents old = disk.contents();
  const std::uint64_t size = old.size + (disk.shape().type == DiskType::fixed ? 9 * kM : 2 * kG);
  const Contents grown{.size = size, .pieces = old.pieces};
  for (const int error : {EIO, ENOSPC}) {
    EXPECT_EQ(
        fail_everywhere(
            disk, [&](File& file) { return resize(file, size, disk.host()); }, {old, grown}, error),
        "");
  }
}

INSTANTIATE_TEST_SUITE_P(All, VhdxResize, testing::ValuesIn(kShapes),
                         [](const auto& param) { return std::string{param.param.name}; });

TEST(VhdxResizePlan, WhatIsNoSizeIsRefused) {
  EditDisk disk{kShapes[0]};
  MemoryFile file{disk.leaf()};
  const auto before = read_all(file);
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{513}, 65 * kG * 1024}) {
    const auto plan = vhdx::plan_resize(file, size, disk.host());
    ASSERT_FALSE(plan) << size;
    EXPECT_EQ(plan.error().code, Errc::invalid);
  }
  EXPECT_EQ(read_all(file), before);
}

TEST(VhdxResizePlan, TheSameSizeChangesNothing) {
  EditDisk disk{kShapes[0]};
  MemoryFile file{disk.leaf()};
  const auto before = read_all(file);
  ASSERT_EQ(failure(resize(disk, disk.shape().virtual_size)), "");
  EXPECT_EQ(read_all(file), before);
}

TEST(VhdxResizePlan, ATableThatOutgrowsItsRegionGetsANewOne) {
  EditDisk disk{kShapes[3]};
  disk.write(5 * kM, pattern(kM, 9));
  const Contents before = disk.contents();
  MemoryFile file{disk.leaf()};
  auto plan = vhdx::plan_resize(file, 300 * kG, disk.host());
  ASSERT_TRUE(plan);
  EXPECT_TRUE(plan->table_moved);
  FileSteps steps{std::move(plan->steps), plan->file_bytes};
  ASSERT_EQ(failure(run(steps, file)), "");
  EXPECT_EQ(findings_of(disk.leaf(), Format::vhdx), "");
  EXPECT_TRUE(disk.contents().same_bytes(before));
  disk.write(299 * kG, pattern(kM, 10));
  EXPECT_EQ(findings_of(disk.leaf(), Format::vhdx), "");
}

TEST(VhdxResizePlan, StoppingChangesNothing) {
  EditDisk disk{kShapes[3]};
  const Contents before = disk.contents();
  MemoryFile file{disk.leaf()};
  auto plan = vhdx::plan_resize(file, 300 * kG, disk.host());
  ASSERT_TRUE(plan);
  const std::uint64_t bytes = plan->file_bytes;
  FileSteps steps{std::move(plan->steps), bytes};
  for (int i = 0; i < 3; ++i) {
    const auto command = steps.next();
    ASSERT_TRUE(command);
    steps.complete(command->slot, file.execute(*command));
  }
  steps.cancel();
  const Status stopped = run(steps, file);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, Errc::cancelled);
  EXPECT_FALSE(steps.committed());
  EXPECT_EQ(disk.leaf()->size, bytes);
  EXPECT_EQ(disk.contents(), before);
  EXPECT_EQ(findings_of(disk.leaf(), Format::vhdx), "");
}

}  // namespace
}  // namespace openvhd::test
