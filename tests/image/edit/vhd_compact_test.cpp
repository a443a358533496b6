// Making VHD files shorter while they are closed.
#include <gtest/gtest.h>

#include <cerrno>
#include <set>

#include "image/edit/edit_disk.hpp"
#include "io/blocking_driver.hpp"
#include "support/bytes.hpp"
#include "vhd/compact.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kM = std::uint64_t{1} << 20;

/// What one run did.
struct Outcome {
  vhd::CompactSummary summary{};
  std::uint64_t batches = 0;
};

Result<Outcome> compact(File& file, Host& host, const vhd::CompactSpec& spec) {
  auto plan = vhd::Compactor::plan(file, true, spec);
  if (!plan) return plan.error();
  Outcome out{.summary = plan->summary()};
  if (const Status begun = plan->begin(host); !begun) return begun.error();
  for (;; ++out.batches) {
    auto steps = plan->next(file);
    if (!steps) return steps.error();
    if (!*steps) return out;
    FileSteps batch{**std::move(steps), plan->file_bytes()};
    if (const Status ran = run(batch, file); !ran) return ran.error();
  }
}

const vhd::CompactSpec kFull{.find_zeros = true, .move = true};
const vhd::CompactSpec kQuick{.find_zeros = false, .move = true};
const vhd::CompactSpec kZeroes{.find_zeros = true, .move = false};

Outcome compact(EditDisk& disk, const vhd::CompactSpec& spec) {
  MemoryFile file{disk.leaf()};
  auto done = compact(file, disk.host(), spec);
  EXPECT_TRUE(done) << describe(done.error(), "disk");
  return done ? *done : Outcome{};
}

const EditShape kShapes[] = {
    {"Dynamic", Format::vhd, DiskType::dynamic, 60 * kM + 512, 2 * kM, 512},
    {"DynamicSmallBlocks", Format::vhd, DiskType::dynamic, 60 * kM + 512, kM / 2, 512},
    {"Child", Format::vhd, DiskType::differencing, 60 * kM + 512, 2 * kM, 512},
    {"ChildSmallBlocks", Format::vhd, DiskType::differencing, 60 * kM + 512, kM / 2, 512},
};

class VhdCompact : public testing::TestWithParam<EditShape> {};

TEST_P(VhdCompact, EveryModeKeepsTheDisk) {
  for (const vhd::CompactSpec* spec : {&kQuick, &kZeroes, &kFull}) {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
      EditDisk disk{GetParam(), seed};
      std::mt19937_64 random{seed};
      disk.scribble(random, 80);
      disk.write(6 * kM, filled(2 * kM, 0));
      const Contents before = disk.contents();
      const Guid id = disk.open(disk.leaf(), false)->image(0).link_identity();
      const std::uint64_t size = disk.leaf()->size;
      const Outcome done = compact(disk, *spec);
      EXPECT_EQ(disk.contents(), before);
      EXPECT_EQ(findings_of(disk.leaf(), Format::vhd), "");
      EXPECT_EQ(disk.open(disk.leaf(), false)->image(0).link_identity(), id);
      EXPECT_EQ(disk.leaf()->size, done.summary.file_bytes_after);
      EXPECT_LE(disk.leaf()->size, size);
      // There is nothing left to do, so nothing is written.
      const auto again = std::make_shared<MemoryStore>(*disk.leaf());
      MemoryFile file{again};
      const auto second = compact(file, disk.host(), *spec);
      ASSERT_TRUE(second);
      EXPECT_EQ(second->batches, 0u);
      disk.scribble(random, 40);
      EXPECT_EQ(findings_of(disk.leaf(), Format::vhd), "");
    }
  }
}

TEST_P(VhdCompact, APowerCutLeavesTheSameDisk) {
  EditDisk disk{GetParam(), 3};
  std::mt19937_64 random{3};
  disk.scribble(random, 30);
  disk.write(6 * kM, filled(2 * kM, 0));
  const Contents before = disk.contents();
  EXPECT_EQ(crash_everywhere(
                disk,
                [&](File& file) -> Status {
                  const auto done = compact(file, disk.host(), kFull);
                  if (!done) return done.error();
                  return Ok{};
                },
                {before}, 16),
            "");
}

TEST_P(VhdCompact, AFailingCommandLeavesTheSameDisk) {
  EditDisk disk{GetParam(), 4};
  std::mt19937_64 random{4};
  disk.scribble(random, 20);
  const Contents before = disk.contents();
  for (const int error : {EIO, ENOSPC}) {
    EXPECT_EQ(fail_everywhere(
                  disk,
                  [&](File& file) -> Status {
                    const auto done = compact(file, disk.host(), kFull);
                    if (!done) return done.error();
                    return Ok{};
                  },
                  {before}, error),
              "");
  }
}

INSTANTIATE_TEST_SUITE_P(All, VhdCompact, testing::ValuesIn(kShapes),
                         [](const auto& param) { return std::string{param.param.name}; });

TEST(VhdCompactPlan, NoBlockMovesTwice) {
  EditDisk disk{kShapes[0], 5};
  for (std::uint64_t m = 0; m < 60; ++m) disk.write(m * kM, pattern(kM, m));
  for (std::uint64_t m = 0; m < 30; m += 2) disk.clear(m * kM, 2 * kM, ClearKind::trim);
  const auto medium = std::make_shared<SimDisk>(*disk.leaf());
  SimFile file{medium};
  const auto done = compact(file, disk.host(), kQuick);
  ASSERT_TRUE(done);
  std::set<std::uint64_t> written;
  std::uint64_t payload = 0;
  for (const SimDisk::Op& op : medium->ops()) {
    if (op.kind != IoCommand::Kind::write || op.length < kM || op.at < 3 * 512) continue;
    EXPECT_TRUE(written.insert(op.at).second) << op.at;
    payload += op.length;
  }
  EXPECT_EQ(payload, done->summary.moved_bytes);
  EXPECT_LE(done->summary.moved_blocks, 15u);
  EXPECT_LT(medium->now().size, 32 * kM);
}

TEST(VhdCompactPlan, ZerosInAChildKeepTheirBlock) {
  EditDisk disk{kShapes[2], 6};
  disk.write(0, filled(kM, 0));  // the parent has data there
  const Contents before = disk.contents();
  const Outcome done = compact(disk, kZeroes);
  EXPECT_EQ(done.summary.zero_blocks, 0u);
  EXPECT_EQ(disk.contents(), before);
  EXPECT_FALSE(before.pieces.contains(0));
}

TEST(VhdCompactPlan, AFixedDiskIsRefused) {
  EditDisk disk{EditShape{"", Format::vhd, DiskType::fixed, 20 * kM, 0, 512}};
  MemoryFile file{disk.leaf()};
  const auto before = read_all(file);
  const auto done = compact(file, disk.host(), kFull);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::unsupported);
  EXPECT_EQ(read_all(file), before);
}

}  // namespace
}  // namespace openvhd::test
