#include "image/convert/run_cursor.hpp"

#include <gtest/gtest.h>

#include "image/convert/fake_endpoint.hpp"

namespace openvhd {
namespace {

using test::FakeEndpoint;

std::vector<RunCursor::Piece> pieces(Endpoint& source, const RunCursor::Spec& spec) {
  RunCursor cursor{source, spec};
  std::vector<RunCursor::Piece> all;
  std::uint64_t at = 0;
  for (;;) {
    const auto piece = cursor.next();
    EXPECT_TRUE(piece);
    EXPECT_EQ(piece->at, at);
    if (!piece || piece->length == 0) break;
    at += piece->length;
    all.push_back(*piece);
  }
  EXPECT_EQ(at, spec.total);
  return all;
}

TEST(RunCursor, DataIsCutAtChunksAndZerosAreNot) {
  FakeEndpoint source{std::vector<std::byte>(8 << 20)};
  source.map_as(0, false);
  source.map_as(2560 << 10, true);
  const auto all = pieces(source, {.length = 8 << 20, .total = 8 << 20});
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[2].length, 512u << 10);
  EXPECT_TRUE(all[3].zero);
  EXPECT_EQ(all[3].length, (8u << 20) - (2560u << 10));
}

TEST(RunCursor, EdgesOfZerosMoveInwardsToWholeUnits) {
  FakeEndpoint source{std::vector<std::byte>(1 << 20)};
  source.map_as(0, false);
  source.map_as(1000, true);
  source.map_as(900000, false);
  const auto all = pieces(source, {.length = 1 << 20, .total = 1 << 20});
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].length, 4096u);
  EXPECT_TRUE(all[1].zero);
  EXPECT_EQ(all[2].at, 900000u / 4096 * 4096);
}

TEST(RunCursor, ShortRunsOfZerosAreRead) {
  FakeEndpoint source{std::vector<std::byte>(1 << 20)};
  for (std::uint64_t at = 0; at < (1 << 20); at += 8192) source.map_as(at, at % 16384 == 0);
  const auto all = pieces(source, {.length = 1 << 20, .total = 1 << 20});
  ASSERT_EQ(all.size(), 1u);
  EXPECT_FALSE(all[0].zero);
}

TEST(RunCursor, WhatFollowsThePartIsZeroWhateverTheSourceHolds) {
  FakeEndpoint source{std::vector<std::byte>(8192)};
  const auto all = pieces(source, {.source_at = {512}, .length = 5000, .total = 3 << 20});
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].length, 8192u);
  EXPECT_TRUE(all[1].zero);
}

TEST(RunCursor, ZerosAreCutWhereTheTargetTakesThemInPieces) {
  FakeEndpoint source{std::vector<std::byte>(1 << 20)};
  source.map_as(0, true);
  const auto all = pieces(source, {.length = 1 << 20, .total = 1 << 20, .max_zero = 256 << 10});
  EXPECT_EQ(all.size(), 4u);
}

TEST(RunCursor, ATargetWithoutBytesHasNoPieces) {
  FakeEndpoint source{{}};
  EXPECT_TRUE(pieces(source, {}).empty());
}

}  // namespace
}  // namespace openvhd
