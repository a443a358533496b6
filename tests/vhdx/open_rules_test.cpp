// One hand-made image per rule: what must be refused, by the id of the rule, and what must not.
#include <gtest/gtest.h>

#include "support/bytes.hpp"
#include "vhdx/expect_judged.hpp"
#include "vhdx/image_builder.hpp"
#include "vhdx/load_support.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

struct Case {
  const char* name;
  const char* id;  // empty: opens
  void (*change)(Image&);
};

void both_headers(Image& image, void (*change)(BuiltHeader&)) {
  for (BuiltHeader& header : image.headers) change(header);
}

std::vector<std::byte> u64(std::uint64_t value) { return Bytes{}.put(0, 8, value).data; }

const Case kCases[] = {
    {"AsBuilt", "", [](Image&) {}},
    // X01
    {"Signature", "X01", [](Image& i) { i.signature = "vhdxfilf"; }},
    {"EmptyFile", "X01", [](Image& i) { i.file_bytes = 0; }},
    {"FourBytes", "X01", [](Image& i) { i.file_bytes = 4; }},
    {"HeaderSectionCut", "X01", [](Image& i) { i.file_bytes = kMegabyte - 1; }},
    {"CreatorGarbage", "",
     [](Image& i) { i.extra.emplace_back(8, std::vector<std::byte>(512, std::byte{0xd8})); }},
    // X02
    {"BothHeadersBad", "X02",
     [](Image& i) { i.headers[0].present = i.headers[1].present = false; }},
    {"FirstHeaderBad", "", [](Image& i) { i.headers[0].present = false; }},
    {"SecondHeaderBad", "", [](Image& i) { i.headers[1].present = false; }},
    {"HeaderChecksum", "X02",
     [](Image& i) {
       i.headers[0].present = false;
       i.extra.emplace_back(131072 + 4095, std::vector<std::byte>(1, std::byte{1}));
     }},
    {"EqualSequenceSameContents", "", [](Image& i) { i.headers[0] = i.headers[1]; }},
    {"EqualSequenceOtherContents", "X02",
     [](Image& i) {
       i.headers[0] = i.headers[1];
       i.headers[0].file_write_seed = 0;
     }},
    // X03
    {"Version2", "X03", [](Image& i) { both_headers(i, [](auto& h) { h.version = 2; }); }},
    {"OldHeaderOfVersion2", "", [](Image& i) { i.headers[0].version = 2; }},
    {"LogVersionOfACleanLog", "",
     [](Image& i) { both_headers(i, [](auto& h) { h.log_version = 7; }); }},
    {"LogUnaligned", "X03",
     [](Image& i) { both_headers(i, [](auto& h) { h.log_at = kMegabyte + 4096; }); }},
    {"LogLengthUnaligned", "X03",
     [](Image& i) { both_headers(i, [](auto& h) { h.log_length = 4096; }); }},
    {"LogOverHeaders", "X03", [](Image& i) { both_headers(i, [](auto& h) { h.log_at = 0; }); }},
    {"LogPastEnd", "X03",
     [](Image& i) { both_headers(i, [](auto& h) { h.log_at = 5 * kMegabyte; }); }},
    {"LogOverflows", "X03",
     [](Image& i) { both_headers(i, [](auto& h) { h.log_at = ~(kMegabyte - 1); }); }},
    {"SequenceAtItsEnd", "", [](Image& i) { i.headers[1].sequence = ~std::uint64_t{0}; }},
    // X05
    {"FirstTableBad", "", [](Image& i) { i.extra.emplace_back(192 * 1024, u64(0)); }},
    {"SecondTableBad", "", [](Image& i) { i.extra.emplace_back(256 * 1024, u64(0)); }},
    {"BothTablesBad", "X05",
     [](Image& i) {
       i.extra.emplace_back(192 * 1024 + 60000, u64(1));
       i.extra.emplace_back(256 * 1024 + 60000, u64(1));
     }},
    {"TableOf2048", "X05",
     [](Image& i) {
       i.each_table([](auto& t) {
         for (int n = 0; n < 2046; ++n) t.push_back({.guid = kLogGuid, .flags = 0});
       });
     }},
    {"RegionTwice", "X05",
     [](Image& i) {
       i.file_bytes = 8 * kMegabyte;
       i.each_table([](auto& t) { t.push_back({.guid = kBatGuid, .at = 6 * kMegabyte}); });
     }},
    {"UnknownOptionalTwice", "X05",
     [](Image& i) {
       i.file_bytes = 8 * kMegabyte;
       i.each_table([](auto& t) {
         t.push_back({.guid = kLogGuid, .at = 6 * kMegabyte, .flags = 0});
         t.push_back({.guid = kLogGuid, .at = 7 * kMegabyte, .flags = 0});
       });
     }},
    // X06
    {"RequiredFlagsClear", "",
     [](Image& i) { i.each_table([](auto& t) { t[0].flags = t[1].flags = 0; }); }},
    {"UnknownOptionalRegion", "",
     [](Image& i) {
       i.file_bytes = 7 * kMegabyte;
       i.each_table(
           [](auto& t) { t.push_back({.guid = kLogGuid, .at = 6 * kMegabyte, .flags = 0}); });
     }},
    {"UnknownRequiredRegion", "X06",
     [](Image& i) {
       i.file_bytes = 7 * kMegabyte;
       i.each_table([](auto& t) { t.push_back({.guid = kLogGuid, .at = 6 * kMegabyte}); });
     }},
    {"NoBatRegion", "X06", [](Image& i) { i.each_table([](auto& t) { t.pop_back(); }); }},
    {"NoMetadataRegion", "X06",
     [](Image& i) { i.each_table([](auto& t) { t.erase(t.begin()); }); }},
    {"RegionUnaligned", "X06", [](Image& i) { i.each_table([](auto& t) { t[1].at += 65536; }); }},
    {"RegionLengthUnaligned", "X06",
     [](Image& i) { i.each_table([](auto& t) { t[1].length += 65536; }); }},
    {"RegionInHeaders", "X06", [](Image& i) { i.each_table([](auto& t) { t[1].at = 0; }); }},
    {"RegionOfLengthZero", "X06", [](Image& i) { i.each_table([](auto& t) { t[1].length = 0; }); }},
    {"RegionPastEnd", "X06",
     [](Image& i) { i.each_table([](auto& t) { t[1].at = 5 * kMegabyte; }); }},
    {"RegionOverflows", "X06",
     [](Image& i) { i.each_table([](auto& t) { t[1].at = ~(kMegabyte - 1); }); }},
    // X07
    {"RegionOverRegion", "X07",
     [](Image& i) { i.each_table([](auto& t) { t[1].at = 2 * kMegabyte; }); }},
    {"RegionOverLog", "X07", [](Image& i) { i.each_table([](auto& t) { t[1].at = kMegabyte; }); }},
    {"UnknownRegionOverBat", "X07",
     [](Image& i) {
       i.each_table(
           [](auto& t) { t.push_back({.guid = kLogGuid, .at = 3 * kMegabyte, .flags = 0}); });
     }},
    {"LongRegionOverTwo", "X07",
     [](Image& i) {
       i.each_table([](auto& t) {
         t.push_back({.guid = kLogGuid, .at = kMegabyte, .length = 4 * kMegabyte, .flags = 0});
       });
     }},
    // X08
    {"MetadataSignature", "X08", [](Image& i) { i.extra.emplace_back(i.metadata_at, u64(0)); }},
    {"MetadataOf2048", "X08",
     [](Image& i) { i.extra.emplace_back(i.metadata_at + 10, Bytes{}.put(0, 2, 2048).data); }},
    {"ItemInTable", "X08", [](Image& i) { i.item(kSizeGuid).offset = 60000; }},
    {"ItemPastRegion", "X08", [](Image& i) { i.item(kSizeGuid).offset = kMegabyte - 4; }},
    {"ItemWraps", "X08", [](Image& i) { i.item(kSizeGuid).offset = 0xfffffffc; }},
    {"ItemOfFourGigabytes", "X08", [](Image& i) { i.item(kSizeGuid).length = 0xffffffff; }},
    {"EmptyItemWithOffset", "X08",
     [](Image& i) { i.items.push_back({.guid = kLogGuid, .flags = 1, .value = {}, .offset = 8}); }},
    {"EmptyItem", "",
     [](Image& i) { i.items.push_back({.guid = kLogGuid, .flags = 1, .value = {}}); }},
    {"ItemTwice", "X08", [](Image& i) { i.items.push_back(i.item(kSizeGuid)); }},
    {"SameIdAsUserItem", "",
     [](Image& i) {
       BuiltItem item = i.item(kSizeGuid);
       item.flags = 1;
       item.offset += 1024;
       i.items.push_back(item);
     }},
    {"ItemsOverlap", "X08",
     [](Image& i) { i.item(kPage83Guid).offset = i.item(kSizeGuid).offset + 4; }},
    {"UserItemsOver1024", "X08",
     [](Image& i) {
       for (unsigned n = 0; n < 1025; ++n) {
         std::string guid = kLogGuid;
         guid.replace(0, 4, std::to_string(1000 + n));
         i.items.push_back({.guid = guid, .flags = 1, .value = {}});
       }
     }},
    // X09
    {"UnknownOptionalItem", "",
     [](Image& i) {
       i.items.push_back({.guid = kLogGuid, .flags = 2, .value = {}, .offset = 70000, .length = 9});
     }},
    {"UnknownRequiredItem", "X09",
     [](Image& i) {
       i.items.push_back({.guid = kLogGuid, .flags = 4, .value = {}, .offset = 70000, .length = 9});
     }},
    {"KnownItemsWithoutFlags", "",
     [](Image& i) {
       for (BuiltItem& item : i.items) item.flags = 0;
     }},
    {"NoParameters", "X09", [](Image& i) { i.items.erase(i.items.begin()); }},
    {"NoSize", "X09", [](Image& i) { i.items.erase(i.items.begin() + 1); }},
    {"NoPage83", "X09", [](Image& i) { i.items.erase(i.items.begin() + 2); }},
    {"NoLogicalSize", "X09", [](Image& i) { i.items.erase(i.items.begin() + 3); }},
    {"NoPhysicalSize", "X09", [](Image& i) { i.items.erase(i.items.begin() + 4); }},
    {"SizeOfLengthFour", "X09", [](Image& i) { i.item(kSizeGuid).length = 4; }},
    {"SizeIsEmpty", "X09",
     [](Image& i) { i.item(kSizeGuid).length = i.item(kSizeGuid).offset = 0; }},
    // X10
    {"Block0", "X10", [](Image& i) { i.set_item(kParametersGuid, 8, 0); }},
    {"Block512K", "X10", [](Image& i) { i.set_item(kParametersGuid, 8, 524288); }},
    {"Block3M", "X10", [](Image& i) { i.set_item(kParametersGuid, 8, 3 * kMegabyte); }},
    {"Block512M", "X10", [](Image& i) { i.set_item(kParametersGuid, 8, 512 * kMegabyte); }},
    {"Block256M", "", [](Image& i) { i.set_item(kParametersGuid, 8, 256 * kMegabyte); }},
    {"Size0", "X10", [](Image& i) { i.set_item(kSizeGuid, 8, 0); }},
    {"SizeOver64T", "X10",
     [](Image& i) { i.set_item(kSizeGuid, 8, (std::uint64_t{1} << 46) + 512); }},
    {"SizeUnaligned", "X10", [](Image& i) { i.set_item(kSizeGuid, 8, 16 * kMegabyte + 256); }},
    {"SizeUnalignedTo4096", "X10",
     [](Image& i) {
       i.set_item(kSizeGuid, 8, 16 * kMegabyte + 512);
       i.set_item(kLogicalGuid, 4, 4096);
     }},
    {"Logical4096", "", [](Image& i) { i.set_item(kLogicalGuid, 4, 4096); }},
    {"Logical0", "X10", [](Image& i) { i.set_item(kLogicalGuid, 4, 0); }},
    {"Logical1024", "X10", [](Image& i) { i.set_item(kLogicalGuid, 4, 1024); }},
    {"Physical1", "X10", [](Image& i) { i.set_item(kPhysicalGuid, 4, 1); }},
    // X11: one MiB of table is 131072 entries; every 4096 of them have one bitmap entry.
    {"TableJustFits", "", [](Image& i) { i.set_item(kSizeGuid, 8, 131041 * kMegabyte); }},
    {"TableTooSmall", "X11", [](Image& i) { i.set_item(kSizeGuid, 8, 131042 * kMegabyte); }},
    // X17
    {"HasParentWithoutLocator", "X17",
     [](Image& i) { i.set_item(kParametersGuid, 8, kMegabyte | std::uint64_t{2} << 32); }},
    {"LocatorWithoutHasParent", "X17",
     [](Image& i) {
       const auto before = i.item(kParametersGuid).value;
       i.add_parent({{"parent_linkage", "{" + kLogGuid + "}"}, {"relative_path", "p.vhdx"}});
       i.item(kParametersGuid).value = before;
     }},
};

class VhdxOpenRule : public ::testing::TestWithParam<Case> {};

TEST_P(VhdxOpenRule, IsJudgedAndNothingIsWritten) {
  Image image;
  GetParam().change(image);
  expect_judged(image.build(), GetParam().id);
}

INSTANTIATE_TEST_SUITE_P(All, VhdxOpenRule, ::testing::ValuesIn(kCases),
                         [](const auto& param) { return std::string{param.param.name}; });

TEST(VhdxOpen, EverythingAtFixedPlacesIsKnown) {
  Image image;
  image.headers[1].present = false;
  image.each_table(
      [](auto& t) { t.push_back({.guid = kLogGuid, .at = 6 * kMegabyte, .flags = 0}); });
  image.file_bytes = 7 * kMegabyte;
  const auto loaded = load(image.build());
  ASSERT_TRUE(loaded) << loaded.error().what;
  const vhdx::ParsedImage& parsed = loaded->image;
  EXPECT_EQ(parsed.current_header, 0u);
  EXPECT_FALSE(parsed.other_header_valid);
  EXPECT_TRUE(parsed.other_region_table_valid);
  EXPECT_EQ(parsed.file_bytes, 7 * kMegabyte);
  EXPECT_EQ(parsed.log.at.value, kMegabyte);
  EXPECT_EQ(parsed.metadata.at.value, 2 * kMegabyte);
  EXPECT_EQ(parsed.bat.at.value, 3 * kMegabyte);
  ASSERT_EQ(parsed.unknown_regions.size(), 1u);
  EXPECT_EQ(parsed.unknown_regions[0].area.at.value, 6 * kMegabyte);
  EXPECT_EQ(to_string(parsed.unknown_regions[0].id), kLogGuid);
  ASSERT_EQ(parsed.fixed.size(), 5u);
  EXPECT_STREQ(parsed.fixed[1].owner, "log");
  EXPECT_EQ(parsed.items.size(), 5u);
  EXPECT_EQ(parsed.geometry.virtual_size, 16 * kMegabyte);
  EXPECT_EQ(parsed.geometry.block_size, kMegabyte);
  EXPECT_EQ(parsed.geometry.logical_sector_size, 512u);
  EXPECT_EQ(parsed.geometry.physical_sector_size, 4096u);
  EXPECT_EQ(to_string(parsed.page83_id), "9abcdef0-5678-1234-0000-000000000000");
  EXPECT_EQ(parsed.counts.entries, 16u);
  EXPECT_EQ(parsed.type(), DiskType::dynamic);
  EXPECT_FALSE(parsed.parent);
  ASSERT_EQ(parsed.notes.size(), 1u);
  EXPECT_NE(parsed.notes[0].find("X02"), std::string::npos);
}

TEST(VhdxOpen, TheSecondRegionTableIsUsedWhenTheFirstIsBad) {
  Image image;
  image.regions[0][1].at = 4 * kMegabyte;  // would be another table
  image.extra.emplace_back(192 * 1024 + 9, std::vector<std::byte>(1, std::byte{0xff}));
  const auto loaded = load(image.build());
  ASSERT_TRUE(loaded) << loaded.error().what;
  EXPECT_EQ(loaded->image.current_region_table, 1u);
  EXPECT_FALSE(loaded->image.other_region_table_valid);
  EXPECT_EQ(loaded->image.bat.at.value, 3 * kMegabyte);
}

TEST(VhdxOpen, LeaveBlocksAllocatedCountsWithoutAParentOnly) {
  Image fixed;
  fixed.set_item(kParametersGuid, 8, kMegabyte | std::uint64_t{1} << 32);
  const auto a = load(fixed.build());
  ASSERT_TRUE(a);
  EXPECT_EQ(a->image.type(), DiskType::fixed);
  Image child;
  child.add_parent({{"parent_linkage", kLogGuid}, {"relative_path", "p.vhdx"}});
  child.set_item(kParametersGuid, 8, kMegabyte | std::uint64_t{3} << 32);
  const auto b = load(child.build());
  ASSERT_TRUE(b) << b.error().what;
  EXPECT_EQ(b->image.type(), DiskType::differencing);
}

// Old QEMU and Hyper-V put regions behind payload, in any order.
TEST(VhdxOpen, RegionsMayLieAnywhere) {
  Image image;
  image.metadata_at = 9 * kMegabyte;
  image.bat_at = 7 * kMegabyte;
  image.each_table([](auto& t) {
    t[0].at = 9 * kMegabyte;
    t[1].at = 7 * kMegabyte;
  });
  image.file_bytes = 10 * kMegabyte;
  EXPECT_EQ(refusal(image.build()), "");
}

TEST(VhdxProbe, LooksAtTheFirstEightBytes) {
  MemoryFile file{Image{}.build()};
  EXPECT_TRUE(*vhdx::probe(file));
  MemoryFile short_file{bytes_of("vhdxfil")};
  EXPECT_FALSE(*vhdx::probe(short_file));
  MemoryFile empty;
  EXPECT_FALSE(*vhdx::probe(empty));
}

}  // namespace
}  // namespace openvhd::test
