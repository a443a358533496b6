#include "initiator.hpp"

namespace openvhd::scsi {
namespace {

using namespace test;

class ScsiCdTest : public ScsiTest {
 protected:
  Bytes ask(std::initializer_list<unsigned> cdb, std::size_t room = 0) {
    return run(cdb, room, {}, 3);
  }
};

TEST_F(ScsiCdTest, IsARemovableDrive) {
  const auto bytes = ask({0x12, 0, 0, 0, 36, 0}, 36);
  EXPECT_EQ(bytes.at(0), 0x05);
  EXPECT_EQ(bytes.at(1), 0x80);
  EXPECT_EQ(ask({0x12, 1, 0x83, 0, 255, 0}, 255).at(0), 0x05);
  EXPECT_EQ(ask({0x12, 1, 0x80, 0, 255, 0}, 255).at(0), 0x05);
}

TEST_F(ScsiCdTest, ReadsBlocksOf2048) {
  EXPECT_EQ(number(ask({0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 8), 0, 4), 63U);
  const auto bytes = ask({0x28, 0, 0, 0, 0, 9, 0, 0, 2, 0}, 4096);
  EXPECT_TRUE(same(bytes, std::span{disc.bytes}.subspan(9 * 2048, 4096)));
  EXPECT_TRUE(same(ask({0xa8, 0, 0, 0, 0, 63, 0, 0, 0, 1, 0, 0}, 2048),
                   std::span{disc.bytes}.subspan(63 * 2048, 2048)));
  ask({0x28, 0, 0, 0, 0, 63, 0, 0, 2, 0}, 4096);
  EXPECT_EQ(sense(), kOutOfRange);
  ask({0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0});
  EXPECT_EQ(sense(), kInvalidCommand);
}

TEST_F(ScsiCdTest, TableOfContentsHasOneTrack) {
  const auto toc = ask({0x43, 0, 0, 0, 0, 0, 0, 0, 255, 0}, 255);
  ASSERT_EQ(toc.size(), 20U);
  EXPECT_EQ(toc[14], 0xaa);
  EXPECT_EQ(number(toc, 16, 4), 64U);
  EXPECT_EQ(number(ask({0x43, 2, 0, 0, 0, 0, 0, 0, 255, 0}, 255), 16, 4), 0x0240U)
      << "2 seconds, 64 frames";
  ask({0x43, 0, 2, 0, 0, 0, 0, 0, 255, 0}, 255);
  EXPECT_EQ(sense(), kInvalidField);
}

TEST_F(ScsiCdTest, ModePageHasTheLengthThatItSays) {
  const auto six = ask({0x1a, 0, 0x2a, 0, 255, 0}, 255);
  EXPECT_EQ(six.size(), 1U + six.at(0));
  const auto ten = ask({0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 255, 0}, 255);
  EXPECT_EQ(ten.size(), 2U + number(ten, 0, 2));
  EXPECT_EQ(ten.at(8), 0x2a);
  EXPECT_EQ(ten.size(), 10U + ten.at(9));
}

}  // namespace
}  // namespace openvhd::scsi
