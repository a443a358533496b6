#include "vhdx/bat_math.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <vector>

namespace openvhd::vhdx {
namespace {

TEST(VhdxBatMath, ChunkRatioFollowsSectorAndBlockSize) {
  EXPECT_EQ(chunk_ratio(512, kMiB), 4096u);
  EXPECT_EQ(chunk_ratio(512, 32 * kMiB), 128u);
  EXPECT_EQ(chunk_ratio(512, 256 * kMiB), 16u);
  EXPECT_EQ(chunk_ratio(4096, kMiB), 32768u);
  EXPECT_EQ(chunk_ratio(4096, 256 * kMiB), 128u);
}

TEST(VhdxBatMath, PayloadEntriesBehindTheFirstChunkSkipItsBitmap) {
  constexpr std::uint64_t ratio = 128;  // 32 MiB blocks, 512-byte sectors: 4 GiB a chunk
  EXPECT_EQ(payload_index(127, ratio), 127u);
  EXPECT_EQ(bitmap_index(0, ratio), 128u);
  EXPECT_EQ(payload_index(128, ratio), 129u);
  EXPECT_EQ(payload_index(255, ratio), 256u);
  EXPECT_EQ(bitmap_index(1, ratio), 257u);
  EXPECT_EQ(payload_index(256, ratio), 258u);
}

TEST(VhdxBatMath, IndexAndBlockAreInverses) {
  for (const std::uint64_t ratio : {16u, 128u, 4096u, 32768u}) {
    for (std::uint64_t block = 0; block < 5 * ratio; ++block) {
      const std::uint64_t index = payload_index(block, ratio);
      ASSERT_FALSE(is_bitmap_index(index, ratio)) << block << " of " << ratio;
      ASSERT_EQ(block_of_index(index, ratio), block);
      ASSERT_EQ(chunk_of_index(index, ratio), chunk_of_block(block, ratio));
    }
    for (std::uint64_t chunk = 0; chunk < 5; ++chunk) {
      const std::uint64_t index = bitmap_index(chunk, ratio);
      ASSERT_TRUE(is_bitmap_index(index, ratio));
      ASSERT_EQ(chunk_of_index(index, ratio), chunk);
      ASSERT_EQ(payload_index((chunk + 1) * ratio - 1, ratio) + 1, index);
    }
  }
}

TEST(VhdxBatMath, EntryCountsOfDynamicAndDifferencingFiles) {
  // 4 GiB and one sector: one block in a second chunk.
  constexpr std::uint64_t size = 4 * kGiB + 512;
  EXPECT_EQ(
      bat_counts(size, 512, 32 * kMiB, false),
      (BatCounts{.chunk_ratio = 128, .payload_blocks = 129, .bitmap_blocks = 2, .entries = 130}));
  EXPECT_EQ(bat_counts(size, 512, 32 * kMiB, true).entries, 2u * 129);
  // Exactly one chunk: no bitmap entry in a dynamic file, one in a differencing file.
  EXPECT_EQ(bat_counts(4 * kGiB, 512, 32 * kMiB, false).entries, 128u);
  EXPECT_EQ(bat_counts(4 * kGiB, 512, 32 * kMiB, true).entries, 129u);
  EXPECT_EQ(bat_counts(512, 512, kMiB, false).entries, 1u);
  EXPECT_EQ(bat_counts(64 * kTiB, 512, kMiB, false).entries,
            (std::uint64_t{1} << 26) + (std::uint64_t{1} << 14) - 1);
  EXPECT_EQ(bat_counts(64 * kTiB, 512, kMiB, true).entries,
            (std::uint64_t{1} << 26) + (std::uint64_t{1} << 14));
}

TEST(VhdxBatMath, BitmapPlaceCountsSectorsPerChunk) {
  EXPECT_EQ(bitmap_place((1u << 23) - 1).chunk, 0u);
  EXPECT_EQ(bitmap_place((1u << 23) - 1).bit, (1u << 23) - 1);
  EXPECT_EQ(bitmap_place(1u << 23).chunk, 1u);
  EXPECT_EQ(bitmap_place(1u << 23).bit, 0u);
}

TEST(VhdxBatMath, RangesUnderABlockAreFoundAsOneByOne) {
  // With gaps of 0 to 2 MiB, of 1 to 3 MiB each.
  std::vector<OwnedRange> fixed{{"header section", {0}, kMiB}};
  for (std::uint64_t i = 0, at = kMiB; i < 60; ++i) {
    const std::uint64_t length = (1 + i * 7 % 3) * kMiB;
    at += i * 5 % 3 * kMiB;
    fixed.push_back({"a region", {at}, length});
    at += length;
  }
  for (std::uint64_t count = 0; count <= fixed.size(); ++count) {
    const std::span<const OwnedRange> some = std::span{fixed}.first(count);
    for (std::uint64_t at = 0; at < 200; ++at) {
      for (const std::uint64_t length : {1u, 2u, 9u}) {
        const auto under = [&](const OwnedRange& range) {
          return ranges_overlap(at * kMiB, length * kMiB, range.at.value, range.length);
        };
        const auto found = fixed_under(some, {at * kMiB}, length * kMiB);
        ASSERT_EQ(std::int64_t(found.size()), std::ranges::count_if(some, under));
        ASSERT_TRUE(std::ranges::all_of(found, under));
      }
    }
  }
}

// 2^26 entries under 2,047 regions, one by one, would take minutes.
TEST(VhdxBatMath, ManyRegionsDoNotMakeEntriesSlow) {
  std::vector<OwnedRange> fixed;
  for (std::uint64_t i = 0; i < 2047; ++i) fixed.push_back({"a region", {i * kMiB}, kMiB});
  EntryRules rules{.has_parent = false,
                   .block_bytes = kMiB,
                   .virtual_bytes = kTiB,
                   .file_bytes = kTiB,
                   .fixed = {}};
  const auto best_of = [&](std::span<const OwnedRange> ranges) {
    rules.fixed = ranges;
    auto best = std::chrono::nanoseconds::max();
    for (int round = 0; round < 5; ++round) {
      const auto start = std::chrono::steady_clock::now();
      for (std::uint64_t block = 0; block < 20000; ++block) {
        EXPECT_TRUE(validate_payload_entry({(4096 + block) * kMiB | 6}, block, rules, {}));
      }
      best = std::min(best, std::chrono::nanoseconds{std::chrono::steady_clock::now() - start});
    }
    return best;
  };
  const auto few = best_of(std::span{fixed}.first(4));
  const auto many = best_of(fixed);
  EXPECT_LT(many.count(), 20 * few.count());
}

class VhdxEntry : public ::testing::Test {
 protected:
  static constexpr std::array<OwnedRange, 2> kFixed{
      {{"header section", {0}, kMiB}, {"BAT region", {2 * kMiB}, kMiB}}};
  EntryRules rules_{.has_parent = false,
                    .block_bytes = 2 * kMiB,
                    .virtual_bytes = 3 * kMiB,
                    .file_bytes = 8 * kMiB,
                    .fixed = kFixed};
  bool accepts(std::uint64_t raw, std::uint64_t block = 0) const {
    return bool{validate_payload_entry({raw}, block, rules_, {})};
  }
  bool accepts_bitmap(std::uint64_t raw) const {
    return bool{validate_bitmap_entry({raw}, rules_, {})};
  }
};

TEST_F(VhdxEntry, ReservedStatesAndBitsAreRejected) {
  for (const std::uint64_t state : {0u, 1u, 2u, 3u}) EXPECT_TRUE(accepts(state)) << state;
  for (const std::uint64_t state : {4u, 5u, 7u}) EXPECT_FALSE(accepts(state)) << state;
  EXPECT_FALSE(accepts(8));
  EXPECT_FALSE(accepts(3 * kMiB | 6 | 1 << 19));
  EXPECT_TRUE(accepts(3 * kMiB | 6));
}

TEST_F(VhdxEntry, PartiallyPresentNeedsAParent) {
  EXPECT_FALSE(accepts(3 * kMiB | 7));
  rules_.has_parent = true;
  EXPECT_TRUE(accepts(3 * kMiB | 7));
}

TEST_F(VhdxEntry, DataMustBeInTheFileAndOverNothingFixed) {
  EXPECT_FALSE(accepts(6));
  EXPECT_FALSE(accepts(1 * kMiB | 6));  // its second half is the BAT
  EXPECT_FALSE(accepts(2 * kMiB | 6));
  EXPECT_TRUE(accepts(6 * kMiB | 6));
  EXPECT_FALSE(accepts(7 * kMiB | 6));
  EXPECT_FALSE(accepts(8 * kMiB | 6));
  EXPECT_FALSE(accepts(~(kMiB - 1) | 6));
}

TEST_F(VhdxEntry, OnlyTheBlockThatEndsTheDiskMayBeCutOff) {
  EXPECT_TRUE(accepts(7 * kMiB | 6, 1));  // 1 MiB of the disk is left, and it is there
  EXPECT_FALSE(accepts(8 * kMiB | 6, 1));
}

TEST_F(VhdxEntry, SoftAnchorsOutsideTheFileAreWorthNothing) {
  EXPECT_TRUE(accepts(100 * kMiB | 3));
  EXPECT_FALSE(soft_anchor({100 * kMiB | 3}, rules_));
  EXPECT_FALSE(soft_anchor({2 * kMiB | 3}, rules_));
  EXPECT_FALSE(soft_anchor({4 * kMiB | 2}, rules_));
  EXPECT_FALSE(soft_anchor({3}, rules_));
  EXPECT_EQ(soft_anchor({4 * kMiB | 3}, rules_), FileOffset{4 * kMiB});
  EXPECT_EQ(soft_anchor({4 * kMiB | 1}, rules_), FileOffset{4 * kMiB});
}

TEST_F(VhdxEntry, BitmapEntriesOfFilesWithoutParentMeanNothing) {
  EXPECT_TRUE(accepts_bitmap(100 * kMiB | 6));
  EXPECT_FALSE(accepts_bitmap(7));
  EXPECT_FALSE(accepts_bitmap(8));
  rules_.has_parent = true;
  EXPECT_FALSE(accepts_bitmap(100 * kMiB | 6));
  EXPECT_FALSE(accepts_bitmap(6));
  EXPECT_FALSE(accepts_bitmap(2 * kMiB | 6));
  EXPECT_TRUE(accepts_bitmap(7 * kMiB | 6));
  EXPECT_TRUE(accepts_bitmap(0));
}

}  // namespace
}  // namespace openvhd::vhdx
