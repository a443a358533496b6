// Sizes of VHD disks, changed while they are closed.
#include <gtest/gtest.h>

#include <cerrno>

#include "image/edit/edit_disk.hpp"
#include "io/blocking_driver.hpp"
#include "support/bytes.hpp"
#include "vhd/resize.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kM = std::uint64_t{1} << 20;
constexpr std::uint64_t kG = kM << 10;

Status resize(File& file, std::uint64_t size) {
  auto plan = vhd::plan_resize(file, size);
  if (!plan) return plan.error();
  FileSteps steps{std::move(plan->steps), plan->file_bytes};
  return run(steps, file);
}

Status resize(EditDisk& disk, std::uint64_t size) {
  MemoryFile file{disk.leaf()};
  return resize(file, size);
}

std::string failure(const Status& status) {
  return status ? std::string{} : describe(status.error(), "disk");
}

Guid unique_id(EditDisk& disk) { return disk.open(disk.leaf(), false)->image(0).link_identity(); }

const EditShape kShapes[] = {
    {"Dynamic", Format::vhd, DiskType::dynamic, 40 * kM + 512, 2 * kM, 512},
    {"DynamicSmallBlocks", Format::vhd, DiskType::dynamic, 40 * kM + 1536, kM / 2, 512},
    {"Fixed", Format::vhd, DiskType::fixed, 20 * kM + 1536, 0, 512},
    {"Child", Format::vhd, DiskType::differencing, 40 * kM + 512, 2 * kM, 512},
    {"ChildSmallBlocks", Format::vhd, DiskType::differencing, 40 * kM + 512, kM / 2, 512},
};

class VhdResize : public testing::TestWithParam<EditShape> {};

TEST_P(VhdResize, GrowsKeepingEveryByte) {
  EditDisk disk{GetParam()};
  std::mt19937_64 random{5};
  disk.scribble(random, 40);
  const Contents before = disk.contents();
  const Guid id = unique_id(disk);
  const std::uint64_t size = before.size;
  const bool fixed = disk.shape().type == DiskType::fixed;
  for (const std::uint64_t more : {std::uint64_t{4096}, kM, 37 * kM, fixed ? 60 * kM : 6 * kG}) {
    ASSERT_EQ(failure(resize(disk, size + more)), "") << more;
    const Contents after = disk.contents();
    EXPECT_EQ(after.size, size + more);
    EXPECT_TRUE(after.same_bytes(before)) << more;
    EXPECT_EQ(findings_of(disk.leaf(), Format::vhd), "") << more;
  }
  EXPECT_EQ(unique_id(disk), id);
  disk.scribble(random, 40);
  EXPECT_EQ(findings_of(disk.leaf(), Format::vhd), "");
}

TEST_P(VhdResize, ShrinksAndGrowsBackToZeros) {
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
  EXPECT_EQ(findings_of(disk.leaf(), Format::vhd), "");
  ASSERT_EQ(failure(resize(disk, size)), "");
  EXPECT_EQ(findings_of(disk.leaf(), Format::vhd), "");
  const Contents again = disk.contents();
  EXPECT_EQ(again.size, size);
  EXPECT_TRUE(again.same_bytes(after));
  for (const auto& [at, sum] : after.pieces) {
    if (at + 65536 > smaller) continue;
    EXPECT_EQ(before.pieces.at(at), sum) << at;
  }
}

TEST_P(VhdResize, APowerCutLeavesOldOrNew) {
  EditDisk disk{GetParam()};
  std::mt19937_64 random{7};
  disk.scribble(random, 12);
  const Contents old = disk.contents();
  const bool fixed = disk.shape().type == DiskType::fixed;
  for (const std::uint64_t size : {old.size + 5 * kM, old.size + (fixed ? 600 * kM : 2 * kG)}) {
    const Contents grown{.size = size, .pieces = old.pieces};
    EXPECT_EQ(crash_everywhere(
                  disk, [&](File& file) { return resize(file, size); }, {old, grown}, 24),
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
                copy, [&](File& file) { return resize(file, small.size); }, {large, small}, 24),
            "");
}

TEST_P(VhdResize, AFailingCommandLeavesOldOrNew) {
  EditDisk disk{GetParam()};
  std::mt19937_64 random{8};
  disk.scribble(random, 8);
  const Contents old = disk.contents();
  const std::uint64_t size = old.size + (disk.shape().type == DiskType::fixed ? 9 * kM : 2 * kG);
  const Contents grown{.size = size, .pieces = old.pieces};
  for (const int error : {EIO, ENOSPC}) {
    EXPECT_EQ(fail_everywhere(
                  disk, [&](File& file) { return resize(file, size); }, {old, grown}, error),
              "");
  }
}

INSTANTIATE_TEST_SUITE_P(All, VhdResize, testing::ValuesIn(kShapes),
                         [](const auto& param) { return std::string{param.param.name}; });

TEST(VhdResizePlan, WhatIsNoSizeIsRefused) {
  EditDisk disk{kShapes[0]};
  MemoryFile file{disk.leaf()};
  const auto before = read_all(file);
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{513}, 2041 * kG}) {
    const auto plan = vhd::plan_resize(file, size);
    ASSERT_FALSE(plan) << size;
    EXPECT_EQ(plan.error().code, Errc::invalid);
  }
  EXPECT_EQ(read_all(file), before);
}

TEST(VhdResizePlan, TheSameSizeChangesNothing) {
  EditDisk disk{kShapes[0]};
  MemoryFile file{disk.leaf()};
  const auto before = read_all(file);
  ASSERT_EQ(failure(resize(disk, disk.shape().virtual_size)), "");
  EXPECT_EQ(read_all(file), before);
}

TEST(VhdResizePlan, ATableThatOutgrowsItsPlaceGetsANewOne) {
  EditDisk disk{kShapes[0]};
  disk.write(5 * kM, pattern(kM, 9));
  const Contents before = disk.contents();
  MemoryFile file{disk.leaf()};
  auto plan = vhd::plan_resize(file, 300 * kG);
  ASSERT_TRUE(plan);
  EXPECT_TRUE(plan->table_moved);
  FileSteps steps{std::move(plan->steps), plan->file_bytes};
  ASSERT_EQ(failure(run(steps, file)), "");
  EXPECT_EQ(findings_of(disk.leaf(), Format::vhd), "");
  EXPECT_TRUE(disk.contents().same_bytes(before));
  disk.write(299 * kG, pattern(kM, 10));
  EXPECT_EQ(findings_of(disk.leaf(), Format::vhd), "");
}

}  // namespace
}  // namespace openvhd::test
