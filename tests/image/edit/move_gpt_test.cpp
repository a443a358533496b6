// Moving the backup of a GPT: whatever a power cut leaves of the writes, a copy of the table is
// valid.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "base/stored.hpp"
#include "image/partitions.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint32_t kSector = 512;
constexpr std::uint64_t kArraySectors = 32;
constexpr std::uint64_t kFirstUsable = 34;
constexpr std::uint64_t kLastUsed = 1999;
constexpr std::uint64_t kSectors = 4096;

using Bytes = std::vector<std::byte>;

void put64(Bytes& disk, std::uint64_t at, std::uint64_t value) {
  store(std::span{disk}.subspan(at), Le64{value});
}
void put32(Bytes& disk, std::uint64_t at, std::uint32_t value) {
  store(std::span{disk}.subspan(at), Le32{value});
}

void put_copy(Bytes& disk, std::uint64_t lba, std::uint64_t other, std::uint64_t array_lba) {
  const std::uint64_t array = array_lba * kSector;
  disk[array] = std::byte{0xaf};
  put64(disk, array + 32, kFirstUsable);
  put64(disk, array + 40, kLastUsed);
  const std::uint64_t at = lba * kSector;
  std::memcpy(disk.data() + at, "EFI PART", 8);
  put32(disk, at + 8, 0x10000);
  put32(disk, at + 12, 92);
  put64(disk, at + 24, lba);
  put64(disk, at + 32, other);
  put64(disk, at + 40, kFirstUsable);
  put64(disk, at + 48, kSectors - kArraySectors - 2);
  put64(disk, at + 72, array_lba);
  put32(disk, at + 80, 128);
  put32(disk, at + 84, 128);
  const std::span<const std::byte> entries{disk.data() + array, kArraySectors * kSector};
  put32(disk, at + 88, crc32_iso(entries));
  put32(disk, at + 16, 0);
  put32(disk, at + 16, crc32_iso({disk.data() + at, 92}));
}

Bytes gpt_disk() {
  Bytes disk(kSectors * kSector);
  disk[446 + 4] = std::byte{0xee};
  put32(disk, 446 + 8, 1);
  put32(disk, 446 + 12, kSectors - 1);
  disk[510] = std::byte{0x55};
  disk[511] = std::byte{0xaa};
  put_copy(disk, 1, kSectors - 1, 2);
  put_copy(disk, kSectors - 1, 1, kSectors - 1 - kArraySectors);
  return disk;
}

Result<PartitionTable> table_of(const Bytes& disk) {
  return read_partitions(
      [&](std::uint64_t at, std::span<std::byte> into) -> Status {
        std::memcpy(into.data(), disk.data() + at, into.size());
        return Ok{};
      },
      disk.size(), kSector);
}

struct Write {
  std::uint64_t at = 0;
  Bytes bytes;
};

struct Case {
  const char* name;
  std::int64_t more;  // sectors
  bool first_damaged;
};

class MoveGpt : public testing::TestWithParam<Case> {};

TEST_P(MoveGpt, EveryCutLeavesAValidCopy) {
  Bytes disk = gpt_disk();
  if (GetParam().first_damaged) disk[kSector] = std::byte{0};
  const std::uint64_t sectors = kSectors + static_cast<std::uint64_t>(GetParam().more);
  auto before = table_of(disk);
  ASSERT_TRUE(before && before->gpt);
  ASSERT_EQ(before->gpt->from_backup, GetParam().first_damaged);
  // A disk that becomes smaller does so afterwards.
  disk.resize(std::max(sectors, kSectors) * kSector);
  std::vector<std::vector<Write>> groups(1);  // of writes that a flush ends
  const Status moved = move_gpt(
      *before->gpt, sectors * kSector, kSector,
      [&](std::uint64_t at, std::span<const std::byte> from) -> Status {
        groups.back().push_back({at, {from.begin(), from.end()}});
        return Ok{};
      },
      [&]() -> Status {
        groups.emplace_back();
        return Ok{};
      });
  ASSERT_TRUE(moved) << moved.error().what;
  const auto apply = [](Bytes& to, const Write& write, std::size_t sectors_of_it) {
    const std::size_t length = std::min(write.bytes.size(), sectors_of_it * kSector);
    std::copy_n(write.bytes.begin(), length, to.begin() + static_cast<std::ptrdiff_t>(write.at));
  };
  for (const auto& group : groups) {
    for (unsigned keep = 0; keep < 1u << group.size(); ++keep) {
      for (const std::size_t torn : {std::size_t{1}, std::size_t{7}, std::size_t{32}}) {
        Bytes found = disk;
        for (std::size_t i = 0; i < group.size(); ++i) {
          if ((keep >> i & 1) != 0) apply(found, group[i], torn);
        }
        const auto table = table_of(found);
        ASSERT_TRUE(table) << table.error().what;
        ASSERT_TRUE(table->gpt);
        EXPECT_EQ(table->gpt->last_used, kLastUsed);
      }
    }
    for (const Write& write : group) apply(disk, write, write.bytes.size());
  }
  disk.resize(sectors * kSector);
  const auto after = table_of(disk);
  ASSERT_TRUE(after && after->gpt);
  EXPECT_FALSE(after->gpt->from_backup);
  EXPECT_TRUE(after->gpt->backup_valid);
  EXPECT_EQ(after->gpt->last_used, kLastUsed);
}

INSTANTIATE_TEST_SUITE_P(Sizes, MoveGpt,
                         testing::Values(Case{"TheSame", 0, false}, Case{"OneMore", 1, false},
                                         Case{"TenMore", 10, false}, Case{"ManyMore", 2048, false},
                                         Case{"OneLess", -1, false}, Case{"TenLess", -10, false},
                                         Case{"ManyLess", -2000, false},
                                         Case{"DamagedTheSame", 0, true},
                                         Case{"DamagedOneLess", -1, true},
                                         Case{"DamagedTenLess", -10, true},
                                         Case{"DamagedManyLess", -2000, true}),
                         [](const auto& one) { return std::string{one.param.name}; });

}  // namespace
}  // namespace openvhd::test
