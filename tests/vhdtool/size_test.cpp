#include "size.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace vhdtool {
namespace {

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

TEST(ParseSize, TakesBytesUnitsAndHex) {
  EXPECT_EQ(parse_size("0").bytes, 0U);
  EXPECT_EQ(parse_size("512").bytes, 512U);
  EXPECT_EQ(parse_size("512B").bytes, 512U);
  EXPECT_EQ(parse_size("4k").bytes, 4096U);
  EXPECT_EQ(parse_size("4K").bytes, 4096U);
  EXPECT_EQ(parse_size("4KiB").bytes, 4096U);
  EXPECT_EQ(parse_size("4kib").bytes, 4096U);
  EXPECT_EQ(parse_size("3M").bytes, 3U << 20);
  EXPECT_EQ(parse_size("5GiB").bytes, 5 * kGiB);
  EXPECT_EQ(parse_size("64T").bytes, 65536 * kGiB);
  EXPECT_EQ(parse_size("0x1000").bytes, 4096U);
  EXPECT_EQ(parse_size("0XfF").bytes, 255U);
}

TEST(ParseSize, TakesFractionsOfWholeBytes) {
  EXPECT_EQ(parse_size("1.5G").bytes, kGiB + kGiB / 2);
  EXPECT_EQ(parse_size("0.5K").bytes, 512U);
  EXPECT_EQ(parse_size("2.25KiB").bytes, 2304U);
  EXPECT_EQ(parse_size("1.0").bytes, 1U);
  EXPECT_EQ(parse_size("0.0009765625K").bytes, 1U);
}

TEST(ParseSize, RefusesFractionsOfAByte) {
  EXPECT_FALSE(parse_size("0.1K").bytes);
  EXPECT_FALSE(parse_size("1.5").bytes);
  EXPECT_FALSE(parse_size("1.1G").bytes);
  EXPECT_FALSE(parse_size("0.0000000000000000000000001T").bytes);
  EXPECT_STREQ(parse_size("0.1K").problem, "is not a whole number of bytes");
}

TEST(ParseSize, RefusesOverflow) {
  EXPECT_EQ(parse_size("18446744073709551615").bytes, kMax);
  EXPECT_FALSE(parse_size("18446744073709551616").bytes);
  EXPECT_FALSE(parse_size("18446744073709551615K").bytes);
  EXPECT_EQ(parse_size("16777215T").bytes, std::uint64_t{16777215} << 40);
  EXPECT_FALSE(parse_size("16777216T").bytes);
  EXPECT_FALSE(parse_size("99999999999999999999999999").bytes);
  EXPECT_STREQ(parse_size("16777216T").problem, "is too large");
}

TEST(ParseSize, RefusesWhatReadersDisagreeOn) {
  EXPECT_FALSE(parse_size("10MB").bytes);
  EXPECT_FALSE(parse_size("1gb").bytes);
  EXPECT_NE(std::string_view{parse_size("10MB").problem}.find("ambiguous"), std::string_view::npos);
}

TEST(ParseSize, RefusesEverythingElse) {
  for (const auto* text :
       {"",    " ",     "K",  "-1",  "+1",    "1 K", " 1",    "1 ",  "1KK", "1Ki", "1.",
        ".5G", "1..5G", "0x", "0xg", "0x10K", "1e3", "1,000", "inf", "nan", "1\n"}) {
    EXPECT_FALSE(parse_size(text).bytes) << text;
    EXPECT_STRNE(parse_size(text).problem, "") << text;
  }
}

TEST(HumanSize, IsExactWhereItSaysSo) {
  EXPECT_EQ(human_size(0), "0 bytes");
  EXPECT_EQ(human_size(1), "1 byte");
  EXPECT_EQ(human_size(1023), "1,023 bytes");
  EXPECT_EQ(human_size(1024), "1 KiB");
  EXPECT_EQ(human_size(1536), "1.5 KiB");
  EXPECT_EQ(human_size(32 << 20), "32 MiB");
  EXPECT_EQ(human_size(65536 * kGiB), "64 TiB");
  EXPECT_EQ(human_size(1073995776), "~1 GiB");
  EXPECT_EQ(human_size(kGiB - 1), "~1023 MiB");
  EXPECT_EQ(human_size(10 * kGiB + kGiB / 2), "10.5 GiB");
  EXPECT_EQ(human_size(kMax), "~15.9 EiB");
}

TEST(ExactSize, HasTheByteCount) {
  EXPECT_EQ(exact_size(10 * kGiB), "10 GiB (10,737,418,240 bytes)");
  EXPECT_EQ(exact_size(512), "512 bytes");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(kMax), "18,446,744,073,709,551,615");
}

}  // namespace
}  // namespace vhdtool
