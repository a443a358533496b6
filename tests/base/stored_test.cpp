#include "base/stored.hpp"

#include <gtest/gtest.h>

namespace openvhd {
namespace {

struct Mixed {
  Le32 little;
  Be16 big;
  std::array<std::byte, 3> raw;
};
static_assert(OnDisk<Mixed, 9>);

TEST(Stored, LiesInItsByteOrder) {
  std::array<std::byte, 9> bytes{};
  store(std::span{bytes}, Mixed{Le32{0x01020304u}, Be16{std::uint16_t{0x0506}}, {}});
  EXPECT_EQ(std::to_integer<int>(bytes[0]), 4);
  EXPECT_EQ(std::to_integer<int>(bytes[3]), 1);
  EXPECT_EQ(std::to_integer<int>(bytes[4]), 5);
  const auto back = load<Mixed>(bytes);
  EXPECT_EQ(back.little, 0x01020304u);
  EXPECT_EQ(back.big, 0x0506u);
}

}  // namespace
}  // namespace openvhd
