#include <fstream>
#include <openvhd/check.hpp>
#include <string>

#include "image/disk_fixture.hpp"

namespace openvhd::test {
namespace {

using RepairTest = DiskTest;

TEST_F(RepairTest, RepairMendsABrokenHeaderAndCanBeTakenBack) {
  const auto file = made("d.vhdx", {.virtual_size = 8 * kMiB});
  const auto healthy = file_bytes(file);
  {
    std::fstream damage{file, std::ios::in | std::ios::out | std::ios::binary};
    damage.seekp(64 << 10);
    damage << "garbage";
  }
  const auto damaged = file_bytes(file);
  const auto checked = check(file, {});
  ASSERT_TRUE(checked);
  EXPECT_FALSE(checked->clean());
  EXPECT_EQ(file_bytes(file), damaged) << "check never writes";
  const auto repaired = repair(file, {});
  ASSERT_TRUE(repaired) << describe(repaired.error(), file);
  EXPECT_TRUE(repaired->after.clean());
  EXPECT_FALSE(repaired->actions.empty());
  ASSERT_TRUE(undo_repair(file));
  EXPECT_EQ(file_bytes(file), damaged);
  EXPECT_FALSE(std::filesystem::exists(file + ".undo"));
}

TEST_F(RepairTest, AnImageThatWasUsedSinceIsNotUndone) {
  const auto file = made("d.vhdx", {.virtual_size = 8 * kMiB});
  {
    std::fstream damage{file, std::ios::in | std::ios::out | std::ios::binary};
    damage.seekp(64 << 10);
    damage << "garbage";
  }
  ASSERT_TRUE(repair(file, {}));
  {
    Disk disk = opened(file);
    ASSERT_TRUE(disk.write({0}, filled(kMiB, 7)));
    ASSERT_TRUE(disk.close());
  }
  const auto used = file_bytes(file);
  EXPECT_EQ(undo_repair(file).error().code, Errc::mismatch);
  EXPECT_EQ(file_bytes(file), used);
}

TEST_F(RepairTest, RepairLeavesAHealthyImageAlone) {
  for (const char* name : {"d.vhd", "d.vhdx"}) {
    const auto file = made(name, {.virtual_size = 8 * kMiB});
    const auto before = file_bytes(file);
    const auto repaired = repair(file, {});
    ASSERT_TRUE(repaired);
    EXPECT_TRUE(repaired->actions.empty());
    EXPECT_EQ(file_bytes(file), before);
    EXPECT_FALSE(std::filesystem::exists(file + ".undo"));
  }
}

}  // namespace
}  // namespace openvhd::test
