#include "vhdx/header_writer.hpp"

#include <gtest/gtest.h>

#include "base/crc32c.hpp"
#include "support/bytes.hpp"
#include "vhdx/image_builder.hpp"

namespace openvhd::test {
namespace {

constexpr Guid kNew = vhdx::guid_of(0xaabbccdd, 1, 2, 3, 4);

TEST(VhdxHeaderWriter, TheCopyThatDoesNotCountIsWrittenAndThenCounts) {
  MemoryFile file{Image{}.build()};
  const auto second = read_at(file, 131072, 4096);
  vhdx::Header header = load<vhdx::Header>(second);
  unsigned copy = 1;
  vhdx::HeaderChange change;
  change.file_write_guid = kNew;
  ASSERT_TRUE(vhdx::update_header(file, header, copy, change));
  EXPECT_EQ(copy, 0u);
  EXPECT_EQ(header.sequence_number, 3u);
  EXPECT_EQ(header.file_write_guid.value(), kNew);
  EXPECT_EQ(read_at(file, 131072, 4096), second);
  const auto first = read_at(file, 65536, 4096);
  EXPECT_EQ(crc32c_without(first, 4), header.checksum.value());
  EXPECT_EQ(file.executed(IoCommand::Kind::sync), 1u);
  // Nothing else changes.
  EXPECT_EQ(header.data_write_guid.value(), load<vhdx::Header>(second).data_write_guid.value());
  EXPECT_EQ(header.log_offset.value(), kMegabyte);
}

TEST(VhdxHeaderWriter, BothCopiesCanBeBroughtUpToDate) {
  MemoryFile file{Image{}.build()};
  vhdx::Header header = load<vhdx::Header>(read_at(file, 131072, 4096));
  unsigned copy = 1;
  vhdx::HeaderChange change;
  change.log_guid = kNew;
  ASSERT_TRUE(vhdx::update_both_headers(file, header, copy, change));
  EXPECT_EQ(copy, 1u);
  EXPECT_EQ(header.sequence_number, 4u);
  for (const std::uint64_t at : {65536u, 131072u}) {
    EXPECT_EQ(load<vhdx::Header>(read_at(file, at, 4096)).log_guid.value(), kNew);
  }
  EXPECT_EQ(file.executed(IoCommand::Kind::sync), 2u);
}

TEST(VhdxHeaderWriter, TheLastSequenceNumberCannotBeRaised) {
  vhdx::Header header;
  header.sequence_number = ~std::uint64_t{0};
  const auto next = vhdx::next_header(header, 0, {});
  ASSERT_FALSE(next);
  EXPECT_NE(std::string{next.error().what}.find("X04"), std::string::npos);
}

TEST(VhdxHeaderWriter, ASessionNeedsRoomForAllItsUpdates) {
  vhdx::Header header;
  header.sequence_number = ~std::uint64_t{8};
  EXPECT_TRUE(vhdx::require_header_updates(header, 0));
  header.sequence_number = ~std::uint64_t{7};  // seven are left
  const auto status = vhdx::require_header_updates(header, 0);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Errc::corrupt);
}

}  // namespace
}  // namespace openvhd::test
