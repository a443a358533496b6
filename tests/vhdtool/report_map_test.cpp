#include "report_map.hpp"

#include <gtest/gtest.h>

namespace vhdtool {
namespace {

using openvhd::MapEntry;
using Kind = MapEntry::Kind;

constexpr std::uint64_t kMiB = 1 << 20;

MapEntry data(std::uint64_t at, std::uint64_t length, std::uint64_t host, std::uint32_t layer = 0) {
  return {.at = {at * kMiB},
          .length = length * kMiB,
          .kind = Kind::data,
          .layer = layer,
          .host_offset = {host * kMiB}};
}
MapEntry none(Kind kind, std::uint64_t at, std::uint64_t length, std::uint32_t layer = 0) {
  return {
      .at = {at * kMiB}, .length = length * kMiB, .kind = kind, .layer = layer, .host_offset = {}};
}

std::vector<MapRun> merged(MapMerger::By by, const std::vector<MapEntry>& entries) {
  std::vector<MapRun> runs;
  MapMerger merger{by, [&](const MapRun& run) { runs.push_back(run); }};
  for (const auto& entry : entries) merger.add(entry);
  merger.finish();
  return runs;
}

const std::vector<MapEntry>& sample() {
  static const std::vector<MapEntry> entries = {data(0, 2, 4),
                                                data(2, 2, 6),
                                                data(4, 2, 20),
                                                data(6, 2, 30, 1),
                                                none(Kind::zero, 8, 1),
                                                none(Kind::hole, 9, 1, 0),
                                                none(Kind::hole, 10, 6, 1)};
  return entries;
}

TEST(MapMerge, ByExtentLosesNothing) {
  const auto runs = merged(MapMerger::By::extent, sample());
  ASSERT_EQ(runs.size(), 5U);
  EXPECT_EQ(runs[0].entry, data(0, 4, 4));
  EXPECT_EQ(runs[1].entry, data(4, 2, 20));
  EXPECT_EQ(runs[2].entry, data(6, 2, 30, 1));
  EXPECT_EQ(runs[3].entry, none(Kind::zero, 8, 1));
  EXPECT_EQ(runs[4].entry, none(Kind::hole, 9, 7));
}

TEST(MapMerge, ByKindCountsThePieces) {
  const auto runs = merged(MapMerger::By::kind, sample());
  ASSERT_EQ(runs.size(), 4U);
  EXPECT_EQ(runs[0].entry.length, 6 * kMiB);
  EXPECT_EQ(runs[0].pieces, 2U);
  EXPECT_EQ(runs[1].entry.layer, 1U);
  EXPECT_TRUE(merged(MapMerger::By::kind, {}).empty());
}

TEST(MapText, RowsLineUpWithTheHeader) {
  EXPECT_EQ(map_header(), "offset                length  kind  file  at\n");
  EXPECT_EQ(map_row({.entry = data(0, 6, 4), .pieces = 2}),
            "0x000000000000         6 MiB  data  0     0x400000 (in 2 pieces)\n");
  EXPECT_EQ(map_row({.entry = none(Kind::zero, 8, 1, 1)}),
            "0x000000800000         1 MiB  zero  1\n");
  EXPECT_EQ(map_row({.entry = none(Kind::hole, 9, 7)}), "0x000000900000         7 MiB  hole\n");
}

TEST(MapText, TotalsNameTheFiles) {
  MapTotals totals;
  for (const auto& entry : sample()) totals.add(entry);
  EXPECT_EQ(totals.text({"child.vhdx", "base\n.vhdx"}),
            "data  6 MiB  in file 0: child.vhdx\n"
            "data  2 MiB  in file 1: base\\x0a.vhdx\n"
            "zero  1 MiB  zeros by metadata\n"
            "hole  7 MiB  stored nowhere, reads as zeros\n");
}

TEST(MapJson, NumbersAreNumbersAndAbsentIsNull) {
  EXPECT_EQ(
      map_entry_json(data(4, 2, 20, 1)).dump(),
      R"({"offset":4194304,"length":2097152,"kind":"data","layer":1,"host_offset":20971520})");
  EXPECT_EQ(map_entry_json(none(Kind::hole, 0, 1)).dump(),
            R"({"offset":0,"length":1048576,"kind":"hole","layer":null,"host_offset":null})");
}

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t number = 0;
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++number;
  return number;
}

TEST(MapSvg, StaysSmallForTheLargestDisk) {
  const std::uint64_t size = std::uint64_t{64} << 40;
  SvgMap map{size, {"big.vhdx"}};
  for (std::uint64_t at = 0; at < size; at += size / 4096) {
    map.add({.at = {at}, .length = size / 8192, .kind = Kind::data, .layer = 0, .host_offset = {}});
    map.add({.at = {at + size / 8192},
             .length = size / 8192,
             .kind = Kind::hole,
             .layer = 0,
             .host_offset = {}});
  }
  const auto text = map.text();
  EXPECT_LE(count(text, "<rect"), 64U * 32 + 70);
  EXPECT_LT(text.size(), 600U * 1024);
  EXPECT_NE(text.find("data in big.vhdx: 32 TiB"), std::string::npos);
  EXPECT_NE(text.find("hole: 32 TiB"), std::string::npos);
}

TEST(MapSvg, JoinsCellsThatLookAlikeAndEscapesNames) {
  SvgMap map{64 * 32 * 512, {"a<b>&.vhdx", "base.vhdx"}};
  map.add({.at = {0}, .length = 64 * 512, .kind = Kind::data, .layer = 1, .host_offset = {}});
  map.add({.at = {64 * 512},
           .length = 64 * 31 * 512,
           .kind = Kind::zero,
           .layer = 0,
           .host_offset = {}});
  const auto text = map.text();
  EXPECT_EQ(count(text, "<title>0x"), 32U);  // one for each row
  EXPECT_NE(text.find("<title>0x0 to 0x8000; 32 KiB data in base.vhdx</title>"), std::string::npos);
  EXPECT_EQ(text.find("<b>"), std::string::npos);
  EXPECT_NE(text.find("a&lt;b&gt;&amp;.vhdx"), std::string::npos);
}

TEST(MapSvg, SmallDataInALargeCellIsSeen) {
  const std::uint64_t size = std::uint64_t{1} << 40;
  SvgMap map{size, {"d.vhdx"}};
  map.add({.at = {0}, .length = 512, .kind = Kind::data, .layer = 0, .host_offset = {}});
  map.add({.at = {512}, .length = size - 512, .kind = Kind::hole, .layer = 0, .host_offset = {}});
  EXPECT_EQ(count(map.text(), "class=\"c0 q1\""), 1U);
}

TEST(MapSvg, TakesAnEmptyDiskAndEntriesBeyondTheEnd) {
  SvgMap map{512, {"d"}};
  map.add({.at = {0}, .length = 4096, .kind = Kind::data, .layer = 900, .host_offset = {}});
  map.add({.at = {1 << 20}, .length = 4096, .kind = Kind::data, .layer = 0, .host_offset = {}});
  EXPECT_EQ(count(map.text(), "<title>0x"), 1U);
  EXPECT_EQ(count(SvgMap(0, {}).text(), "<title>0x"), 0U);
}

}  // namespace
}  // namespace vhdtool
