#include "memory/guest_memory.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace openvhd::vmm {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
using Use = GuestMemory::Use;

GuestMemory memory_of(std::uint64_t bytes) {
  auto memory = GuestMemory::create({.bytes = bytes});
  EXPECT_TRUE(memory);
  return *std::move(memory);
}

std::vector<std::byte> bytes(std::size_t count, unsigned char value) {
  return std::vector<std::byte>(count, std::byte{value});
}

bool refuses(GuestMemory& memory, std::uint64_t at, std::uint64_t length, Use use) {
  const auto slice = memory.slice({at}, length, use);
  return !slice && slice.error().code == Errc::out_of_range && slice.error().where.value == at;
}

TEST(GuestMemory, WrittenBytesAreReadBack) {
  auto memory = memory_of(4 * kMiB);
  ASSERT_TRUE(memory.write({0x1000}, bytes(100, 0x5a)));
  auto back = bytes(102, 0);
  ASSERT_TRUE(memory.read({0x0fff}, back));
  EXPECT_EQ(back.front(), std::byte{0});
  EXPECT_EQ(back[1], std::byte{0x5a});
  EXPECT_EQ(back[100], std::byte{0x5a});
  EXPECT_EQ(back[101], std::byte{0});
}

TEST(GuestMemory, RangesBeyondTheEndAreRefused) {
  auto memory = memory_of(4 * kMiB);
  EXPECT_TRUE(memory.slice({4 * kMiB - 1}, 1, Use::write));
  EXPECT_TRUE(refuses(memory, 4 * kMiB - 1, 2, Use::write));
  EXPECT_TRUE(refuses(memory, 4 * kMiB, 1, Use::read));
  EXPECT_TRUE(refuses(memory, 0xfee0'0000, 4, Use::read));
  EXPECT_TRUE(refuses(memory, kHighMemory, 1, Use::read));
}

TEST(GuestMemory, RangesThatWrapAreRefused) {
  auto memory = memory_of(4 * kMiB);
  constexpr auto kLast = std::numeric_limits<std::uint64_t>::max();
  EXPECT_TRUE(refuses(memory, kLast, 2, Use::read));
  EXPECT_TRUE(refuses(memory, 0x1000, kLast, Use::read));
  EXPECT_TRUE(refuses(memory, kHighMemory, kLast - kHighMemory, Use::read));
}

TEST(GuestMemory, TheVideoHoleIsNotMemory) {
  auto memory = memory_of(4 * kMiB);
  EXPECT_TRUE(memory.slice({0x9fff0}, 16, Use::write));
  EXPECT_TRUE(refuses(memory, 0x9fff0, 17, Use::write));
  EXPECT_TRUE(refuses(memory, 0xa0000, 1, Use::read));
  EXPECT_TRUE(refuses(memory, 0x1000, 0x10'0000, Use::read));
}

TEST(GuestMemory, ShadowStateDecidesBelowOneMegabyte) {
  auto memory = memory_of(4 * kMiB);
  EXPECT_TRUE(refuses(memory, 0xf0000, 4, Use::read));
  memory.set_shadow(12, {.read_ram = true});
  EXPECT_TRUE(memory.slice({0xf0000}, 4, Use::read));
  EXPECT_TRUE(refuses(memory, 0xf0000, 4, Use::write));
  memory.set_shadow(12, {.read_ram = true, .write_ram = true});
  EXPECT_TRUE(memory.slice({0xf0000}, 0x4000, Use::write));
  EXPECT_TRUE(refuses(memory, 0xf0000, 0x4001, Use::write));
  EXPECT_TRUE(refuses(memory, 0xeffff, 2, Use::write));
}

TEST(GuestMemory, MemoryBeyondTheWindowsIsReachedAbove4GiB) {
  auto memory = memory_of(kLowMemoryEnd + 2 * kMiB);
  EXPECT_EQ(memory.high_bytes(), 2 * kMiB);
  ASSERT_TRUE(memory.write({kHighMemory + 2 * kMiB - 4}, bytes(4, 7)));
  EXPECT_TRUE(refuses(memory, kHighMemory + 2 * kMiB - 4, 5, Use::write));
  EXPECT_TRUE(refuses(memory, kLowMemoryEnd - 2, 4, Use::write));
  EXPECT_EQ(memory.high().back(), std::byte{7});
}

TEST(GuestMemory, ARefusedAccessChangesNothing) {
  auto memory = memory_of(4 * kMiB);
  auto into = bytes(8, 0x11);
  EXPECT_FALSE(memory.read({4 * kMiB - 4}, into));
  EXPECT_EQ(into, bytes(8, 0x11));
  EXPECT_FALSE(memory.write({4 * kMiB - 4}, bytes(8, 0x22)));
  EXPECT_EQ(memory.low().back(), std::byte{0});
}

TEST(GuestMemory, NothingCanBeReadAndWritten) {
  auto memory = memory_of(4 * kMiB);
  EXPECT_TRUE(memory.read({0x1000}, {}));
  EXPECT_TRUE(memory.write({0x1000}, {}));
}

TEST(GuestMemory, SizesOutOfBoundsAreRefused) {
  for (const std::uint64_t size : {0ULL, 2ULL << 20, (4ULL << 20) + 4096, (1ULL << 40) + (2 << 20)})
    EXPECT_EQ(GuestMemory::create({.bytes = size}).error().code, Errc::invalid) << size;
}

}  // namespace
}  // namespace openvhd::vmm
