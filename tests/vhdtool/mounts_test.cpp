#include "mounts.hpp"

#include <gtest/gtest.h>

namespace vhdtool {
namespace {

TEST(Mounts, LinesOfMountinfoAreRead) {
  const auto mounts = parse_mounts(
      "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
      "30 22 0:33 / /mnt/a\\040b rw shared:2 master:1 - fuse.vhdtool /srv/x\\134y.vhdx rw\n"
      "31 22 7:0 / /mnt/c rw - ext4 /dev/loop0 rw\n");
  ASSERT_EQ(mounts.size(), 3U);
  EXPECT_EQ(mounts[0], (Mount{"/", "ext4", "/dev/sda1"}));
  EXPECT_EQ(mounts[1], (Mount{"/mnt/a b", "fuse.vhdtool", "/srv/x\\y.vhdx"}));
  EXPECT_EQ(mounts[2], (Mount{"/mnt/c", "ext4", "/dev/loop0"}));
}

TEST(Mounts, BrokenLinesAreLeftOut) {
  EXPECT_TRUE(parse_mounts("").empty());
  EXPECT_TRUE(parse_mounts("\n\n30 22 0:33 /\nno dash in here at all\n- ext4\n").empty());
  const auto odd = parse_mounts("1 2 3:4 / /a\\04 rw - t s\n1 2 3:4 / /b\\999 rw - t s");
  ASSERT_EQ(odd.size(), 2U);
  EXPECT_EQ(odd[0].folder, "/a\\04");
  EXPECT_EQ(odd[1].folder, "/b\\999");
}

TEST(Mounts, TheRootIsMounted) {
  const auto root = mount_at("/proc");
  ASSERT_TRUE(root);
  EXPECT_EQ(root->type, "proc");
  EXPECT_FALSE(mount_at("/proc/self"));
}

TEST(Mounts, FoldersAreNamedFromTheRoot) {
  EXPECT_EQ(absolute_folder("/tmp/../tmp/x/"), "/tmp/x");
  EXPECT_EQ(absolute_folder("/proc/."), "/proc");
  EXPECT_TRUE(in_run_folder(run_folder() + "/fs-1"));
  EXPECT_FALSE(in_run_folder(run_folder() + "/fs-1/below"));
  EXPECT_FALSE(in_run_folder("/mnt"));
}

TEST(Mounts, WhatIsNoLoopDeviceHasNoFile) {
  EXPECT_EQ(loop_file("/dev/sda1"), "");
  EXPECT_EQ(loop_file("/dev/loop../../etc"), "");
}

}  // namespace
}  // namespace vhdtool
