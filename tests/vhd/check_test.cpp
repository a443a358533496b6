// check, repair and dump.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "support/bytes.hpp"
#include "vhd/disk.hpp"
#include "vhd/image_bytes.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kBlock = 64 * 1024;

SparseFields usual(std::uint32_t type = 3) {
  return {.footer = {.type = type, .size = 8 * kBlock, .geometry = 15u << 16 | 4u << 8 | 17u},
          .block_size = kBlock,
          .blocks = {2, 0, 7}};
}

std::vector<Finding> check(const Bytes& bytes, bool azure = false, std::size_t limit = 1000) {
  MemoryFile file{bytes};
  std::vector<Finding> out;
  EXPECT_TRUE(vhd::check(file, azure, out, limit, nullptr));
  return out;
}

std::string text_of(const std::vector<Finding>& findings) {
  std::string out;
  for (const Finding& f : findings) out += std::string{f.id} + " " + f.text + "\n";
  return out;
}

/// The findings of this id, at least as bad as a warning.
std::size_t count(const std::vector<Finding>& findings, const std::string& id) {
  return static_cast<std::size_t>(std::ranges::count_if(
      findings, [&](const Finding& f) { return f.id == id && f.severity >= Severity::warning; }));
}

TEST(VhdCheck, HealthyImagesHaveNothingToReport) {
  EXPECT_EQ(text_of(check(sparse_image(usual()).bytes)), "");
  EXPECT_EQ(text_of(check(fixed_image(kBlock, {.geometry = 1u << 16 | 4u << 8 | 17u}))), "");
}

struct Broken {
  const char* name;
  const char* id;
  std::function<void(SparseImage&)> damage;
};
class VhdCheckReports : public testing::TestWithParam<Broken> {};

TEST_P(VhdCheckReports, TheInvariantById) {
  SparseImage image = sparse_image(usual());
  GetParam().damage(image);
  const auto findings = check(image.bytes);
  EXPECT_GE(count(findings, GetParam().id), 1u) << text_of(findings);
}

std::uint32_t sector_of(const SparseImage& i, std::uint32_t block) {
  return get32(i.bytes, i.table_at + 4 * block);
}
INSTANTIATE_TEST_SUITE_P(
    Rules, VhdCheckReports,
    testing::Values(Broken{"footers", "V01",
                           [](SparseImage& i) {
                             i.bytes[80] ^= std::byte{1};
                             i.bytes[i.footer_at() + 80] ^= std::byte{1};
                           }},
                    Broken{"footer", "V02",
                           [](SparseImage& i) { i.bytes[i.footer_at() + 80] ^= std::byte{1}; }},
                    Broken{"copy", "V02", [](SparseImage& i) { i.bytes[80] ^= std::byte{1}; }},
                    Broken{"copy_differs", "V02",
                           [](SparseImage& i) {
                             i.bytes[24] ^= std::byte{1};
                             seal_footer(i.bytes, 0);
                           }},
                    Broken{"copy_of_another", "V02",
                           [](SparseImage& i) {
                             i.bytes[68] ^= std::byte{1};
                             seal_footer(i.bytes, 0);
                           }},
                    Broken{"header", "V02", [](SparseImage& i) { i.bytes[800] ^= std::byte{1}; }},
                    Broken{"block_size", "V03",
                           [](SparseImage& i) {
                             put32(i.bytes, 544, 1000);
                             i.seal_header();
                           }},
                    Broken{"entry_past_end", "V04",
                           [](SparseImage& i) { put32(i.bytes, 1536 + 4, 0x7ffffff); }},
                    Broken{"entry_in_header", "V04",
                           [](SparseImage& i) { put32(i.bytes, 1536 + 4, 1); }},
                    Broken{"entries_share", "V04",
                           [](SparseImage& i) { put32(i.bytes, 1536 + 4, sector_of(i, 0) + 5); }},
                    Broken{"far_footer", "V08",
                           [](SparseImage& i) {
                             const Bytes footer(i.bytes.end() - 512, i.bytes.end());
                             i.bytes.resize(i.bytes.size() + 2 * kBlock);
                             std::ranges::copy(footer, i.bytes.end() - 512);
                           }}),
    [](const auto& test) { return std::string{test.param.name}; });

TEST(VhdCheck, BitsBehindTheLastSectorAreNoted) {
  SparseImage image = sparse_image(usual());
  image.bytes[image.block_at(2) + 100] = std::byte{1};
  EXPECT_NE(text_of(check(image.bytes)).find("V05 sector bitmap of block 2"), std::string::npos);
}

/// Errors of this id.
std::size_t errors(const std::vector<Finding>& findings, const std::string& id) {
  return static_cast<std::size_t>(std::ranges::count_if(
      findings, [&](const Finding& f) { return f.id == id && f.severity == Severity::error; }));
}

// They would come up as data that nobody wrote, once the disk grows.
TEST(VhdCheck, AChildsBitsBehindTheEndOfTheDiskAreErrors) {
  SparseFields fields = usual(4);
  fields.footer.size = 7 * kBlock + 12 * 512;  // of the last block 12 of its 128 sectors
  fields.blocks_at = 4096;
  fields.bitmap_fill = 0;
  for (const std::size_t bit : {0u, 11u, 12u, 15u, 127u, 128u, 511u}) {
    SparseImage image = sparse_image(fields);
    put_locator(image.bytes, 0, "W2ru", 512, 2048, utf16le(".\\a.vhd"));
    image.seal_header();
    image.bytes[image.block_at(7) + bit / 8] = std::byte{0x80} >> bit % 8;
    EXPECT_EQ(errors(check(image.bytes), "V05"), bit < 12 ? 0u : 1u) << bit;
  }
}

// QEMU takes the copy, others the footer.
TEST(VhdCheck, TwoFootersOfTwoDisksAreAnError) {
  struct {
    std::size_t at;
    bool error;
  } const cases[] = {{24, false}, {28, false}, {16 + 7, true}, {48 + 6, true}, {68, true}};
  for (const auto& c : cases) {
    SparseImage image = sparse_image(usual());
    image.bytes[c.at] ^= std::byte{4};
    seal_footer(image.bytes, 0);
    const auto findings = check(image.bytes);
    EXPECT_EQ(count(findings, "V02"), 1u) << c.at;
    EXPECT_EQ(errors(findings, "V02"), c.error ? 1u : 0u) << c.at;
  }
}

TEST(VhdCheck, WithoutAnyFooterOrOneAtTheEndV08IsBroken) {
  SparseImage image = sparse_image(usual());
  image.bytes[image.footer_at() + 80] ^= std::byte{1};
  EXPECT_EQ(errors(check(image.bytes), "V08"), 0u);
  EXPECT_EQ(count(check(image.bytes), "V08"), 1u);
  SparseImage early = image;
  put32(early.bytes, 1536 + 4, static_cast<std::uint32_t>(early.bytes.size() / 512));
  EXPECT_EQ(errors(check(early.bytes), "V08"), 1u);
  image.bytes[80] ^= std::byte{1};
  EXPECT_EQ(errors(check(image.bytes), "V08"), 1u);
}

TEST(VhdCheck, ABlockThatEndsWithTheDiskIsTolerated) {
  SparseFields fields = usual();
  fields.footer.size = 7 * kBlock + 512;
  SparseImage image = sparse_image(fields);
  const Bytes footer(image.bytes.end() - 512, image.bytes.end());
  image.bytes.resize(image.block_at(7) + 512 + 512);
  image.bytes.insert(image.bytes.end(), footer.begin(), footer.end());
  const auto findings = check(image.bytes);
  EXPECT_EQ(count(findings, "V04"), 1u) << text_of(findings);
  EXPECT_EQ(errors(findings, "V04"), 0u) << text_of(findings);
}

TEST(VhdCheck, AGeometryThatDoesNotFitIsNoted) {
  SparseFields fields = usual();
  fields.footer.geometry = 1u << 16 | 1u << 8 | 1u;
  EXPECT_NE(text_of(check(sparse_image(fields).bytes)).find("V07 geometry"), std::string::npos);
}

TEST(VhdCheck, AParentThatIsTheDiskItselfIsAnError) {
  SparseFields fields = usual(4);
  fields.blocks_at = 4096;
  SparseImage image = sparse_image(fields);
  put_locator(image.bytes, 0, "W2ru", 512, 2048, utf16le(".\\a.vhd"));
  for (unsigned i = 0; i < 16; ++i) image.bytes[512 + 40 + i] = std::byte{7};
  image.seal_header();
  EXPECT_EQ(count(check(image.bytes), "V06"), 1u);
  image.bytes[512 + 40] = std::byte{8};
  put_text(image.bytes, 512 + 576, "Odd!");
  image.seal_header();
  EXPECT_EQ(count(check(image.bytes), "V06"), 1u);
}

TEST(VhdCheck, AddsNoMoreThanItMay) {
  SparseImage image = sparse_image(usual());
  for (unsigned i = 0; i < 8; ++i) put32(image.bytes, 1536 + 4 * i, 0);
  EXPECT_EQ(check(image.bytes).size(), 8u);
  EXPECT_EQ(check(image.bytes, false, 3).size(), 3u);
}

TEST(VhdCheck, ABatmapWithAWrongChecksumIsReported) {
  SparseFields fields = usual();
  fields.footer.creator = std::string{"tap\0", 4};
  fields.blocks_at = 4096;
  SparseImage image = sparse_image(fields);
  put_text(image.bytes, 2048, "tdbatmap");
  put64(image.bytes, 2056, 2560);
  put32(image.bytes, 2064, 1);
  put32(image.bytes, 2068, 0x00010002);
  image.bytes[2560] = std::byte{0x80};
  put32(image.bytes, 2072, ~0x80u);
  EXPECT_EQ(text_of(check(image.bytes)), "");
  put32(image.bytes, 2068, 0x00010001);  // sums signed bytes
  EXPECT_EQ(count(check(image.bytes), "V05"), 1u);
  put32(image.bytes, 2072, ~0xffffff80u);
  EXPECT_EQ(text_of(check(image.bytes)), "");
}

TEST(VhdCheck, AzureTakesFixedDisksOfWholeMebibytes) {
  constexpr std::uint64_t kMiB20 = std::uint64_t{20} << 20;
  const auto ids = [](const Bytes& bytes) {
    std::string out;
    for (const Finding& f : check(bytes, true)) out += f.severity == Severity::error ? f.id : "";
    return out;
  };
  EXPECT_EQ(ids(fixed_image(kMiB20)), "");
  EXPECT_EQ(ids(fixed_image(kMiB20 + 512)), "AZ2");
  EXPECT_EQ(ids(fixed_image(std::uint64_t{19} << 20)), "AZ3");
  EXPECT_EQ(ids(fixed_image(kMiB20 + 4096, {.size = kMiB20})), "AZ4");
  EXPECT_EQ(ids(sparse_image(usual()).bytes), "AZ1AZ2AZ3");
}

struct Mended {
  const char* name;
  std::function<void(Bytes&)> damage;
};
class VhdRepair : public testing::TestWithParam<Mended> {};

TEST_P(VhdRepair, GivesBackTheHealthyImage) {
  const Bytes good = sparse_image(usual()).bytes;
  Bytes bytes = good;
  GetParam().damage(bytes);
  const auto before = check(bytes);
  EXPECT_TRUE(std::ranges::any_of(before, [](const Finding& f) { return f.repairable; }));
  MemoryFile file{bytes};
  FixedHost host;
  std::vector<std::string> actions;
  ASSERT_TRUE(vhd::repair(file, host, actions));
  EXPECT_FALSE(actions.empty());
  EXPECT_EQ(read_all(file), good);
  actions.clear();
  ASSERT_TRUE(vhd::repair(file, host, actions));
  EXPECT_TRUE(actions.empty());
}

INSTANTIATE_TEST_SUITE_P(
    Footers, VhdRepair,
    testing::Values(
        Mended{"footer_gone", [](Bytes& b) { b.resize(b.size() - 512); }},
        Mended{"footer_damaged", [](Bytes& b) { b[b.size() - 1] ^= std::byte{1}; }},
        Mended{"footer_torn", [](Bytes& b) { b.resize(b.size() - 100); }},
        Mended{"garbage_behind", [](Bytes& b) { b.resize(b.size() + 5000, std::byte{3}); }},
        Mended{"copy_damaged", [](Bytes& b) { b[0] ^= std::byte{1}; }},
        Mended{"growth_before_its_footer", [](Bytes& b) { b.resize(b.size() + 4 * kBlock); }},
        Mended{"growth_behind_its_footer",
               [](Bytes& b) {
                 const Bytes footer(b.end() - 512, b.end());
                 b.resize(b.size() + 4 * kBlock);
                 std::ranges::copy(footer, b.end() - 512);
               }}),
    [](const auto& test) { return std::string{test.param.name}; });

TEST(VhdRepair, AHealthyImageIsNotTouched) {
  for (const Bytes& bytes : {sparse_image(usual()).bytes, fixed_image(kBlock)}) {
    MemoryFile file{bytes};
    FixedHost host;
    std::vector<std::string> actions;
    ASSERT_TRUE(vhd::repair(file, host, actions));
    EXPECT_TRUE(actions.empty());
    EXPECT_EQ(file.executed(IoCommand::Kind::write), 0u);
    EXPECT_EQ(file.executed(IoCommand::Kind::set_size), 0u);
  }
}

TEST(VhdRepair, WhatHasNoGoodCopyIsLeftAlone) {
  SparseImage image = sparse_image(usual());
  image.bytes[800] ^= std::byte{1};
  MemoryFile file{image.bytes};
  FixedHost host;
  std::vector<std::string> actions;
  EXPECT_EQ(error_of(vhd::repair(file, host, actions)).code, Errc::corrupt);
  EXPECT_EQ(read_all(file), image.bytes);
}

TEST(VhdRepair, WithADamagedTableNothingIsCutOff) {
  SparseImage image = sparse_image(usual());
  put32(image.bytes, 1536 + 4, 0x7fffff);
  image.bytes.resize(image.bytes.size() + 1000, std::byte{9});
  MemoryFile file{image.bytes};
  FixedHost host;
  std::vector<std::string> actions;
  ASSERT_TRUE(vhd::repair(file, host, actions));
  EXPECT_EQ(actions.size(), 1u);
  Bytes after = read_all(file);
  ASSERT_GE(after.size(), image.bytes.size());
  after.resize(image.bytes.size());
  EXPECT_EQ(after, image.bytes);
}

const DumpNode* find(const DumpNode& node, const std::string& name) {
  if (node.name == name) return &node;
  for (const DumpNode& child : node.children) {
    if (const DumpNode* found = find(child, name)) return found;
  }
  return nullptr;
}

TEST(VhdDump, ShowsEveryStructure) {
  MemoryFile file{sparse_image(usual()).bytes};
  const auto dump = vhd::dump(file, 2);
  ASSERT_TRUE(dump);
  for (const char* name : {"footer", "footer_copy", "dynamic_header", "block_allocation_table"})
    EXPECT_NE(find(*dump, name), nullptr) << name;
  const DumpNode* const table = find(*dump, "block_allocation_table");
  EXPECT_EQ(table->children.size(), 2u);
  EXPECT_EQ(table->number, 3u);
  EXPECT_EQ(find(*table, "sectors_present")->number, 128u);
  EXPECT_EQ(find(*dump, "current_size")->number, 8 * kBlock);
  EXPECT_EQ(find(*dump, "block_size")->at->value, 544u);
}

TEST(VhdDump, ShowsWhatIsWrongAndGoesOn) {
  SparseImage image = sparse_image(usual());
  image.bytes[800] ^= std::byte{1};
  image.bytes[90] ^= std::byte{1};
  MemoryFile file{image.bytes};
  const auto dump = vhd::dump(file, 100);
  ASSERT_TRUE(dump);
  EXPECT_NE(find(*dump, "footer_copy")->problem, "");
  EXPECT_EQ(find(*dump, "footer")->problem, "");
  const DumpNode* const header = find(*dump, "dynamic_header");
  ASSERT_NE(header, nullptr);
  EXPECT_NE(find(*header, "checksum")->problem, "");
}

TEST(VhdDump, IsNotForOtherFiles) {
  MemoryFile file{pattern(kBlock, 1)};
  EXPECT_EQ(error_of(vhd::dump(file, 1)).code, Errc::unsupported);
}

}  // namespace
}  // namespace openvhd::test
