#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "image/convert/convert_pipeline.hpp"
#include "image/convert/fake_endpoint.hpp"

namespace openvhd {
namespace {

using test::FakeEndpoint;
using test::pattern;

constexpr std::uint64_t kMiB = 1 << 20;

/// Data with holes of many sizes, and the map that a source would have of some of them.
struct Disk {
  explicit Disk(std::size_t size) : source{pattern(size, size)} {
    std::mt19937_64 random{size};
    for (std::size_t at = random() % 100000; at < size;) {
      const std::size_t length = std::min(size - at, std::size_t{random() % (3 * kMiB)} + 1);
      std::fill_n(source.bytes().begin() + static_cast<std::ptrdiff_t>(at), length, std::byte{0});
      if (random() % 2 == 0) {
        source.map_as(at, true);
        source.map_as(at + length, false);
      }
      at += length + random() % (2 * kMiB);
    }
  }
  FakeEndpoint source;
};

std::vector<std::byte> expected(FakeEndpoint& source, std::uint64_t at, std::uint64_t length,
                                std::uint64_t total) {
  std::vector<std::byte> bytes(total);
  std::copy_n(source.bytes().begin() + static_cast<std::ptrdiff_t>(at), length, bytes.begin());
  return bytes;
}

using Shape = std::tuple<ZeroPolicy, bool, std::uint32_t, std::uint32_t, std::uint32_t>;
class PipelineShapes : public testing::TestWithParam<Shape> {};

TEST_P(PipelineShapes, TargetReadsAsThePartOfTheSource) {
  const auto [zeros, ordered, source_alignment, target_alignment, depth] = GetParam();
  for (const std::uint64_t size :
       {std::uint64_t{1}, std::uint64_t{4095}, 3 * kMiB + 512, 5 * kMiB + 77}) {
    Disk disk{size};
    disk.source.traits().alignment = source_alignment;
    for (const std::uint64_t at : {std::uint64_t{0}, size / 3}) {
      const std::uint64_t length = size - at;
      const std::uint64_t total = length + at / 2;
      FakeEndpoint target{zeros == ZeroPolicy::leave ? std::vector<std::byte>(total)
                                                     : pattern(total, 3)};
      target.traits().alignment = target_alignment;
      target.traits().zeros = zeros;
      target.traits().ordered = ordered;
      CopyPipeline copy{disk.source,
                        target,
                        {.source_at = {at}, .length = length, .total = total, .depth = depth}};
      const auto counts = copy.run();
      ASSERT_TRUE(counts) << counts.error().what;
      EXPECT_TRUE(target.bytes() == expected(disk.source, at, length, total)) << size << " " << at;
      EXPECT_EQ(counts->copied_bytes + counts->skipped_bytes + counts->zero_bytes, total);
      EXPECT_EQ(target.violations(), 0u);
      EXPECT_EQ(disk.source.violations(), 0u);
      EXPECT_LE(disk.source.most_in_flight(), depth);
      EXPECT_LE(target.most_in_flight(), depth);
      EXPECT_TRUE(!ordered || depth > 1 || std::ranges::is_sorted(target.write_starts()));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, PipelineShapes,
                         testing::Combine(testing::Values(ZeroPolicy::leave, ZeroPolicy::clear,
                                                          ZeroPolicy::write),
                                          testing::Bool(), testing::Values(1u, 512u, 65536u),
                                          testing::Values(1u, 4096u), testing::Values(1u, 8u)));

TEST(Pipeline, AnOrderedTargetSeesEveryStartInOrder) {
  FakeEndpoint source{pattern(40 * kMiB, 1)};
  FakeEndpoint target{std::vector<std::byte>(40 * kMiB)};
  target.traits().zeros = ZeroPolicy::write;
  target.traits().ordered = true;
  CopyPipeline copy{source, target, {.length = 40 * kMiB, .total = 40 * kMiB}};
  ASSERT_TRUE(copy.run());
  EXPECT_TRUE(std::ranges::is_sorted(target.write_starts()));
  EXPECT_EQ(target.write_starts().size(), 40u);
}

TEST(Pipeline, KnownZerosAreNeverReadAndFoundZerosNeverWritten) {
  FakeEndpoint source{std::vector<std::byte>(16 * kMiB)};
  source.map_as(8 * kMiB, true);
  FakeEndpoint target{std::vector<std::byte>(16 * kMiB)};
  target.traits().zeros = ZeroPolicy::leave;
  CopyPipeline copy{source, target, {.length = 16 * kMiB, .total = 16 * kMiB}};
  const auto counts = copy.run();
  ASSERT_TRUE(counts);
  EXPECT_EQ(source.bytes_read(), 8 * kMiB);
  EXPECT_EQ(target.started(), 0u);
  EXPECT_EQ(counts->zero_bytes, 8 * kMiB);
  EXPECT_EQ(counts->skipped_bytes, 8 * kMiB);
}

TEST(Pipeline, SmallTransfersOfAServerAreRespected) {
  Disk disk{9 * kMiB};
  disk.source.traits().max_transfer = 128 << 10;
  FakeEndpoint target{pattern(9 * kMiB, 5)};
  target.traits().max_transfer = 64 << 10;
  target.traits().max_zero = 100000;
  CopyPipeline copy{disk.source, target, {.length = 9 * kMiB, .total = 9 * kMiB}};
  ASSERT_TRUE(copy.run());
  EXPECT_EQ(target.violations() + disk.source.violations(), 0u);
  EXPECT_TRUE(target.bytes() == disk.source.bytes());
}

TEST(Pipeline, EveryFailureStopsTheCopyWithNothingOnItsWay) {
  const Error error{.code = Errc::io, .sys_errno = EIO, .what = "injected"};
  const Error full{.code = Errc::no_space, .sys_errno = ENOSPC, .what = "injected"};
  const auto bytes = pattern(12 * kMiB, 1);
  for (unsigned at = 0; at < 12; ++at) {
    for (const bool of_source : {true, false}) {
      FakeEndpoint source{bytes};
      FakeEndpoint target{std::vector<std::byte>(bytes.size())};
      target.traits().ordered = at % 2 == 0;
      (of_source ? source : target).fail_after(at, of_source ? error : full);
      CopyPipeline copy{source, target, {.length = 12 * kMiB, .total = 12 * kMiB, .depth = 4}};
      const auto counts = copy.run();
      ASSERT_FALSE(counts);
      EXPECT_EQ(counts.error().code, of_source ? Errc::io : Errc::no_space);
      EXPECT_EQ(copy.source_failed(), of_source);
      EXPECT_EQ(source.in_flight() + target.in_flight(), 0u);
    }
  }
}

class StopAfter final : public Progress {
 public:
  explicit StopAfter(unsigned calls) : left_{calls} {}
  bool update(std::uint64_t done, std::uint64_t total) noexcept override {
    EXPECT_LE(done, total);
    EXPECT_GE(done, last_);
    last_ = done;
    return left_-- != 0;
  }
  std::uint64_t last() const { return last_; }

 private:
  unsigned left_;
  std::uint64_t last_ = 0;
};

TEST(Pipeline, ACancelledCopyEndsWithNothingOnItsWay) {
  Disk disk{8 * kMiB};
  for (unsigned calls = 0; calls < 14; ++calls) {
    FakeEndpoint target{std::vector<std::byte>(8 * kMiB)};
    StopAfter progress{calls};
    CopyPipeline copy{
        disk.source, target, {.length = 8 * kMiB, .total = 8 * kMiB, .progress = &progress}};
    const auto counts = copy.run();
    if (counts) {
      EXPECT_EQ(progress.last(), 8 * kMiB);
    } else {
      EXPECT_EQ(counts.error().code, Errc::cancelled);
    }
    EXPECT_EQ(disk.source.in_flight() + target.in_flight(), 0u);
  }
}

TEST(Pipeline, PlansThatDoNotFitAreRefusedBeforeTheFirstTransfer) {
  FakeEndpoint source{pattern(kMiB, 1)};
  FakeEndpoint target{std::vector<std::byte>(kMiB)};
  for (const CopyPlan& plan :
       {CopyPlan{.source_at = {1}, .length = kMiB, .total = kMiB},
        CopyPlan{.source_at = {~std::uint64_t{0}}, .length = kMiB, .total = kMiB},
        CopyPlan{.length = kMiB, .total = kMiB + 1}, CopyPlan{.length = kMiB, .total = kMiB - 1}}) {
    CopyPipeline copy{source, target, plan};
    const auto counts = copy.run();
    ASSERT_FALSE(counts);
    EXPECT_EQ(counts.error().code, Errc::out_of_range);
  }
  EXPECT_EQ(source.started() + target.started(), 0u);
}

}  // namespace
}  // namespace openvhd
