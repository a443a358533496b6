// What opens, what is tolerated and what is refused, rule by rule.
#include <gtest/gtest.h>

#include <functional>

#include "support/bytes.hpp"
#include "vhd/disk.hpp"
#include "vhd/image_bytes.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kBlock = 64 * 1024;

SparseFields usual(std::uint32_t type = 3) {
  return {.footer = {.type = type, .size = 8 * kBlock - 1024},
          .block_size = kBlock,
          .blocks = {2, 0, 7}};
}

/// Space for two locators behind the table.
SparseImage child_image() {
  SparseFields fields = usual(4);
  fields.blocks_at = 4096;
  SparseImage image = sparse_image(fields);
  for (unsigned i = 0; i < 16; ++i) image.bytes[512 + 40 + i] = std::byte{0x11};
  const Bytes name = utf16be("parent.vhd");
  std::copy(name.begin(), name.end(), image.bytes.begin() + 512 + 64);
  put_locator(image.bytes, 0, "W2ku", 512, 2048, utf16le("C:\\x\\parent.vhd"));
  put_locator(image.bytes, 1, "W2ru", 1, 2560, utf16le(".\\parent.vhd"));
  image.seal_header();
  return image;
}

void both_footers(Bytes& bytes, const std::function<void(Bytes&, std::uint64_t)>& change) {
  for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{bytes.size() - 512}}) {
    change(bytes, at);
    seal_footer(bytes, at);
  }
}

std::string notes_of(Disk& disk) {
  std::string out;
  for (const std::string& note : disk.leaf().info().notes) out += note + "\n";
  return out;
}

struct Refusal {
  const char* name;
  const char* id;
  std::function<void(SparseImage&)> damage;
  Errc code = Errc::corrupt;
};

class VhdRefuses : public testing::TestWithParam<Refusal> {};

TEST_P(VhdRefuses, NamingTheInvariant) {
  SparseImage image = sparse_image(usual());
  ASSERT_TRUE(open_disk(store_of(image.bytes)));
  GetParam().damage(image);
  auto disk = open_disk(store_of(image.bytes));
  ASSERT_FALSE(disk);
  EXPECT_EQ(error_of(disk).code, GetParam().code);
  EXPECT_NE(std::string{error_of(disk).what}.find(GetParam().id), std::string::npos)
      << error_of(disk).what;
}

Refusal footer_rule(const char* name, std::function<void(Bytes&, std::uint64_t)> change,
                    const char* id = "V01", Errc code = Errc::corrupt) {
  return {name, id, [change](SparseImage& i) { both_footers(i.bytes, change); }, code};
}

Refusal header_rule(const char* name, const char* id, std::function<void(Bytes&)> change,
                    Errc code = Errc::corrupt) {
  return {name, id,
          [change](SparseImage& i) {
            change(i.bytes);
            i.seal_header();
          },
          code};
}

INSTANTIATE_TEST_SUITE_P(
    Footer, VhdRefuses,
    testing::Values(
        Refusal{"both_checksums", "V01",
                [](SparseImage& i) {
                  i.bytes[100] ^= std::byte{1};
                  i.bytes[i.footer_at() + 100] ^= std::byte{1};
                }},
        Refusal{"both_cookies", "V01",
                [](SparseImage& i) {
                  both_footers(i.bytes, [](Bytes& b, auto at) { b[at] = std::byte{'C'}; });
                }},
        Refusal{"poison_cookie", "V01",
                [](SparseImage& i) { put_text(i.bytes, i.footer_at(), "v_poison"); }},
        Refusal{"poison_cookie_of_the_copy", "V01",
                [](SparseImage& i) { put_text(i.bytes, 0, "v_poison"); }},
        footer_rule("type_0", [](Bytes& b, auto at) { put32(b, at + 60, 0); }),
        footer_rule("type_5", [](Bytes& b, auto at) { put32(b, at + 60, 5); }),
        footer_rule("size_0", [](Bytes& b, auto at) { put64(b, at + 48, 0); }),
        footer_rule("size_odd", [](Bytes& b, auto at) { put64(b, at + 48, 1000); }),
        footer_rule("size_2041_gib",
                    [](Bytes& b, auto at) { put64(b, at + 48, std::uint64_t{2041} << 30); }),
        footer_rule(
            "version_2", [](Bytes& b, auto at) { put32(b, at + 12, 0x20000); }, "V01",
            Errc::unsupported),
        footer_rule(
            "data_offset_past_end", [](Bytes& b, auto at) { put64(b, at + 16, 1 << 30); }, "V02"),
        footer_rule(
            "data_offset_all_ones", [](Bytes& b, auto at) { put64(b, at + 16, ~0ull); }, "V02"),
        footer_rule(
            "data_offset_0", [](Bytes& b, auto at) { put64(b, at + 16, 0); }, "V02")),
    [](const auto& test) { return std::string{test.param.name}; });

INSTANTIATE_TEST_SUITE_P(
    Header, VhdRefuses,
    testing::Values(
        Refusal{"checksum", "V02", [](SparseImage& i) { i.bytes[900] ^= std::byte{1}; }},
        header_rule("cookie", "V02", [](Bytes& b) { b[512] = std::byte{'X'}; }),
        header_rule(
            "version_2", "V02", [](Bytes& b) { put32(b, 536, 0x20000); }, Errc::unsupported),
        header_rule("block_size_0", "V03", [](Bytes& b) { put32(b, 544, 0); }),
        header_rule("block_size_512", "V03", [](Bytes& b) { put32(b, 544, 512); }),
        header_rule("block_size_3_sectors", "V03", [](Bytes& b) { put32(b, 544, 0x18000); }),
        header_rule("block_size_512_mib", "V03", [](Bytes& b) { put32(b, 544, 1u << 29); }),
        header_rule("table_unaligned", "V03", [](Bytes& b) { put64(b, 528, 1537); }),
        header_rule("table_past_end", "V03", [](Bytes& b) { put64(b, 528, 1u << 30); }),
        header_rule("table_wraps", "V03", [](Bytes& b) { put64(b, 528, ~0ull - 511); }),
        header_rule("table_over_header", "V03", [](Bytes& b) { put64(b, 528, 1024); }),
        header_rule("table_over_copy", "V03", [](Bytes& b) { put64(b, 528, 0); }),
        header_rule("too_few_entries", "V03", [](Bytes& b) { put32(b, 540, 7); }),
        header_rule("entries_past_end", "V03", [](Bytes& b) { put32(b, 540, 0xffffffff); })),
    [](const auto& test) { return std::string{test.param.name}; });

TEST(VhdOpen, MoreThan2To22BlocksAreRefused) {
  SparseImage image = sparse_image(usual());
  both_footers(image.bytes, [](Bytes& b, auto at) { put64(b, at + 48, std::uint64_t{300} << 30); });
  EXPECT_EQ(std::string{error_of(open_disk(store_of(image.bytes))).what},
            "dynamic header: more than 2^22 blocks (V03)");
}

struct BadEntry {
  const char* name;
  std::uint32_t block;
  std::function<std::uint32_t(const SparseImage&)> entry;
};
class VhdTable : public testing::TestWithParam<BadEntry> {};

// Reads elsewhere go on; nothing is written any more.
TEST_P(VhdTable, ADamagedEntryFailsTheReadThatTouchesIt) {
  SparseImage image = sparse_image(usual());
  put32(image.bytes, 1536 + 4 * GetParam().block, GetParam().entry(image));
  const Store store = store_of(image.bytes);
  auto disk = open_disk(store);
  ASSERT_TRUE(disk);
  Bytes out(512);
  const Status damaged = disk->read(GetParam().block * kBlock, out);
  EXPECT_EQ(error_of(damaged).code, Errc::corrupt);
  EXPECT_EQ(error_of(damaged).where.value, 1536 + 4 * GetParam().block);
  EXPECT_NE(std::string{error_of(damaged).what}.find("V04"), std::string::npos);
  EXPECT_TRUE(disk->read(7 * kBlock, out));
  EXPECT_EQ(error_of(disk->write(7 * kBlock, out)).code, Errc::corrupt);
  EXPECT_EQ(error_of(disk->write(3 * kBlock, out)).code, Errc::corrupt);
  EXPECT_EQ(error_of(disk->clear(3 * kBlock, kBlock, ClearKind::trim)).code, Errc::corrupt);
  EXPECT_TRUE(disk->close());
  MemoryFile file{store};
  EXPECT_EQ(read_all(file), image.bytes);
}

const auto sector_of = [](const SparseImage& i, std::uint32_t block) {
  return get32(i.bytes, i.table_at + 4 * block);
};
INSTANTIATE_TEST_SUITE_P(
    Entries, VhdTable,
    testing::Values(
        BadEntry{"zero", 3, [](const SparseImage&) { return 0u; }},
        BadEntry{"in_header", 3, [](const SparseImage&) { return 2u; }},
        BadEntry{"runs_into_footer", 3, [](const SparseImage& i) { return sector_of(i, 7) + 1; }},
        BadEntry{"past_end", 3, [](const SparseImage&) { return 0x7fffffffu; }},
        BadEntry{"just_below_unused", 3, [](const SparseImage&) { return 0xfffffffeu; }},
        BadEntry{"same_as_another", 3, [](const SparseImage& i) { return sector_of(i, 2); }},
        BadEntry{"first_of_two", 2, [](const SparseImage& i) { return sector_of(i, 0); }},
        BadEntry{"one_sector_apart", 3, [](const SparseImage& i) { return sector_of(i, 2) + 1; }},
        BadEntry{"last_sector_shared", 3,
                 [](const SparseImage& i) { return sector_of(i, 2) + 128; }}),
    [](const auto& test) { return std::string{test.param.name}; });

TEST(VhdTable, BothEntriesThatShareABlockAreRefused) {
  SparseImage image = sparse_image(usual());
  put32(image.bytes, 1536 + 4 * 3, sector_of(image, 2));
  auto disk = open_disk(store_of(image.bytes), false);
  Bytes out(512);
  EXPECT_EQ(error_of(disk->read(2 * kBlock, out)).code, Errc::corrupt);
  EXPECT_EQ(error_of(disk->read(3 * kBlock, out)).code, Errc::corrupt);
}

TEST(VhdTable, TheLastBlockMayEndWithTheDisk) {
  SparseFields fields = usual();
  fields.blocks = {0, 7};
  SparseImage image = sparse_image(fields);
  image.bytes.erase(image.bytes.end() - 512 - 1024, image.bytes.end() - 512);
  const Store store = store_of(image.bytes);
  auto disk = open_disk(store);
  Bytes out(kBlock - 1024);
  ASSERT_TRUE(disk->read(7 * kBlock, out));
  ASSERT_TRUE(disk->write(kBlock, pattern(512, 3)));
  ASSERT_TRUE(disk->close());
  auto again = open_disk(store);
  Bytes after(kBlock - 1024);
  ASSERT_TRUE(again->read(7 * kBlock, after));
  EXPECT_EQ(out, after);
  ASSERT_TRUE(again->read(kBlock, std::span{after}.first(512)));
  EXPECT_EQ(Bytes(after.begin(), after.begin() + 512), pattern(512, 3));
}

TEST(VhdOpen, TheFooterAtTheEndCountsAndItsCopyServesWhereItIsLost) {
  const SparseImage good = sparse_image(usual());
  Bytes expected(kBlock);
  ASSERT_TRUE(open_disk(store_of(good.bytes))->read(2 * kBlock, expected));
  const auto expect_opens = [&](const Bytes& bytes, const std::string& note) {
    auto disk = open_disk(store_of(bytes));
    ASSERT_TRUE(disk) << error_of(disk).what;
    Bytes out(kBlock);
    ASSERT_TRUE(disk->read(2 * kBlock, out));
    EXPECT_EQ(out, expected);
    EXPECT_NE(notes_of(*disk).find(note), std::string::npos) << notes_of(*disk);
  };
  Bytes bytes = good.bytes;
  bytes.resize(bytes.size() - 512);
  expect_opens(bytes, "missing at the end of the file; its copy at 0 serves (V02)");
  bytes = good.bytes;
  bytes[good.footer_at() + 90] ^= std::byte{1};
  expect_opens(bytes, "checksum; its copy at 0 serves (V02)");
  bytes = good.bytes;
  bytes.resize(bytes.size() + 700, std::byte{0xaa});
  expect_opens(bytes, "its copy at 0 serves (V02)");
  bytes = good.bytes;
  bytes[90] ^= std::byte{1};
  expect_opens(bytes, "footer copy: damaged");
  bytes = good.bytes;
  bytes.resize(bytes.size() - 1);  // 511 bytes
  expect_opens(bytes, "511 bytes");
}

TEST(VhdOpen, AFixedDiskNeedsItsFooterAndItsData) {
  EXPECT_TRUE(open_disk(store_of(fixed_image(kBlock))));
  Bytes bytes = fixed_image(kBlock);
  bytes.resize(kBlock);
  EXPECT_FALSE(open_disk(store_of(bytes)));
  EXPECT_EQ(error_of(open_disk(store_of(fixed_image(kBlock, {.size = kBlock + 512})))).code,
            Errc::corrupt);
  auto larger = open_disk(store_of(fixed_image(kBlock, {.size = kBlock - 512})));
  ASSERT_TRUE(larger);
  EXPECT_EQ(larger->size(), kBlock - 512);
}

TEST(VhdOpen, AFixedDiskOnAVolumeThatIsLongerIsFoundByItsSize) {
  Bytes bytes = fixed_image(kBlock);
  bytes.resize(bytes.size() + 100000);
  auto disk = open_disk(store_of(bytes));
  ASSERT_TRUE(disk);
  EXPECT_EQ(disk->size(), kBlock);
  EXPECT_NE(notes_of(*disk).find("bytes follow it"), std::string::npos);
  put64(bytes, kBlock + 48, kBlock - 512);  // a footer, but not where its size says
  seal(bytes, kBlock, 512, kBlock + 64);
  EXPECT_FALSE(open_disk(store_of(bytes)));
}

// What lies at 0 of a fixed disk is the guest's: no footer there may make it a sparse one.
TEST(VhdOpen, AForgedCopyAtTheStartDoesNotTurnAFixedDiskIntoASparseOne) {
  Bytes bytes = fixed_image(4 * kBlock);
  bytes.resize(bytes.size() + 3 * kBlock);
  const SparseImage forged =
      sparse_image({.footer = {.size = 4 * kBlock}, .block_size = kBlock, .blocks = {}});
  std::copy(forged.bytes.begin(), forged.bytes.end() - 512, bytes.begin());
  const Store store = store_of(bytes);
  for (const bool writable : {false, true}) {
    auto disk = open_disk(store, writable);
    ASSERT_FALSE(disk);
    EXPECT_EQ(error_of(disk).code, Errc::corrupt);
    EXPECT_NE(std::string{error_of(disk).what}.find("(V01)"), std::string::npos);
  }
  MemoryFile file{store};
  FixedHost host;
  std::vector<std::string> actions;
  EXPECT_FALSE(vhd::repair(file, host, actions));
  EXPECT_EQ(read_all(file), bytes);
}

// Nor may it end the use of its own disk by eight bytes in its first sector.
TEST(VhdOpen, APoisonCookieInTheFirstSectorOfAFixedDiskIsData) {
  Bytes bytes = fixed_image(4 * kBlock);
  for (const std::size_t behind : {0u, 100000u}) {  // as on a volume that is longer
    bytes.resize(bytes.size() + behind);
    put_text(bytes, 0, "v_poison");
    put32(bytes, 12, 0x00010000);
    auto disk = open_disk(store_of(bytes));
    ASSERT_TRUE(disk) << behind << ": " << error_of(disk).what;
    Bytes out(512);
    ASSERT_TRUE(disk->read(0, out));
    EXPECT_EQ(out, Bytes(bytes.begin(), bytes.begin() + 512));
  }
}

TEST(VhdOpen, ASavedStateIsReadAndNotWritten) {
  SparseImage image = sparse_image(usual());
  both_footers(image.bytes, [](Bytes& b, auto at) { b[at + 84] = std::byte{1}; });
  EXPECT_EQ(error_of(open_disk(store_of(image.bytes))).code, Errc::read_only);
  auto disk = open_disk(store_of(image.bytes), false);
  ASSERT_TRUE(disk);
  EXPECT_TRUE(disk->leaf().info().saved_state);
}

TEST(VhdOpen, AnUndoDiskIsReadAndNotWritten) {
  const Store store = store_of(sparse_image(usual()).bytes);
  const auto named = [&](bool writable) {
    auto file = std::make_unique<MemoryFile>(store, MemoryFile::Options{.name = "Disk 1.VUD"});
    return open_disk(std::move(file), {.writable = writable});
  };
  EXPECT_EQ(error_of(named(true)).code, Errc::read_only);
  EXPECT_TRUE(named(false));
}

TEST(VhdOpen, AReadOnlyFileIsNotOpenedForWriting) {
  auto file = std::make_unique<MemoryFile>(store_of(fixed_image(kBlock)),
                                           MemoryFile::Options{.writable = false});
  EXPECT_EQ(error_of(open_disk(std::move(file), {.writable = true})).code, Errc::read_only);
}

TEST(VhdParent, LocatorsAreReadInTheOrderInWhichTheyAreTried) {
  auto disk = open_disk(store_of(child_image().bytes), false);
  ASSERT_TRUE(disk) << error_of(disk).what;
  const ParentLink* const link = disk->leaf().parent_link();
  ASSERT_NE(link, nullptr);
  ASSERT_EQ(link->paths.size(), 3u);
  EXPECT_EQ(link->paths[0].kind, ParentPath::Kind::relative);
  EXPECT_EQ(link->paths[0].text, ".\\parent.vhd");
  EXPECT_EQ(std::string{link->paths[1].key}, "W2ku");
  EXPECT_EQ(link->paths[1].text, "C:\\x\\parent.vhd");
  EXPECT_EQ(std::string{link->paths[2].key}, "parent_name");
  EXPECT_EQ(link->paths[2].text, "parent.vhd");
  EXPECT_EQ(link->linkage.bytes[0], 0x11);
}

TEST(VhdParent, AnUnpairedSurrogateIsShownAndNeverFollowed) {
  SparseImage image = child_image();
  put16(image.bytes, 2560 + 4, 0x00d8);  // D800, little-endian
  auto disk = open_disk(store_of(image.bytes), false);
  ASSERT_TRUE(disk);
  for (const ParentPath& path : disk->leaf().parent_link()->paths)
    EXPECT_NE(path.kind, ParentPath::Kind::relative);
}

TEST(VhdParent, OneDamagedLocatorIsTolerated) {
  SparseImage image = child_image();
  put64(image.bytes, 512 + 576 + 16, 1u << 30);
  image.seal_header();
  auto disk = open_disk(store_of(image.bytes), false);
  ASSERT_TRUE(disk);
  EXPECT_EQ(disk->leaf().parent_link()->paths.size(), 2u);
  put32(image.bytes, 512 + 576 + 24 + 8, 0xfffffffe);
  image.seal_header();
  EXPECT_EQ(error_of(open_disk(store_of(image.bytes), false)).code, Errc::corrupt);
}

TEST(VhdProbe, KnowsDamagedImagesAndNoTarArchive) {
  const auto probe = [](const Bytes& bytes) {
    MemoryFile file{bytes};
    return *vhd::probe(file);
  };
  const SparseImage good = sparse_image(usual());
  EXPECT_TRUE(probe(good.bytes));
  EXPECT_TRUE(probe(fixed_image(kBlock)));
  Bytes bytes = good.bytes;
  bytes[100] ^= std::byte{1};
  bytes[good.footer_at() + 100] ^= std::byte{1};
  EXPECT_TRUE(probe(bytes));
  bytes[0] = std::byte{'X'};
  bytes[good.footer_at()] = std::byte{'X'};
  EXPECT_TRUE(probe(bytes));  // the header is left
  Bytes tar(2048);
  put_text(tar, 0, "conectix_ustar");
  put_text(tar, 100, "0000644");
  put_text(tar, 257, "ustar");
  EXPECT_FALSE(probe(tar));
  EXPECT_FALSE(probe({}));
  EXPECT_FALSE(probe(Bytes(100)));
  EXPECT_FALSE(probe(pattern(kBlock, 1)));
}

}  // namespace
}  // namespace openvhd::test
