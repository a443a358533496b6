#include "partition_table.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace vhdtool {
namespace {

using openvhd::Errc;
using Kind = PartitionTable::Kind;

constexpr std::uint64_t kMiB = 1 << 20;

/// A disk in memory, with what makes tables on it. (That real ones are read shows mount_test.py.)
class Table : public testing::Test {
 protected:
  std::vector<std::byte> bytes = std::vector<std::byte>(4 * kMiB);

  template <class T>
  void put(std::uint64_t at, T value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
  }
  void sign(std::uint64_t lba) { put<std::uint16_t>(lba * 512 + 510, 0xaa55); }
  void mbr_entry(std::uint64_t lba, int index, std::uint8_t type, std::uint32_t first,
                 std::uint32_t count) {
    const std::uint64_t at = lba * 512 + 446 + 16 * static_cast<std::uint64_t>(index);
    put(at + 4, type);
    put(at + 8, first);
    put(at + 12, count);
    sign(lba);
  }
  static std::uint32_t crc(std::span<const std::byte> data) {
    std::uint32_t value = ~0U;
    for (const std::byte byte : data) {
      value ^= std::to_integer<std::uint32_t>(byte);
      for (int i = 0; i < 8; ++i) value = value % 2 != 0 ? value / 2 ^ 0xedb88320U : value / 2;
    }
    return ~value;
  }
  void gpt_header(std::uint64_t lba, std::uint64_t entries, std::uint32_t count = 128,
                  std::uint32_t size = 128) {
    const std::uint64_t at = lba * 512;
    std::memcpy(bytes.data() + at, "EFI PART", 8);
    put<std::uint32_t>(at + 12, 92);
    put<std::uint32_t>(at + 16, 0);
    put(at + 72, entries);
    put(at + 80, count);
    put(at + 84, size);
    const std::uint64_t all = std::uint64_t{count} * size;
    if (entries < bytes.size() / 512 && entries * 512 + all <= bytes.size())
      put(at + 88, crc(std::span{bytes}.subspan(entries * 512, all)));
    put(at + 16, crc(std::span{bytes}.subspan(at, 92)));
  }
  void gpt_entry(std::uint64_t entries, int index, std::uint64_t first, std::uint64_t last) {
    const std::uint64_t at = entries * 512 + 128 * static_cast<std::uint64_t>(index);
    put<std::uint64_t>(at, 0x1234);
    put(at + 32, first);
    put(at + 40, last);
  }
  void gpt() {
    mbr_entry(0, 0, 0xee, 1, ~0U);
    const std::uint64_t last = bytes.size() / 512 - 1;
    for (const std::uint64_t entries : {std::uint64_t{2}, last - 32}) {
      gpt_entry(entries, 0, 64, 127);
      gpt_entry(entries, 4, 2048, 4095);
    }
    gpt_header(1, 2);
    gpt_header(last, last - 32);
  }

  openvhd::Result<PartitionTable> table() {
    TableSource source;
    source.size = bytes.size();
    source.read = [&](openvhd::VirtualOffset at, std::span<std::byte> into) -> openvhd::Status {
      if (at.value > bytes.size() || into.size() > bytes.size() - at.value)
        return openvhd::Error{.code = Errc::out_of_range, .what = "beyond the end"};
      std::memcpy(into.data(), bytes.data() + at.value, into.size());
      return openvhd::Ok{};
    };
    return read_partition_table(source);
  }
};

TEST_F(Table, ADiskWithoutATableHasNone) {
  EXPECT_EQ(table()->kind, Kind::none);
  sign(0);
  EXPECT_EQ(table()->kind, Kind::none);
  // A boot sector of a file system: the signature, and code where entries would be.
  for (std::uint64_t i = 446; i < 510; ++i) put<std::uint8_t>(i, 0x74);
  EXPECT_EQ(table()->kind, Kind::none);
  bytes.resize(512);
  EXPECT_EQ(table()->kind, Kind::none);
}

TEST_F(Table, PrimaryAndLogicalPartitions) {
  mbr_entry(0, 0, 0x83, 64, 64);
  mbr_entry(0, 2, 0x05, 1024, 4096);
  mbr_entry(1024, 0, 0x83, 16, 32);
  mbr_entry(1024, 1, 0x05, 512, 64);
  mbr_entry(1536, 0, 0x83, 8, 8);
  const auto found = table();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->kind, Kind::mbr);
  ASSERT_EQ(found->partitions.size(), 3U);
  EXPECT_EQ(found->find(1)->at.value, 64 * 512U);
  EXPECT_EQ(found->find(1)->length, 64 * 512U);
  EXPECT_EQ(found->find(5)->at.value, 1040 * 512U);
  EXPECT_EQ(found->find(6)->at.value, 1544 * 512U);
  EXPECT_EQ(found->find(3), nullptr);
}

TEST_F(Table, ALoopOfLogicalPartitionsEnds) {
  mbr_entry(0, 0, 0x0f, 1024, 4096);
  mbr_entry(1024, 0, 0x83, 16, 32);
  mbr_entry(1024, 1, 0x05, 0, 64);
  const auto found = table();
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Errc::corrupt);
}

TEST_F(Table, PartitionsOutsideTheDiskAreRefused) {
  mbr_entry(0, 1, 0x83, 8191, 2);
  EXPECT_EQ(table().error().code, Errc::corrupt);
  mbr_entry(0, 1, 0x83, 8191, 1);
  EXPECT_TRUE(table());
  mbr_entry(0, 1, 0x05, 9000, 1);
  EXPECT_EQ(table().error().code, Errc::corrupt);
}

TEST_F(Table, EntriesOfAGptAreItsPartitions) {
  gpt();
  const auto found = table();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->kind, Kind::gpt);
  ASSERT_EQ(found->partitions.size(), 2U);
  EXPECT_EQ(found->find(1)->length, 64 * 512U);
  EXPECT_EQ(found->find(5)->at.value, kMiB);
}

TEST_F(Table, TheBackupServesWhereTheFirstIsDamaged) {
  for (const std::uint64_t at : {512U, 512U + 72, 1024U + 40}) {
    gpt();
    put<std::uint8_t>(at, 0x5a);
    const auto found = table();
    ASSERT_TRUE(found) << at;
    EXPECT_EQ(found->partitions.size(), 2U);
  }
  put<std::uint8_t>(bytes.size() - 512, 0);
  const auto found = table();
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Errc::corrupt);
}

TEST_F(Table, NumbersInAHeaderAreBounded) {
  mbr_entry(0, 0, 0xee, 1, ~0U);
  for (const auto& [entries, count, size] : {std::tuple{2UL, ~0U, 128U},
                                             {2UL, 128U, 64U},
                                             {2UL, 128U, 1U << 20},
                                             {~0UL, 128U, 128U},
                                             {8000UL, 1024U, 4096U},
                                             {0UL, 1U, 128U}}) {
    gpt_header(1, entries, count, size);
    EXPECT_EQ(table().error().code, Errc::corrupt) << entries << ' ' << count << ' ' << size;
  }
}

TEST_F(Table, NoBytesAreTooMuchForIt) {
  std::mt19937 random{1};
  for (int round = 0; round < 2000; ++round) {
    gpt();
    mbr_entry(0, 1, 0x05, static_cast<std::uint32_t>(random() % 9000), 64);
    for (int i = 0; i < 6; ++i) bytes[random() % 1536] = static_cast<std::byte>(random());
    sign(0);
    const auto found = table();
    if (!found) continue;
    for (const auto& one : found->partitions) {
      ASSERT_GT(one.length, 0U);
      ASSERT_LE(one.at.value, bytes.size());
      ASSERT_LE(one.length, bytes.size() - one.at.value);
    }
  }
}

}  // namespace
}  // namespace vhdtool
