#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <openvhd/parallel_disk.hpp>
#include <thread>

#include "image/disk_fixture.hpp"

namespace openvhd {
namespace {

using test::kMiB;

class ParallelDiskTest : public test::DiskTest, public testing::WithParamInterface<DriverKind> {
 protected:
  ParallelDisk open_disk(const std::string& file, Access access = Access::read_write) {
    auto disk = ParallelDisk::open(file, {.access = access, .driver = GetParam()});
    EXPECT_TRUE(disk) << describe(disk.error(), file);
    return *std::move(disk);
  }
  std::string new_vhdx(std::uint64_t size = 64 * kMiB, std::uint32_t sector = 512) {
    return made("a.vhdx",
                {.virtual_size = size, .block_size = kMiB, .logical_sector_size = sector});
  }
};

INSTANTIATE_TEST_SUITE_P(, ParallelDiskTest,
                         testing::Values(DriverKind::automatic, DriverKind::blocking),
                         [](const auto& one) {
                           return one.param == DriverKind::blocking ? "Pool" : "Ring";
                         });

std::vector<std::byte> filled(std::size_t bytes, unsigned value) {
  return std::vector<std::byte>(bytes, static_cast<std::byte>(value));
}

/// All of [at, at + bytes) is `value`.
bool reads_as(ParallelDisk& disk, std::uint64_t at, std::size_t bytes, unsigned value) {
  auto into = filled(bytes, value ^ 0xff);
  if (!disk.read({at}, into)) return false;
  return std::ranges::all_of(into, [&](std::byte b) { return b == static_cast<std::byte>(value); });
}

TEST_P(ParallelDiskTest, AnyAlignmentIsServedAndNeighboursStay) {
  for (const std::uint32_t sector : {512U, 4096U}) {
    const std::string file = new_vhdx(64 * kMiB, sector);
    ParallelDisk disk = open_disk(file);
    ASSERT_TRUE(disk.write({kMiB - 10'000}, filled(20'000, 1), false));
    ASSERT_TRUE(disk.write({kMiB - 3}, filled(6, 2), true));
    ASSERT_TRUE(disk.write({kMiB - 5001}, filled(4500, 3), false));
    ASSERT_TRUE(disk.zero({kMiB + 700}, 5000, false));
    ASSERT_TRUE(disk.trim({kMiB + 6001}, 8, true));
    EXPECT_TRUE(reads_as(disk, kMiB - 10'000, 4999, 1));
    EXPECT_TRUE(reads_as(disk, kMiB - 5001, 4500, 3));
    EXPECT_TRUE(reads_as(disk, kMiB - 501, 498, 1));
    EXPECT_TRUE(reads_as(disk, kMiB - 3, 6, 2));
    EXPECT_TRUE(reads_as(disk, kMiB + 3, 697, 1));
    EXPECT_TRUE(reads_as(disk, kMiB + 700, 5000, 0));
    EXPECT_TRUE(reads_as(disk, kMiB + 5700, 301, 1));
    EXPECT_TRUE(reads_as(disk, kMiB + 6001, 8, 0));
    EXPECT_TRUE(reads_as(disk, kMiB + 6009, 3991, 1));
    ASSERT_TRUE(disk.flush());
    ASSERT_TRUE(disk.close());
    std::filesystem::remove(file);
  }
}

TEST_P(ParallelDiskTest, WhatIsBeyondTheEndOrReadOnlyIsRefusedWhole) {
  const std::string file = new_vhdx();
  ParallelDisk disk = open_disk(file);
  EXPECT_EQ(disk.write({64 * kMiB - 1}, filled(2, 9), false).error().code, Errc::out_of_range);
  EXPECT_EQ(disk.zero({~std::uint64_t{0}}, 2, false).error().code, Errc::out_of_range);
  std::array<std::byte, 2> two{};
  EXPECT_EQ(disk.read({64 * kMiB - 1}, two).error().code, Errc::out_of_range);
  EXPECT_TRUE(reads_as(disk, 64 * kMiB - 512, 512, 0));
  ASSERT_TRUE(disk.close());
  EXPECT_EQ(disk.read({0}, two).error().code, Errc::invalid);
  ParallelDisk reader = open_disk(file, Access::read_only);
  EXPECT_EQ(reader.write({0}, two, false).error().code, Errc::read_only);
  EXPECT_EQ(reader.trim({0}, 512, false).error().code, Errc::read_only);
  EXPECT_EQ(reader.flush().error().code, Errc::read_only);
  EXPECT_TRUE(reads_as(reader, 0, 4096, 0));
}

// Threads own every sixteenth byte of the same sectors: no write may bring back an older neighbour.
TEST_P(ParallelDiskTest, WritesInPartsOfOneSectorLoseNothing) {
  constexpr unsigned kThreads = 8;
  constexpr unsigned kRounds = 40;
  const std::string file = new_vhdx();
  ParallelDisk disk = open_disk(file);
  std::atomic<unsigned> failures = 0;
  {
    std::vector<std::jthread> threads;
    for (unsigned t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (unsigned round = 1; round <= kRounds; ++round) {
          for (std::uint64_t at = t * 16; at < 1024; at += kThreads * 16) {
            if (!disk.write({at}, filled(16, round), false)) ++failures;
            if (!reads_as(disk, at, 16, round)) ++failures;
          }
        }
      });
    }
    // Whole sectors beside them, at the same time.
    threads.emplace_back([&] {
      for (unsigned round = 1; round <= kRounds; ++round) {
        if (!disk.write({1024}, filled(4096, round), false)) ++failures;
      }
    });
  }
  EXPECT_EQ(failures, 0U);
  EXPECT_TRUE(reads_as(disk, 0, 1024 + 4096, kRounds));
}

TEST_P(ParallelDiskTest, MoreThreadsThanDoorsAreServed) {
  constexpr unsigned kThreads = ParallelDisk::kMostDoors + 12;
  const std::string file = new_vhdx(kThreads * kMiB);
  ParallelDisk disk = open_disk(file);
  std::atomic<unsigned> failures = 0;
  // Twice: queues of threads that ended are there for others.
  for (unsigned round = 1; round <= 2; ++round) {
    std::atomic<unsigned> started = 0;
    std::vector<std::jthread> threads;
    for (unsigned t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        const std::uint64_t at = t * kMiB + 512;
        if (!disk.write({at}, filled(8192, t + round), t % 2 == 0)) ++failures;
        // All are there at once.
        for (++started; started < kThreads;) std::this_thread::yield();
        if (!reads_as(disk, at, 8192, t + round)) ++failures;
        if (!disk.trim({at}, 512, true) || !disk.zero({at + 512}, 512, false)) ++failures;
        if (!reads_as(disk, at, 1024, 0) || !disk.flush()) ++failures;
      });
    }
  }
  EXPECT_EQ(failures, 0U);
  // What is left of the 64 is there for queues of others.
  auto queue = disk.open_queue({});
  EXPECT_TRUE(queue);
}

TEST_P(ParallelDiskTest, CloseRefusesWhileAQueueIsOpenAndTheDiskGoesOn) {
  const std::string file = new_vhdx();
  ParallelDisk disk = open_disk(file);
  ASSERT_TRUE(disk.write({0}, filled(512, 1), false));
  {
    auto queue = disk.open_queue({});
    ASSERT_TRUE(queue);
    EXPECT_EQ(disk.close().error().code, Errc::busy);
    EXPECT_TRUE(reads_as(disk, 0, 512, 1));
    ASSERT_TRUE(disk.write({512}, filled(512, 2), false));
  }
  ASSERT_TRUE(disk.close());
  ParallelDisk again = open_disk(file);
  EXPECT_TRUE(reads_as(again, 512, 512, 2));
}

TEST_P(ParallelDiskTest, AThreadMayOutliveTheDisksItUsed) {
  const std::string file = new_vhdx();
  std::atomic<int> step = 0;
  std::optional<ParallelDisk> disk{open_disk(file)};
  std::jthread user{[&] {
    EXPECT_TRUE(disk->write({0}, filled(512, 7), false));
    step = 1;
    while (step != 2) std::this_thread::yield();
    EXPECT_TRUE(reads_as(*disk, 0, 512, 7));
  }};
  while (step != 1) std::this_thread::yield();
  EXPECT_TRUE(disk->close());
  disk.emplace(open_disk(file));
  step = 2;
}

int exit_code_of(pid_t child) {
  int status = -1;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// As a daemon is begun: the process that opened the disk leaves without a word.
TEST_P(ParallelDiskTest, AProcessMayForkBetweenOpeningAndTheFirstCall) {
  const std::string file = new_vhdx();
  const pid_t starter = ::fork();
  ASSERT_GE(starter, 0);
  if (starter == 0) {
    ParallelDisk disk = open_disk(file);
    const pid_t daemon = ::fork();
    if (daemon != 0) ::_exit(exit_code_of(daemon));
    ::_exit(disk.write({5}, filled(3, 3), true) && disk.close() ? 0 : 1);
  }
  ASSERT_EQ(exit_code_of(starter), 0);
  ParallelDisk disk = open_disk(file, Access::read_only);
  EXPECT_TRUE(reads_as(disk, 5, 3, 3));
}

TEST_P(ParallelDiskTest, MapAndInfoAnswerBesideWriters) {
  const std::string file = new_vhdx();
  ParallelDisk disk = open_disk(file);
  std::atomic<bool> stop = false;
  std::jthread writer{[&] {
    for (std::uint64_t at = 0; !stop; at = (at + kMiB) % (32 * kMiB)) {
      EXPECT_TRUE(disk.write({at}, filled(4096, 1), false));
    }
  }};
  for (unsigned i = 0; i < 200; ++i) {
    auto entry = disk.map({33 * kMiB}, 31 * kMiB);
    ASSERT_TRUE(entry);
    EXPECT_NE(entry->kind, MapEntry::Kind::data);
    EXPECT_EQ(entry->at.value, 33 * kMiB);
    auto info = disk.info(false);
    ASSERT_TRUE(info);
    EXPECT_EQ(info->layers.size(), 1U);
  }
  stop = true;
}

}  // namespace
}  // namespace openvhd
