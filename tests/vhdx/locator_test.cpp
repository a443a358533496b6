#include "vhdx/locator.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "vhdx/image_builder.hpp"

namespace openvhd::test {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;
const std::string kLinkage = "{" + kLogGuid + "}";

// Empty when it is accepted.
std::string refusal(const std::vector<std::byte>& item) {
  vhdx::Judge judge;
  const auto locator = vhdx::decode_locator(item, {0}, judge);
  if (!locator) return locator.error().what;
  const auto link = vhdx::parent_link_of(*locator, {0}, judge);
  return link ? std::string{} : std::string{link.error().what};
}

std::vector<std::byte> usual() {
  return locator_item({{"parent_linkage", kLinkage}, {"relative_path", ".\\p.vhdx"}});
}

// The usual item with one number changed.
std::string refusal_with(std::size_t at, unsigned width, std::uint64_t value) {
  Bytes bytes;
  bytes.data = usual();
  return refusal(bytes.put(at, width, value).data);
}

TEST(VhdxLocator, PathsComeInTheOrderInWhichTheyAreTried) {
  vhdx::Judge judge;
  const auto locator =
      vhdx::decode_locator(locator_item({{"absolute_win32_path", "C:\\p.vhdx"},
                                         {"something_else", "x"},
                                         {"volume_path", "\\\\?\\Volume{1}\\p.vhdx"},
                                         {"parent_linkage", kLinkage},
                                         {"relative_path", "..\\p.vhdx"}}),
                           {0}, judge);
  ASSERT_TRUE(locator) << locator.error().what;
  EXPECT_EQ(locator->pairs.size(), 5u);
  const auto link = vhdx::parent_link_of(*locator, {0}, judge);
  ASSERT_TRUE(link);
  ASSERT_EQ(link->paths.size(), 3u);
  EXPECT_EQ(link->paths[0].text, "..\\p.vhdx");
  EXPECT_EQ(link->paths[1].kind, ParentPath::Kind::volume);
  EXPECT_STREQ(link->paths[2].key, "absolute_win32_path");
  EXPECT_EQ(to_string(link->linkage), kLogGuid);
}

TEST(VhdxLocator, LinkageIsReadInEitherCaseAndASecondOneIsKept) {
  const std::string upper = "{ABCDEF00-2222-4333-8444-555555555555}";
  vhdx::Judge judge;
  const auto locator = vhdx::decode_locator(
      locator_item(
          {{"parent_linkage", upper}, {"parent_linkage2", kLinkage}, {"relative_path", "p"}}),
      {0}, judge);
  ASSERT_TRUE(locator);
  const auto link = vhdx::parent_link_of(*locator, {0}, judge);
  ASSERT_TRUE(link);
  EXPECT_EQ(link->linkage, *parse_guid("abcdef00-2222-4333-8444-555555555555"));
  EXPECT_EQ(link->linkage2, parse_guid(kLogGuid));
}

TEST(VhdxLocator, ANilSecondLinkageMatchesNobody) {
  vhdx::Judge judge;
  const auto locator = vhdx::decode_locator(
      locator_item({{"parent_linkage", kLinkage},
                    {"parent_linkage2", "{00000000-0000-0000-0000-000000000000}"},
                    {"relative_path", "p"}}),
      {0}, judge);
  ASSERT_TRUE(locator);
  const auto link = vhdx::parent_link_of(*locator, {0}, judge);
  ASSERT_TRUE(link);
  EXPECT_FALSE(link->linkage2);
  EXPECT_TRUE(judge.notes().empty());
}

TEST(VhdxLocator, WhatIsMissingIsNamed) {
  EXPECT_EQ(refusal(usual()), "");
  EXPECT_NE(refusal(locator_item({{"relative_path", "p"}})).find("missing"), std::string::npos);
  EXPECT_NE(
      refusal(locator_item({{"parent_linkage", "{1}"}, {"relative_path", "p"}})).find("not a GUID"),
      std::string::npos);
  EXPECT_NE(refusal(locator_item({{"parent_linkage", kLinkage}})).find("no path"),
            std::string::npos);
  EXPECT_NE(
      refusal(locator_item({{"parent_linkage", kLinkage}, {"relative_path", ""}})).find("no path"),
      std::string::npos);
  EXPECT_NE(refusal(locator_item({{"parent_linkage", kLinkage}}, kLogGuid)).find("unknown type"),
            std::string::npos);
  // Keys are case-sensitive.
  EXPECT_NE(refusal(locator_item({{"Parent_Linkage", kLinkage}, {"relative_path", "p"}})), "");
}

// Offsets of the item: 18 count; first entry at 20: key offset, value offset, key and value length.
TEST(VhdxLocator, NumbersThatLieAreRefused) {
  EXPECT_NE(refusal_with(18, 2, 65535), "");
  EXPECT_NE(refusal_with(18, 2, 257), "");
  EXPECT_NE(refusal_with(20, 4, 4), "");           // a key inside the table
  EXPECT_NE(refusal_with(20, 4, 0xfffffff0), "");  // offset + length wraps 32 bits
  EXPECT_NE(refusal_with(24, 4, 100000), "");
  EXPECT_NE(refusal_with(28, 2, 0), "");
  EXPECT_NE(refusal_with(28, 2, 27), "");
  EXPECT_NE(refusal_with(30, 2, 65534), "");
  EXPECT_NE(refusal(std::vector<std::byte>(19)), "");
  EXPECT_NE(refusal(std::vector<std::byte>(65537)), "");
}

TEST(VhdxLocator, TextsMustBeUtf16WithoutNul) {
  const std::vector<std::byte> item = usual();
  const std::size_t last = item.size() - 2;
  EXPECT_NE(refusal_with(last, 2, 0xd800), "");
  EXPECT_NE(refusal_with(last, 2, 0), "");
}

TEST(VhdxLocator, AKeyTwiceIsRefused) {
  EXPECT_NE(
      refusal(locator_item(
                  {{"parent_linkage", kLinkage}, {"relative_path", "p"}, {"relative_path", "q"}}))
          .find("twice"),
      std::string::npos);
}

TEST(VhdxLocator, WhatIsEncodedIsDecoded) {
  const std::vector<vhdx::LocatorPair> pairs{{"parent_linkage", kLinkage},
                                             {"relative_path", ".\\\xc3\xa4\xf0\x9f\x92\xbe.vhdx"}};
  const auto item = vhdx::encode_locator(pairs);
  ASSERT_TRUE(item);
  vhdx::Judge judge;
  const auto locator = vhdx::decode_locator(*item, {0}, judge);
  ASSERT_TRUE(locator) << locator.error().what;
  ASSERT_EQ(locator->pairs.size(), 2u);
  EXPECT_EQ(locator->pairs[1].value, pairs[1].value);
  EXPECT_FALSE(vhdx::encode_locator(std::vector<vhdx::LocatorPair>{{"key", "\xff"}}));
  EXPECT_FALSE(
      vhdx::encode_locator(std::vector<vhdx::LocatorPair>{{"key", std::string(40000, 'x')}}));
}

}  // namespace
}  // namespace openvhd::test
