#include <gtest/gtest.h>

#include <openvhd/types.hpp>

namespace openvhd {
namespace {

TEST(GuidText, RoundTripsInPrintedOrder) {
  const auto guid = parse_guid("00112233-4455-6677-8899-aAbBcCdDeEfF");
  ASSERT_TRUE(guid);
  EXPECT_EQ(guid->bytes[0], 0x00);
  EXPECT_EQ(guid->bytes[4], 0x44);
  EXPECT_EQ(guid->bytes[15], 0xff);
  EXPECT_EQ(to_string(*guid), "00112233-4455-6677-8899-aabbccddeeff");
  EXPECT_EQ(parse_guid("{00112233-4455-6677-8899-aabbccddeeff}"), guid);
}

TEST(GuidText, RefusesAnythingElse) {
  for (const char* text :
       {"", "{}", "00112233-4455-6677-8899-aabbccddeef", "00112233-4455-6677-8899-aabbccddeeff0",
        "00112233x4455-6677-8899-aabbccddeeff", "0011223g-4455-6677-8899-aabbccddeeff",
        "{00112233-4455-6677-8899-aabbccddeeff"}) {
    EXPECT_FALSE(parse_guid(text)) << text;
  }
}

}  // namespace
}  // namespace openvhd
