#include "io_command.hpp"

#include <gtest/gtest.h>

namespace vhdtool {
namespace {

using Kind = IoCommand::Kind;

TEST(IoCommand, ReadAndWriteTakeARangeAndAPattern) {
  const auto read = parse_io_command("read 1M 64K").command;
  ASSERT_TRUE(read);
  EXPECT_EQ(read->kind, Kind::read);
  EXPECT_FALSE(read->pattern);
  EXPECT_EQ(read->offset, 1U << 20);
  EXPECT_EQ(read->length, 65536U);
  const auto write = parse_io_command("  write\t-P 0xa5  0x200 512 ").command;
  ASSERT_TRUE(write);
  EXPECT_EQ(write->kind, Kind::write);
  EXPECT_EQ(write->pattern, 0xa5);
  EXPECT_EQ(write->offset, 512U);
  EXPECT_EQ(parse_io_command("read -P 255 0 1").command->pattern, 255);
}

TEST(IoCommand, TheOthersTakeWhatTheyNeed) {
  EXPECT_EQ(parse_io_command("zero 0 1").command->kind, Kind::zero);
  EXPECT_EQ(parse_io_command("discard 0 1").command->kind, Kind::discard);
  EXPECT_EQ(parse_io_command("flush").command->kind, Kind::flush);
  EXPECT_EQ(parse_io_command("length").command->kind, Kind::length);
  EXPECT_EQ(parse_io_command("map").command->kind, Kind::map);
}

TEST(IoCommand, RefusesWhatItDoesNotKnow) {
  for (const auto* text :
       {"", "   ", "reed 0 1", "READ 0 1", "read", "read 0", "read 0 1 2", "read -P 0 1",
        "read -P 256 0 1", "read -P -1 0 1", "read -P a5 0 1", "read 0 1 -P 5", "zero -P 0 0 1",
        "flush 0", "length 1", "map 0 1", "write x 1", "write 0 1MB", "read 0 1 2 3 4 5 6 7 8"}) {
    const auto parsed = parse_io_command(text);
    EXPECT_FALSE(parsed.command) << text;
    EXPECT_NE(parsed.problem, "") << text;
    EXPECT_EQ(parsed.problem.find('\n'), std::string::npos) << text;
  }
}

TEST(IoCommand, RefusesARangeThatWraps) {
  EXPECT_TRUE(parse_io_command("read 18446744073709551615 0").command);
  EXPECT_TRUE(parse_io_command("read 18446744073709551614 1").command);
  EXPECT_FALSE(parse_io_command("read 18446744073709551615 1").command);
  EXPECT_FALSE(parse_io_command("zero 16777215T 1T").command);
}

}  // namespace
}  // namespace vhdtool
