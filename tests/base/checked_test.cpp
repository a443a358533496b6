#include "base/checked.hpp"

#include <gtest/gtest.h>

namespace openvhd {
namespace {

constexpr std::uint64_t kMax = ~std::uint64_t{0};

TEST(Checked, OverflowIsSeen) {
  EXPECT_EQ(checked_add(kMax - 1, 1), kMax);
  EXPECT_FALSE(checked_add(kMax, 1));
  EXPECT_FALSE(checked_mul(std::uint64_t{1} << 32, std::uint64_t{1} << 32));
  EXPECT_FALSE(checked_add(std::uint32_t{0xffffffff}, 1));
}

TEST(Checked, RangesNearTheTopDoNotWrap) {
  EXPECT_TRUE(range_fits(10, 0, 10));
  EXPECT_FALSE(range_fits(11, 0, 10));
  EXPECT_FALSE(range_fits(5, kMax, 10));
  EXPECT_TRUE(ranges_overlap(0, 2, 1, 1));
  EXPECT_FALSE(ranges_overlap(0, 1, 1, 1));
}

TEST(Checked, RoundingSaturates) {
  EXPECT_EQ(align_up(1, 4096), 4096u);
  EXPECT_EQ(align_up(4096, 4096), 4096u);
  EXPECT_EQ(align_up(kMax, 4096), kMax - 4095);
  EXPECT_EQ(div_ceil(kMax, 2), kMax / 2 + 1);
}

}  // namespace
}  // namespace openvhd
