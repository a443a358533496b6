#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "image/convert/compare_pipeline.hpp"
#include "image/convert/fake_endpoint.hpp"

namespace openvhd {
namespace {

using test::FakeEndpoint;
using test::pattern;

constexpr std::uint64_t kMiB = 1 << 20;

std::optional<std::uint64_t> difference(FakeEndpoint& a, FakeEndpoint& b) {
  ComparePipeline pipeline{a, b, 8, nullptr};
  const auto first = pipeline.run();
  EXPECT_TRUE(first);
  EXPECT_EQ(a.violations() + b.violations(), 0u);
  EXPECT_EQ(a.in_flight() + b.in_flight(), 0u);
  if (!first || !*first) return std::nullopt;
  return (**first).value;
}

TEST(Compare, FirstDifferenceIsExactToTheByte) {
  const std::uint64_t size = 6 * kMiB + 321;
  const auto bytes = pattern(size, 4);
  for (const std::uint64_t at :
       {std::uint64_t{0}, std::uint64_t{1}, kMiB - 1, kMiB, 3 * kMiB + 12345, size - 1}) {
    FakeEndpoint a{bytes};
    FakeEndpoint b{bytes};
    EXPECT_EQ(difference(a, b), std::nullopt);
    b.bytes()[at] ^= std::byte{1};
    b.bytes()[size - 1] ^= std::byte{1};  // a later one is not the first
    if (at == size - 1) b.bytes()[at] ^= std::byte{1};
    a.traits().alignment = 512;
    b.traits().alignment = 4096;
    EXPECT_EQ(difference(a, b), at);
  }
}

TEST(Compare, TheLongerSideMayGoOnWithZeros) {
  auto bytes = pattern(2 * kMiB + 5, 4);
  FakeEndpoint a{bytes};
  bytes.resize(5 * kMiB);
  FakeEndpoint b{bytes};
  EXPECT_EQ(difference(a, b), std::nullopt);
  EXPECT_EQ(difference(b, a), std::nullopt);
  b.bytes()[4 * kMiB + 7] = std::byte{1};
  EXPECT_EQ(difference(a, b), 4 * kMiB + 7);
  EXPECT_EQ(difference(b, a), 4 * kMiB + 7);
}

TEST(Compare, WhatBothKnowToBeZeroIsNotRead) {
  FakeEndpoint a{std::vector<std::byte>(64 * kMiB)};
  FakeEndpoint b{std::vector<std::byte>(64 * kMiB)};
  a.map_as(0, true);
  b.map_as(0, true);
  b.map_as(8 * kMiB, false);
  b.map_as(12 * kMiB, true);
  EXPECT_EQ(difference(a, b), std::nullopt);
  EXPECT_EQ(a.bytes_read(), 0u);
  EXPECT_EQ(b.bytes_read(), 4 * kMiB);
}

TEST(Compare, DataAgainstKnownZerosIsADifference) {
  FakeEndpoint a{std::vector<std::byte>(4 * kMiB)};
  FakeEndpoint b{std::vector<std::byte>(4 * kMiB)};
  a.map_as(0, true);
  b.bytes()[3 * kMiB + 9] = std::byte{1};
  EXPECT_EQ(difference(a, b), 3 * kMiB + 9);
}

TEST(Compare, FailuresEndItWithNothingOnItsWay) {
  const auto bytes = pattern(8 * kMiB, 4);
  for (unsigned at = 0; at < 8; ++at) {
    FakeEndpoint a{bytes};
    FakeEndpoint b{bytes};
    (at % 2 == 0 ? a : b).fail_after(at, {.code = Errc::io, .sys_errno = EIO, .what = "injected"});
    ComparePipeline pipeline{a, b, 4, nullptr};
    const auto first = pipeline.run();
    ASSERT_FALSE(first);
    EXPECT_EQ(first.error().sys_errno, EIO);
    EXPECT_EQ(pipeline.first_side_failed(), at % 2 == 0);
    EXPECT_EQ(a.in_flight() + b.in_flight(), 0u);
  }
}

TEST(Compare, StopsOnRequest) {
  class Stop final : public Progress {
   public:
    bool update(std::uint64_t, std::uint64_t) noexcept override { return false; }
  } stop;
  FakeEndpoint a{pattern(12 * kMiB, 4)};
  FakeEndpoint b{pattern(12 * kMiB, 4)};
  ComparePipeline pipeline{a, b, 4, &stop};
  const auto first = pipeline.run();
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error().code, Errc::cancelled);
}

}  // namespace
}  // namespace openvhd
