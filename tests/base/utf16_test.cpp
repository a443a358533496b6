#include "base/utf16.hpp"

#include <gtest/gtest.h>

#include <cstdint>

namespace openvhd {
namespace {

std::vector<std::byte> bytes(std::initializer_list<int> values) {
  std::vector<std::byte> out;
  for (const int v : values) out.push_back(static_cast<std::byte>(v));
  return out;
}

TEST(Utf16, BothOrdersReadTheSame) {
  const auto le = bytes({'a', 0, 0xe4, 0, 0xac, 0x20, 0x3d, 0xd8, 0x00, 0xde});
  const auto be = bytes({0, 'a', 0, 0xe4, 0x20, 0xac, 0xd8, 0x3d, 0xde, 0x00});
  const std::string text = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80";
  EXPECT_EQ(utf16_to_utf8(le, std::endian::little), text);
  EXPECT_EQ(utf16_to_utf8(be, std::endian::big), text);
  EXPECT_EQ(utf8_to_utf16(text, std::endian::little), le);
  EXPECT_EQ(utf8_to_utf16(text, std::endian::big), be);
}

TEST(Utf16, EveryCodePointSurvives) {
  std::vector<std::byte> all;
  const auto unit = [&all](char32_t u) {
    all.push_back(static_cast<std::byte>(u & 0xff));
    all.push_back(static_cast<std::byte>(u >> 8));
  };
  for (char32_t c = 0; c <= 0x10ffff; ++c) {
    if (c >= 0x10000) {
      unit(0xd800 + ((c - 0x10000) >> 10));
      unit(0xdc00 + ((c - 0x10000) & 0x3ff));
    } else if (c < 0xd800 || c > 0xdfff) {
      unit(c);
    }
  }
  const auto text = utf16_to_utf8(all, std::endian::little);
  ASSERT_TRUE(text);
  EXPECT_EQ(text->size(), 0x80u + 0x780 * 2 + (0xf800 - 0x800) * 3 + 0x100000 * 4);
  const auto back = utf8_to_utf16(*text, std::endian::little);
  ASSERT_TRUE(back);
  EXPECT_TRUE(*back == all);
}

TEST(Utf16, LoneSurrogatesAndOddLengthsAreRefused) {
  const auto high_at_end = bytes({'x', 0, 0x3d, 0xd8});
  const auto high_then_letter = bytes({0x3d, 0xd8, 'x', 0});
  const auto low_first = bytes({0x00, 0xde, 0x3d, 0xd8});
  const auto odd = bytes({'x', 0, 'y'});
  for (const auto& text : {high_at_end, high_then_letter, low_first, odd})
    EXPECT_FALSE(utf16_to_utf8(text, std::endian::little));
  const std::string replacement = "\xef\xbf\xbd";
  EXPECT_EQ(utf16_to_utf8_lossy(high_at_end, std::endian::little), "x" + replacement);
  EXPECT_EQ(utf16_to_utf8_lossy(high_then_letter, std::endian::little), replacement + "x");
  EXPECT_EQ(utf16_to_utf8_lossy(low_first, std::endian::little), replacement + replacement);
  EXPECT_EQ(utf16_to_utf8_lossy(odd, std::endian::little), "x" + replacement);
}

TEST(Utf16, MalformedUtf8IsRefused) {
  for (const std::string_view text : {
           "\x80",              // stray continuation
           "\xc3",              // truncated
           "\xc3x",             // no continuation
           "\xc0\xaf",          // overlong '/'
           "\xc1\xbf",          // overlong
           "\xe0\x80\xaf",      // overlong '/'
           "\xf0\x80\x80\xaf",  // overlong '/'
           "\xed\xa0\x80",      // a surrogate
           "\xf4\x90\x80\x80",  // past U+10FFFF
           "\xf5\x80\x80\x80",  // no such lead byte
           "\xff",
       }) {
    EXPECT_FALSE(utf8_to_utf16(text, std::endian::little)) << text;
    EXPECT_FALSE(is_utf8(text)) << text;
  }
}

TEST(Utf16, NulIsKept) {
  EXPECT_EQ(utf16_to_utf8(bytes({'a', 0, 0, 0, 'b', 0}), std::endian::little),
            std::string("a\0b", 3));
  EXPECT_EQ(utf16_to_utf8({}, std::endian::big), "");
}

}  // namespace
}  // namespace openvhd
