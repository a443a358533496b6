#include "base/crc32c.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace openvhd {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text.data(), text.size()});
}

// The check value of the CRC catalogue, and RFC 3720 B.4.
TEST(Crc32c, MatchesPublishedVectors) {
  EXPECT_EQ(crc32c(bytes_of("123456789")), 0xe3069283u);
  EXPECT_EQ(crc32c(std::vector<std::byte>(32)), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::vector<std::byte>(32, std::byte{0xff})), 0x62a8ab43u);
}

TEST(Crc32c, ContinuesFromASeed) {
  const std::string_view text = "the quick brown fox jumps";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    const auto whole = bytes_of(text);
    EXPECT_EQ(crc32c(whole.subspan(cut), crc32c(whole.first(cut))), crc32c(whole)) << cut;
  }
}

TEST(Crc32c, TakesTheChecksumFieldAsZero) {
  std::vector<std::byte> block(4096, std::byte{0x5a});
  std::vector<std::byte> zeroed = block;
  std::memset(zeroed.data() + 4, 0, 4);
  EXPECT_EQ(crc32c_without(block, 4), crc32c(zeroed));
  EXPECT_NE(crc32c_without(block, 4), crc32c(block));
}

}  // namespace
}  // namespace openvhd
