#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <deque>
#include <openvhd/queue.hpp>

#include "image/disk_fixture.hpp"
#include "image/queue/requests.hpp"

namespace openvhd {
namespace {

using test::flush_now;
using test::kMiB;
using test::read_now;
using test::TestRequest;
using test::write_now;

/// Each driver, on a dynamic VHDX of small blocks.
class QueueTest : public test::DiskTest, public testing::WithParamInterface<DriverKind> {
 protected:
  Disk open_disk(const std::string& file, Access access = Access::read_write) {
    auto disk = Disk::open(file, {.access = access, .driver = GetParam()});
    EXPECT_TRUE(disk) << describe(disk.error(), file);
    return *std::move(disk);
  }
  std::string new_vhdx(std::uint64_t size = 64 * kMiB) {
    return made("a.vhdx", {.virtual_size = size, .block_size = kMiB});
  }
  static Queue open_queue(Disk& disk, std::uint32_t depth = 32) {
    auto queue = Queue::open(disk, {.depth = depth});
    EXPECT_TRUE(queue) << describe(queue.error(), "queue");
    return *std::move(queue);
  }
};

INSTANTIATE_TEST_SUITE_P(, QueueTest, testing::Values(DriverKind::automatic, DriverKind::blocking),
                         [](const auto& one) {
                           return one.param == DriverKind::blocking ? "Pool" : "Ring";
                         });

TEST_P(QueueTest, WhatWasWrittenIsReadBackAlsoAfterReopening) {
  const std::string file = new_vhdx();
  TestRequest request{64 * 1024};
  {
    Disk disk = open_disk(file);
    {
      Queue queue = open_queue(disk);
      ASSERT_TRUE(write_now(queue, 5 * kMiB - 4096, 0xa5, request));  // two blocks, both new
      request.fill(0);
      ASSERT_TRUE(read_now(queue, 5 * kMiB - 4096, request));
      EXPECT_TRUE(request.holds(0xa5));
      ASSERT_TRUE(write_now(queue, 5 * kMiB, 0x5a, request));  // mapped
      ASSERT_TRUE(read_now(queue, 5 * kMiB, request));
      EXPECT_TRUE(request.holds(0x5a));
      ASSERT_TRUE(flush_now(queue));
    }
    ASSERT_TRUE(disk.close());
  }
  Disk disk = open_disk(file, Access::read_only);
  Queue queue = open_queue(disk);
  ASSERT_TRUE(read_now(queue, 5 * kMiB, request));
  EXPECT_TRUE(request.holds(0x5a));
  ASSERT_TRUE(read_now(queue, 40 * kMiB, request));
  EXPECT_TRUE(request.holds(0));
}

TEST_P(QueueTest, ARequestMayBeScatteredOverManyPieces) {
  Disk disk = open_disk(new_vhdx());
  Queue queue = open_queue(disk);
  TestRequest request{40 * 512};
  std::vector<iovec> pieces;
  for (std::size_t i = 0; i < 40; ++i) pieces.push_back({request.bytes().data() + i * 512, 512});
  request.buffers = pieces;
  const std::uint64_t at = 3 * kMiB - 7 * 512;
  ASSERT_TRUE(write_now(queue, at, 0x77, request));
  request.fill(0);
  ASSERT_TRUE(read_now(queue, at, request));
  EXPECT_TRUE(request.holds(0x77));
}

TEST_P(QueueTest, TrimmedAndZeroedRangesReadAsZeros) {
  Disk disk = open_disk(new_vhdx());
  Queue queue = open_queue(disk);
  TestRequest request{2 * kMiB};
  ASSERT_TRUE(write_now(queue, 4 * kMiB, 0x11, request));
  TestRequest clear{kMiB};
  clear.at = {4 * kMiB};
  ASSERT_TRUE(queue.trim(clear));
  ASSERT_TRUE(test::finish(queue, clear));
  TestRequest part{512};
  part.at = {5 * kMiB + 512};
  part.durable = true;
  ASSERT_TRUE(queue.write_zeroes(part));
  ASSERT_TRUE(test::finish(queue, part));
  TestRequest sector{512};
  for (const auto& [at, value] : {std::pair{4 * kMiB, 0},
                                  {5 * kMiB - 512, 0},
                                  {5 * kMiB, 0x11},
                                  {5 * kMiB + 512, 0},
                                  {5 * kMiB + 1024, 0x11}}) {
    ASSERT_TRUE(read_now(queue, at, sector));
    EXPECT_TRUE(sector.holds(static_cast<std::uint8_t>(value))) << at;
  }
}

TEST_P(QueueTest, WhatCannotBeStartedIsRefusedAndNeverDone) {
  Disk disk = open_disk(new_vhdx());
  Queue queue = open_queue(disk, 2);
  TestRequest request{512};
  const auto refused = [&](std::uint64_t at) {
    request.at = {at};
    const Status status = queue.read(request);
    return status ? Errc::io : status.error().code;
  };
  EXPECT_EQ(refused(1), Errc::misaligned);
  EXPECT_EQ(refused(64 * kMiB), Errc::out_of_range);
  EXPECT_EQ(refused(~std::uint64_t{511}), Errc::out_of_range);
  EXPECT_EQ(request.completions, 0u);
  std::deque<TestRequest> more;
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(queue.read(more.emplace_back(512)));
  EXPECT_EQ(refused(0), Errc::busy);
  while (queue.wait() != 0) {
  }
  for (const TestRequest& one : more) EXPECT_EQ(one.completions, 1u);
  EXPECT_TRUE(read_now(queue, 0, request));
}

TEST_P(QueueTest, AQueueOnAReadOnlyDiskWritesNothing) {
  const std::string file = new_vhdx();
  const auto before = file_bytes(file);
  {
    Disk disk = open_disk(file, Access::read_only);
    Queue queue = open_queue(disk);
    TestRequest request{512};
    for (Status (Queue::*call)(IoRequest&) noexcept :
         {&Queue::write, &Queue::write_zeroes, &Queue::trim, &Queue::flush}) {
      const Status status = (queue.*call)(request);
      ASSERT_FALSE(status);
      EXPECT_EQ(status.error().code, Errc::read_only);
    }
    ASSERT_TRUE(read_now(queue, 0, request));
  }
  EXPECT_EQ(file_bytes(file), before);
}

TEST_P(QueueTest, TheDiskWorksBesideItsQueuesAndClosesAfterThem) {
  Disk disk = open_disk(new_vhdx());
  TestRequest request{4096};
  {
    Queue queue = open_queue(disk);
    ASSERT_TRUE(write_now(queue, 0, 0x42, request));
    std::vector<std::byte> bytes(4096);
    ASSERT_TRUE(disk.read({0}, bytes));
    EXPECT_EQ(bytes[17], std::byte{0x42});
    ASSERT_TRUE(disk.write({8192 + 1}, bytes));
    ASSERT_TRUE(read_now(queue, 8192, request));
    EXPECT_EQ(request.bytes()[1], std::byte{0x42});
    const auto info = disk.info(true);
    ASSERT_TRUE(info);
    EXPECT_EQ(info->layers[0].blocks->fully_present, 1u);
    const Status closed = disk.close();
    ASSERT_FALSE(closed);
    EXPECT_EQ(closed.error().code, Errc::busy);
  }
  EXPECT_TRUE(disk.close());
}

TEST_P(QueueTest, AQueueKeepsWhatIsBehindItsDisk) {
  const std::string file = new_vhdx();
  TestRequest request{4096};
  {
    std::optional<Disk> disk{open_disk(file)};
    Queue queue = open_queue(*disk);
    disk.reset();
    ASSERT_TRUE(write_now(queue, kMiB, 0x33, request));
  }
  Disk disk = open_disk(file, Access::read_only);
  Queue queue = open_queue(disk);
  ASSERT_TRUE(read_now(queue, kMiB, request));
  EXPECT_TRUE(request.holds(0x33));
}

TEST_P(QueueTest, TheDescriptorTellsOfEveryCompletion) {
  Disk disk = open_disk(new_vhdx());
  Queue queue = open_queue(disk);
  pollfd on{.fd = queue.descriptor(), .events = POLLIN, .revents = 0};
  TestRequest request{4096};
  for (int i = 0; i < 50; ++i) {
    request.at = {(static_cast<std::uint64_t>(i) % 25) * kMiB};  // new blocks, then mapped ones
    request.outcome.reset();
    ASSERT_TRUE(i % 5 == 4 ? queue.flush(request) : queue.write(request));
    while (!request.outcome) {
      if (queue.poll() != 0) continue;
      ASSERT_EQ(::poll(&on, 1, 10'000), 1) << i;
    }
    ASSERT_TRUE(*request.outcome);
  }
}

TEST_P(QueueTest, RequestsMayBeStartedAgainFromDone) {
  struct Again : TestRequest {
    using TestRequest::TestRequest;
    Queue* queue = nullptr;
    int left = 200;
  };
  Disk disk = open_disk(new_vhdx());
  Queue queue = open_queue(disk, 4);
  std::deque<Again> requests;
  for (std::uint64_t i = 0; i < 4; ++i) {
    Again& one = requests.emplace_back(4096);
    one.queue = &queue;
    one.at = {i * 4096};
    one.done = [](IoRequest& request, Status status) noexcept {
      auto& self = static_cast<Again&>(request);
      EXPECT_TRUE(status);
      if (--self.left == 0) return;
      EXPECT_TRUE(self.left % 2 == 0 ? self.queue->read(self) : self.queue->write(self));
    };
    ASSERT_TRUE(queue.write(one));
  }
  while (queue.wait() != 0) {
  }
  for (const Again& one : requests) EXPECT_EQ(one.left, 0);
}

TEST_P(QueueTest, RegisteredBuffersMoveTheSameBytesAndAWrongNumberDoesNoHarm) {
  Disk disk = open_disk(new_vhdx());
  Queue queue = open_queue(disk);
  TestRequest request{4096};
  ASSERT_TRUE(write_now(queue, 0, 0x21, request));  // maps the block
  const Status registered = queue.register_buffers(request.buffers);
  if (std::string{queue.driver()} != "io_uring") {
    ASSERT_FALSE(registered);
    EXPECT_EQ(registered.error().code, Errc::unsupported);
    return;
  }
  if (!registered && registered.error().sys_errno == ENOMEM)
    GTEST_SKIP() << "the limit on locked memory forbids pinning";
  ASSERT_TRUE(registered);
  for (const std::int32_t number : {0, 1, 65535, 65536, -1}) {
    const auto value = static_cast<std::uint8_t>(number % 200 + 2);
    request.registered = number;
    ASSERT_TRUE(write_now(queue, 8192, value, request)) << number;
    request.fill(0);
    ASSERT_TRUE(read_now(queue, 8192, request)) << number;
    EXPECT_TRUE(request.holds(value)) << number;
  }
  TestRequest elsewhere{4096};
  elsewhere.registered = 0;  // its memory is not in there
  ASSERT_TRUE(read_now(queue, 0, elsewhere));
  EXPECT_TRUE(elsewhere.holds(0x21));
}

TEST_P(QueueTest, SignalsGoToTheProgramsOwnThreads) {
  static std::atomic<pthread_t> handled_by;
  struct sigaction action{};
  action.sa_handler = [](int) { handled_by = ::pthread_self(); };
  struct sigaction before{};
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  Disk disk = open_disk(new_vhdx());
  Queue queue = open_queue(disk);
  TestRequest request{4096};
  ASSERT_TRUE(write_now(queue, 0, 1, request));
  for (int i = 0; i < 20; ++i) {
    handled_by = pthread_t{};
    ::kill(::getpid(), SIGUSR1);
    EXPECT_TRUE(::pthread_equal(handled_by, ::pthread_self()));
  }
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_P(QueueTest, StatisticsAddUp) {
  Disk disk = open_disk(new_vhdx());
  Queue queue = open_queue(disk);
  TestRequest request{4096};
  for (std::uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(write_now(queue, i * kMiB, 1, request));
  for (std::uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(read_now(queue, i * kMiB, request));
  ASSERT_TRUE(flush_now(queue));
  const QueueStatistics& statistics = queue.statistics();
  EXPECT_EQ(statistics.writes.requests, 3u);
  EXPECT_EQ(statistics.writes.bytes, 3u * 4096);
  EXPECT_EQ(statistics.reads.requests, 3u);
  EXPECT_EQ(statistics.flushes.requests, 1u);
  EXPECT_EQ(statistics.mapped + statistics.handed_over, 7u);
  EXPECT_EQ(statistics.latency.total(), 7u);
  const ImageStatistics image = image_statistics(disk);
  EXPECT_GE(image.syncs + image.durable_writes, 2u);
  EXPECT_GE(image.payload_bytes, 3u * 4096);
  EXPECT_EQ(image.allocated_blocks, 3u);
  EXPECT_EQ(image.commits, 1u);
}

TEST_P(QueueTest, ReadsInPartsAreCountedWhole) {
  Disk disk = open_disk(new_vhdx());
  Queue queue = open_queue(disk);
  TestRequest request{4096};
  // Two blocks that do not lie together, and one that is not there.
  for (const std::uint64_t block : {2u, 1u}) {
    ASSERT_TRUE(write_now(queue, block * kMiB, 1, request));
    ASSERT_TRUE(write_now(queue, (block + 1) * kMiB - 4096, 1, request));
  }
  TestRequest across{8192};
  ASSERT_TRUE(read_now(queue, 2 * kMiB - 4096, across));
  EXPECT_EQ(queue.statistics().reads.bytes, 8192u);
  ASSERT_TRUE(read_now(queue, kMiB - 4096, across));
  EXPECT_EQ(queue.statistics().reads.bytes, 2 * 8192u);
  ASSERT_TRUE(read_now(queue, 3 * kMiB - 4096, across));
  EXPECT_EQ(queue.statistics().reads.bytes, 3 * 8192u);
  EXPECT_EQ(queue.statistics().reads.requests, 3u);
}

TEST(LatencyHistogram, BucketsAreInOrderAndHoldTheirFloors) {
  std::size_t last = 0;
  for (std::uint64_t ns = 0; ns < 100'000; ++ns) {
    const std::size_t bucket = LatencyHistogram::bucket_of(ns);
    ASSERT_GE(bucket, last);
    ASSERT_LE(bucket, last + 1);
    ASSERT_LE(LatencyHistogram::floor_of(bucket), ns);
    last = bucket;
  }
  for (std::size_t bucket = 0; bucket + 1 < LatencyHistogram::kBuckets; ++bucket)
    ASSERT_EQ(LatencyHistogram::bucket_of(LatencyHistogram::floor_of(bucket)), bucket);
  EXPECT_EQ(LatencyHistogram::bucket_of(~std::uint64_t{0}), LatencyHistogram::kBuckets - 1);
}

}  // namespace
}  // namespace openvhd
