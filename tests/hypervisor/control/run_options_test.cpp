#include "control/run_options.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace openvhd::vmm {
namespace {

TEST(RunOptions, MemoryHasUnitsAndBounds) {
  EXPECT_EQ(parse_memory("512M").value, 512ULL << 20);
  EXPECT_EQ(parse_memory("2G").value, 2ULL << 30);
  EXPECT_EQ(parse_memory("4194304").value, 4ULL << 20);
  for (const char* bad : {"", "M", "12Q", "-4M", "3M", "2M", "2048G", "99999999999999999999G",
                          "18446744073709551615G"})
    EXPECT_NE(parse_memory(bad).problem.find("--memory"), std::string::npos) << bad;
}

TEST(RunOptions, ADiskHasWordsBehindCommas) {
  EXPECT_EQ(parse_disk("d,bus=scsi").value->bus, "scsi");
  const auto disk = parse_disk("a,,b.vhdx,bus=ide,readonly,cache=writeback,serial=X1").value;
  ASSERT_TRUE(disk);
  EXPECT_EQ(disk->path, "a,b.vhdx");
  EXPECT_TRUE(disk->read_only);
  EXPECT_FALSE(disk->direct);
  EXPECT_EQ(disk->serial, "X1");
  EXPECT_TRUE(parse_disk("d.vhdx").value->direct);
}

TEST(RunOptions, WhatIsNotServedIsRefusedByName) {
  for (const char* bad : {"", ",readonly", "d,bus=", "d,bus=nvme", "d,cache=none",
                          "d,serial=", "d,fast", "d,readonly=1", "d,serial=a b"})
    EXPECT_NE(parse_disk(bad).problem.find("--disk"), std::string::npos) << bad;
}

std::string judged(const std::function<void(RunOptions&)>& change) {
  RunOptions options;
  change(options);
  return contradiction(options);
}

TEST(RunOptions, ContradictionsAreNamed) {
  EXPECT_EQ(contradiction({}), "");
  EXPECT_EQ(judged([](auto& o) { o.kernel = o.initrd = o.append = "k"; }), "");
  EXPECT_NE(judged([](auto& o) { o.initrd = "i"; }), "");
  EXPECT_NE(judged([](auto& o) { o.append = "a"; }), "");
  EXPECT_NE(judged([](auto& o) { o.kernel = o.firmware = "k"; }), "");
  EXPECT_NE(judged([](auto& o) { o.processors = 65; }), "");
  EXPECT_NE(judged([](auto& o) { o.serial = "unix:x"; }), "");
  EXPECT_NE(judged([](auto& o) { o.disks.resize(4), o.cdrom = "c"; }), "");
  EXPECT_NE(judged([](auto& o) { o.generation = 3; }), "");
  EXPECT_NE(judged([](auto& o) { o.vars = "v"; }), "") << "SeaBIOS keeps none";
}

TEST(RunOptions, EachGenerationHasItsBus) {
  EXPECT_EQ(judged([](auto& o) { o.generation = 2, o.disks.resize(40), o.cdrom = "c"; }), "");
  EXPECT_NE(judged([](auto& o) { o.generation = 2, o.disks.resize(64), o.cdrom = "c"; }), "");
  EXPECT_NE(judged([](auto& o) { o.generation = 2, o.disks.resize(1), o.disks[0].bus = "ide"; }),
            "");
  EXPECT_EQ(judged([](auto& o) { o.disks.resize(5), o.disks[2].bus = "scsi"; }), "");
  EXPECT_EQ(judged([](auto& o) { o.generation = 2, o.vars = "v"; }), "");
  EXPECT_NE(judged([](auto& o) { o.generation = 2, o.kernel = o.vars = "v"; }), "");
}

}  // namespace
}  // namespace openvhd::vmm
