#include "image/convert/zero_scan.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace openvhd {
namespace {

TEST(ZeroScan, EverySingleByteIsSeenAtEveryAlignment) {
  std::vector<std::byte> bytes(3000);
  for (std::size_t head = 0; head < 70; ++head) {
    for (std::size_t length = 0; length < 300; length += 7) {
      const std::span part{bytes.data() + head, length};
      EXPECT_TRUE(is_zero(part));
      for (std::size_t i = 0; i < length; i += 5) {
        part[i] = std::byte{1};
        EXPECT_FALSE(is_zero(part)) << head << " " << length << " " << i;
        part[i] = std::byte{0};
      }
    }
  }
}

TEST(ZeroScan, LastByteOfALongBufferIsSeen) {
  std::vector<std::byte> bytes(1 << 20);
  EXPECT_TRUE(is_zero(bytes));
  for (const std::size_t at : {std::size_t{0}, std::size_t{63}, std::size_t{64}, bytes.size() / 2,
                               bytes.size() - 65, bytes.size() - 1}) {
    bytes[at] = std::byte{0x80};
    EXPECT_FALSE(is_zero(bytes)) << at;
    bytes[at] = std::byte{0};
  }
}

TEST(ZeroScan, BytesBesideTheBufferDoNotCount) {
  std::vector<std::byte> bytes(2050);
  bytes.front() = bytes.back() = std::byte{1};
  EXPECT_TRUE(is_zero(std::span{bytes}.subspan(1, 2048)));
}

TEST(DataRun, ZerosAtTheEdgesAreLeftOutAndShortGapsAreNot) {
  std::vector<std::byte> bytes(256 * 1024);
  const ZeroGrain grain{.unit = 4096, .gap = 32768};
  bytes[5000] = std::byte{1};          // the second unit
  bytes[4096 * 4 + 1] = std::byte{1};  // the gap before it is short
  bytes[4096 * 20 + 4095] = std::byte{1};
  const ByteRun first = next_data_run(bytes, 0, grain);
  EXPECT_EQ(first, (ByteRun{4096, 4 * 4096}));
  const ByteRun second = next_data_run(bytes, first.at + first.length, grain);
  EXPECT_EQ(second, (ByteRun{20 * 4096, 4096}));
  EXPECT_EQ(next_data_run(bytes, second.at + second.length, grain).length, 0u);
}

TEST(DataRun, AGapOfExactlyTheGrainIsLeftOut) {
  std::vector<std::byte> bytes(64 * 1024);
  const ZeroGrain grain{.unit = 4096, .gap = 32768};
  bytes[0] = bytes[4096 * 9] = std::byte{1};
  EXPECT_EQ(next_data_run(bytes, 0, grain), (ByteRun{0, 4096}));
  bytes[4096] = std::byte{1};
  EXPECT_EQ(next_data_run(bytes, 0, grain), (ByteRun{0, 4096 * 10}));
}

TEST(DataRun, BuffersThatAreNoWholeUnitsEndWhereTheyEnd) {
  std::vector<std::byte> bytes(4096 + 100);
  bytes.back() = std::byte{1};
  EXPECT_EQ(next_data_run(bytes, 0, {}), (ByteRun{4096, 100}));
  bytes.back() = std::byte{0};
  EXPECT_EQ(next_data_run(bytes, 0, {}).length, 0u);
}

}  // namespace
}  // namespace openvhd
