#include "report_bench.hpp"

#include <gtest/gtest.h>

namespace vhdtool {
namespace {

struct Sample {
  BenchSubject subject{.file = "a\nb.vhdx",
                       .format = openvhd::Format::vhdx,
                       .type = openvhd::DiskType::dynamic,
                       .virtual_size = std::uint64_t{1} << 30,
                       .range_bytes = std::uint64_t{1} << 29,
                       .direct = true};
  BenchOptions options;
  BenchResult result;

  Sample() {
    options.mode = BenchMode::alloc;
    options.flush_every = 100;
    options.count = 1000;
    result.seconds = 2;
    result.requests = 1000;
    result.driver = "io_uring";
    auto& queues = result.queues;
    queues.writes = {.requests = 1000, .bytes = 4096000, .failed = 0};
    queues.flushes = {.requests = 10, .bytes = 0, .failed = 0};
    queues.mapped = 10;
    queues.handed_over = 1000;
    queues.submissions = 50;
    queues.host_requests = 20;
    queues.latency.counts[openvhd::LatencyHistogram::bucket_of(1 << 20)] = 1010;
    result.image.syncs = 12;
    result.image.durable_writes = 8;
    result.image.commits = 10;
    result.image.allocated_blocks = 1000;
    result.image.metadata_write_bytes = 1 << 20;
  }
};

TEST(BenchText, TellsWhatWasDoneAndWhatItCost) {
  const Sample sample;
  EXPECT_EQ(bench_text(sample.subject, sample.options, sample.result),
            "a\\x0ab.vhdx: VHDX dynamic, 1 GiB: alloc, 4 KiB, depth 32, 1 queue, io_uring\n"
            "  requests     1,000 in 2.00 s: 500 and ~1.95 MiB per second\n"
            "  latency      p50 1048.6 us, p90 1048.6 us, p99 1048.6 us, p99.9 1048.6 us\n"
            "  served by    queues 10, the image's owner 1,000\n"
            "  per request  0.050 system calls, 0.020 host transfers of queues\n"
            "  flushes      10, 2.00 syncs each\n"
            "  image        1,000 blocks allocated, 10 commits, 12 syncs, 8 durable writes\n"
            "  metadata     1 MiB written, 0 bytes read\n");
}

TEST(BenchText, SaysThatTheRangeCameToItsEnd) {
  Sample sample;
  sample.result.exhausted = true;
  EXPECT_NE(bench_text(sample.subject, sample.options, sample.result).find("; then there was"),
            std::string::npos);
}

TEST(BenchJson, HasEveryFigure) {
  const Sample sample;
  const auto json = bench_json(sample.subject, sample.options, sample.result);
  EXPECT_EQ(json["mode"], "alloc");
  EXPECT_EQ(json["requests_per_second"], 500);
  EXPECT_EQ(json["bytes_per_second"], 2048000);
  EXPECT_EQ(json["latency_ns"]["p99_9"], 1 << 20);
  EXPECT_EQ(json["queue"]["writes"]["bytes"], 4096000);
  EXPECT_EQ(json["queue"]["flushes"]["requests"], 10);
  EXPECT_EQ(json["image"]["syncs"], 12);
  EXPECT_EQ(json["image"]["metadata_write_bytes"], 1 << 20);
  EXPECT_EQ(json["flush_every"], 100);
}

TEST(BenchJson, WhatTookNoTimeHasNoRate) {
  const Sample sample;
  const auto json = bench_json(sample.subject, sample.options, BenchResult{});
  EXPECT_EQ(json["requests_per_second"], 0);
  EXPECT_EQ(json["latency_ns"]["p50"], 0);
}

}  // namespace
}  // namespace vhdtool
