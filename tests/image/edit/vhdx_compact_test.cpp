// Making VHDX files shorter while they are closed.
#include <gtest/gtest.h>

#include <cerrno>
#include <set>

#include "image/edit/edit_disk.hpp"
#include "io/blocking_driver.hpp"
#include "io/borrowed_file.hpp"
#include "support/bytes.hpp"
#include "vhdx/compact.hpp"
#include "vhdx/load.hpp"
#include "vhdx/resize.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kM = std::uint64_t{1} << 20;
constexpr std::uint64_t kG = kM << 10;

/// What one run did.
struct Outcome {
  vhdx::CompactSummary summary{};
  std::uint64_t batches = 0;
};

Result<Outcome> compact(File& file, Host& host, const vhdx::CompactSpec& spec) {
  auto loaded = vhdx::load_image(std::make_unique<BorrowedFile>(file), true, host);
  if (!loaded) return loaded.error();
  auto plan = vhdx::Compactor::plan(*loaded->file, std::move(loaded->image), spec);
  if (!plan) return plan.error();
  Outcome out{.summary = plan->summary()};
  if (const Status begun = plan->begin(host); !begun) return begun.error();
  for (;; ++out.batches) {
    auto steps = plan->next(*loaded->file);
    if (!steps) return steps.error();
    if (!*steps) return out;
    FileSteps batch{**std::move(steps), plan->file_bytes()};
    if (const Status ran = run(batch, file); !ran) return ran.error();
  }
}

const vhdx::CompactSpec kFull{.find_zeros = true, .move = true};
const vhdx::CompactSpec kQuick{.find_zeros = false, .move = true};
const vhdx::CompactSpec kZeroes{.find_zeros = true, .move = false};

Outcome compact(EditDisk& disk, const vhdx::CompactSpec& spec) {
  MemoryFile file{disk.leaf()};
  auto done = compact(file, disk.host(), spec);
  EXPECT_TRUE(done) << describe(done.error(), "disk");
  return done ? *done : Outcome{};
}

const EditShape kShapes[] = {
    {"Dynamic", Format::vhdx, DiskType::dynamic, 60 * kM + 512, kM, 512},
    {"Dynamic4Kn", Format::vhdx, DiskType::dynamic, 60 * kM + 4096, 2 * kM, 4096},
    {"PastOneChunk", Format::vhdx, DiskType::dynamic, 4 * kG + 20 * kM, kM, 512},
    {"Child", Format::vhdx, DiskType::differencing, 60 * kM + 512, kM, 512},
    {"ChildLargeBlocks", Format::vhdx, DiskType::differencing, 200 * kM, 8 * kM, 512},
    {"ChildPastOneChunk", Format::vhdx, DiskType::differencing, 4 * kG + 20 * kM, kM, 512},
};

class VhdxCompact : public testing::TestWithParam<EditShape> {};

TEST_P(VhdxCompact, EveryModeKeepsTheDisk) {
  for (const vhdx::CompactSpec* spec : {&kQuick, &kZeroes, &kFull}) {
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
      EXPECT_EQ(findings_of(disk.leaf(), Format::vhdx), "");
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
      EXPECT_EQ(findings_of(disk.leaf(), Format::vhdx), "");
    }
  }
}

TEST_P(VhdxCompact, FullLeavesNoHoleThatABlockFits) {
  EditDisk disk{GetParam(), 9};
  std::mt19937_64 random{9};
  disk.scribble(random, 120);
  const auto first = disk.leaf()->size;
  compact(disk, kFull);
  const auto disk_now = disk.open(disk.leaf(), false);
  std::set<std::uint64_t> used;
  for (std::uint64_t at = 0; at < disk_now->geometry().virtual_size;) {
    const auto entry = disk_now->map({at}, disk_now->geometry().virtual_size - at);
    ASSERT_TRUE(entry);
    if (entry->kind == MapEntry::Kind::data && entry->layer == 0) {
      for (std::uint64_t m = entry->host_offset.value / kM;
           m <= (entry->host_offset.value + entry->length - 1) / kM; ++m) {
        used.insert(m);
      }
    }
    at += entry->length;
  }
  // Header section, log, metadata, table; one bitmap a chunk; blocks.
  const std::uint64_t chunks = 2;
  const std::uint64_t block = disk.shape().block_size / kM;
  EXPECT_LE(disk.leaf()->size / kM, 4 + chunks + used.size() + (used.size() + 1) * (block - 1));
  EXPECT_LE(disk.leaf()->size, first);
}

TEST_P(VhdxCompact, APowerCutLeavesTheSameDisk) {
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

TEST_P(VhdxCompact, AFailingCommandLeavesTheSameDisk) {
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

INSTANTIATE_TEST_SUITE_P(All, VhdxCompact, testing::ValuesIn(kShapes),
                         [](const auto& param) { return std::string{param.param.name}; });

TEST(VhdxCompactPlan, NoBlockMovesTwice) {
  EditDisk disk{kShapes[0], 5};
  for (std::uint64_t m = 0; m < 60; ++m) disk.write(m * kM, pattern(kM, m));
  for (std::uint64_t m = 0; m < 30; ++m) disk.clear(m * kM, kM, ClearKind::trim);
  const auto medium = std::make_shared<SimDisk>(*disk.leaf());
  SimFile file{medium};
  const auto done = compact(file, disk.host(), kQuick);
  ASSERT_TRUE(done);
  std::set<std::uint64_t> written;
  std::uint64_t payload = 0;
  for (const SimDisk::Op& op : medium->ops()) {
    if (op.kind != IoCommand::Kind::write || op.length < kM) continue;
    EXPECT_TRUE(written.insert(op.at).second) << op.at;
    payload += op.length;
  }
  EXPECT_EQ(payload, done->summary.moved_bytes);
  EXPECT_LE(done->summary.moved_blocks, 30u);
  EXPECT_EQ(medium->now().size, 34 * kM);
}

TEST(VhdxCompactPlan, ZerosInAChildHideTheParent) {
  EditDisk disk{kShapes[3], 6};
  disk.write(0, filled(kM, 0));  // the parent has data there
  const Contents before = disk.contents();
  const Outcome done = compact(disk, kZeroes);
  EXPECT_EQ(done.summary.zero_blocks, 1u);
  EXPECT_EQ(disk.contents(), before);
  EXPECT_FALSE(before.pieces.contains(0));
}

TEST(VhdxCompactPlan, ATableAtTheEndMovesToo) {
  EditDisk disk{EditShape{"", Format::vhdx, DiskType::dynamic, 127 * kG, kM, 512}, 7};
  for (std::uint64_t m = 0; m < 20; ++m) disk.write(m * kM, pattern(kM, m));
  {
    MemoryFile file{disk.leaf()};
    auto plan = vhdx::plan_resize(file, 300 * kG, disk.host());
    ASSERT_TRUE(plan);
    FileSteps steps{std::move(plan->steps), plan->file_bytes};
    ASSERT_TRUE(run(steps, file));
  }
  disk.clear(2 * kM, 12 * kM, ClearKind::trim);
  const Contents before = disk.contents();
  compact(disk, kQuick);
  EXPECT_EQ(disk.contents(), before);
  EXPECT_EQ(findings_of(disk.leaf(), Format::vhdx), "");
  // Header section, log, metadata, the old table's MiB or a block in it, 3 of table, 8 blocks.
  EXPECT_LE(disk.leaf()->size, 16 * kM);
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

TEST(VhdxCompactPlan, AFixedDiskIsRefused) {
  EditDisk disk{EditShape{"", Format::vhdx, DiskType::fixed, 20 * kM, kM, 512}};
  MemoryFile file{disk.leaf()};
  const auto before = read_all(file);
  const auto done = compact(file, disk.host(), kFull);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::unsupported);
  EXPECT_EQ(read_all(file), before);
}

}  // namespace
}  // namespace openvhd::test
