#include "support/memory_file.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "base/checked.hpp"
#include "support/bytes.hpp"
#include "support/fixed_host.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kPage = MemoryStore::kPageBytes;

TEST(MemoryFile, BytesSurviveReopening) {
  MemoryFile file;
  const auto data = pattern(3 * kPage, 7);
  patch(file, 100, data);
  MemoryFile again{file.store()};
  EXPECT_EQ(read_at(again, 100, data.size()), data);
  EXPECT_EQ(read_at(again, 0, 100), filled(100, 0));
  EXPECT_EQ(*again.size(), 100 + data.size());
  EXPECT_EQ(again.identity(), file.identity());
}

TEST(MemoryFile, ReadsStopAtTheEnd) {
  MemoryFile file{bytes_of("12345")};
  std::array<std::byte, 10> buffer{};
  EXPECT_EQ(*file.read_some({2}, buffer), 3u);
  EXPECT_EQ(*file.read_some({5}, buffer), 0u);
  EXPECT_EQ(file.read_exact({0}, buffer, "x").error().code, Errc::corrupt);
}

TEST(MemoryFile, FullMeansNothingChanged) {
  MemoryFile file;
  file.store()->capacity = 2 * kPage;
  ASSERT_TRUE(file.write_all({0}, filled(2 * kPage, 1)));
  EXPECT_EQ(file.write_all({2 * kPage - 1}, filled(2, 2)).error().code, Errc::no_space);
  EXPECT_EQ(file.reserve({0}, 3 * kPage).error().code, Errc::no_space);
  EXPECT_EQ(read_all(file), filled(2 * kPage, 1));
  ASSERT_TRUE(file.punch({0}, kPage));
  EXPECT_TRUE(file.write_all({2 * kPage}, filled(kPage, 3)));
  EXPECT_EQ(file.allocated_bytes(), 2 * kPage);
}

TEST(MemoryFile, ZeroKeepsSpaceAndPunchReturnsIt) {
  MemoryFile file{filled(4 * kPage, 0xff)};
  ASSERT_TRUE(file.zero({kPage / 2}, kPage));
  EXPECT_EQ(file.allocated_bytes(), 4 * kPage);
  ASSERT_TRUE(file.punch({2 * kPage - 8}, kPage + 16));
  EXPECT_EQ(file.allocated_bytes(), 3 * kPage);
  auto expected = filled(4 * kPage, 0xff);
  std::fill_n(expected.begin() + kPage / 2, kPage, std::byte{0});
  std::fill_n(expected.begin() + 2 * kPage - 8, kPage + 16, std::byte{0});
  EXPECT_EQ(read_all(file), expected);
  ASSERT_TRUE(file.punch({3 * kPage + 1}, 2));  // inside one page
  EXPECT_EQ(file.allocated_bytes(), 3 * kPage);
  EXPECT_EQ(read_at(file, 3 * kPage + 8, 1), filled(1, 0xff));
}

TEST(MemoryFile, ZeroAndPunchNeverChangeTheSize) {
  MemoryFile file{filled(10, 1)};
  ASSERT_TRUE(file.zero({5}, 10 * kPage));
  ASSERT_TRUE(file.punch({2}, 10 * kPage));
  EXPECT_EQ(*file.size(), 10u);
}

TEST(MemoryFile, ShrunkBytesComeBackAsZeros) {
  MemoryFile file{filled(2 * kPage, 1)};
  ASSERT_TRUE(file.set_size(10));
  ASSERT_TRUE(file.set_size(2 * kPage));
  auto expected = filled(2 * kPage, 0);
  std::fill_n(expected.begin(), 10, std::byte{1});
  EXPECT_EQ(read_all(file), expected);
  EXPECT_EQ(file.allocated_bytes(), kPage);
}

TEST(MemoryFile, ReservingTerabytesIsCheap) {
  MemoryFile file;
  ASSERT_TRUE(file.reserve({0}, 64 * kTiB));
  EXPECT_EQ(*file.size(), 64 * kTiB);
  EXPECT_EQ(file.allocated_bytes(), 64 * kTiB);
  EXPECT_EQ(file.next_data({0}, {64 * kTiB})->length, 0u);
}

TEST(MemoryFile, NextDataFindsRuns) {
  MemoryFile file;
  patch(file, 10 * kPage, filled(2 * kPage, 1));
  const auto run = file.next_data({1}, {100 * kPage});
  EXPECT_EQ(run->at.value, 10 * kPage);
  EXPECT_EQ(run->length, 2 * kPage);
  EXPECT_EQ(file.next_data({10 * kPage + 5}, {10 * kPage + 9})->length, 4u);
  EXPECT_EQ(file.next_data({0}, {10 * kPage})->length, 0u);
}

TEST(MemoryFile, ReadOnlyRefusesChanges) {
  MemoryFile file{filled(10, 1)};
  MemoryFile reader{file.store(), {.writable = false, .name = "r"}};
  EXPECT_EQ(reader.write_all({0}, filled(1, 2)).error().sys_errno, EBADF);
  EXPECT_EQ(reader.set_size(0).error().sys_errno, EBADF);
  EXPECT_TRUE(reader.sync());
  EXPECT_EQ(read_all(reader), filled(10, 1));
  EXPECT_EQ(reader.executed(IoCommand::Kind::write), 1u);
}

TEST(MemoryFile, OffsetsPastTheLongestFileAreRefused) {
  MemoryFile file;
  EXPECT_EQ(file.write_all({~std::uint64_t{0} - 1}, filled(4, 1)).error().sys_errno, EFBIG);
  EXPECT_EQ(file.reserve({1}, ~std::uint64_t{0}).error().sys_errno, EFBIG);
}

TEST(FixedHost, GuidsRepeatPerSeedAndDifferWithin) {
  FixedHost a{3};
  FixedHost b{3};
  const Guid first = a.random_guid();
  EXPECT_EQ(first, b.random_guid());
  EXPECT_NE(first, a.random_guid());
  EXPECT_EQ(first.bytes[6] >> 4, 4);
}

}  // namespace
}  // namespace openvhd::test
