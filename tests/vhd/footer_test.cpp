#include "vhd/footer.hpp"

#include <gtest/gtest.h>

#include "vhd/image_bytes.hpp"

namespace openvhd::vhd {
namespace {

Footer footer_of(const test::FooterFields& fields) {
  return load<Footer>(test::footer_bytes(fields));
}

// What Windows, Virtual PC, QEMU and Xen's tools wrote for these sizes.
TEST(VhdGeometry, IsWhatOtherWritersCompute) {
  struct Case {
    std::uint64_t size;
    Chs chs;
  };
  for (const Case& c : {Case{104448, {3, 4, 17}}, Case{4212736, {121, 4, 17}},
                        Case{10485760, {301, 4, 17}}, Case{41943040, {963, 5, 17}},
                        Case{209715200, {825, 16, 31}}, Case{536870912, {1040, 16, 63}},
                        Case{1073741824, {2080, 16, 63}}, Case{136365211648, {65278, 16, 255}}}) {
    EXPECT_EQ(chs_for(c.size), c.chs) << c.size;
  }
}

TEST(VhdGeometry, StopsAtItsMaximum) {
  EXPECT_EQ(chs_for(kMaxVirtualSize), kMaxChs);
  EXPECT_EQ(kMaxChs.bytes(), 136899993600u);
}

TEST(VhdGeometry, LosesLessThanACylinderAndATrack) {
  for (std::uint64_t size = 512 * 17 * 4; size < 127 * kGiB; size = size * 9 / 8 / 512 * 512) {
    const Chs chs = chs_for(size);
    ASSERT_LE(chs.bytes(), size);
    ASSERT_LT(size - chs.bytes(), 512u * chs.sectors_per_track * (chs.heads + 1u)) << size;
  }
}

TEST(VhdSize, IsTheGeometryOnlyForCreatorsThatMeanIt) {
  constexpr std::uint32_t kGeometry = 301u << 16 | 4u << 8 | 17u;
  constexpr std::uint64_t kSize = 10485760;
  constexpr std::uint64_t kBySectors = std::uint64_t{512} * 301 * 4 * 17;
  for (const char* creator : {"win ", "qem2", "d2v ", "CTXS", "tap", "vbox", "caml", "dutl"}) {
    EXPECT_EQ(
        virtual_size_of(footer_of({.size = kSize, .creator = creator, .geometry = kGeometry})),
        kSize)
        << creator;
  }
  for (const char* creator : {"vpc ", "qemu"}) {
    EXPECT_EQ(
        virtual_size_of(footer_of({.size = kSize, .creator = creator, .geometry = kGeometry})),
        kBySectors)
        << creator;
    EXPECT_EQ(virtual_size_of(footer_of({.size = kSize, .creator = creator, .geometry = 0})),
              kSize);
    EXPECT_EQ(
        virtual_size_of(footer_of({.size = kSize, .creator = creator, .geometry = 0xffff10ff})),
        kSize);
  }
}

TEST(VhdFooter, TimeStampsCountFromTheYear2000) {
  EXPECT_EQ(unix_time(0), 946684800);
  EXPECT_EQ(time_stamp_at(946684800 + 86400), 86400u);
  EXPECT_EQ(time_stamp_at(0), 0u);
  EXPECT_EQ(time_stamp_at(std::int64_t{1} << 40), 0xffffffffu);
}

TEST(VhdFooter, CreatorsAreShownWithoutControlCharacters) {
  Footer footer = footer_of({.size = 512});
  footer.creator_application = {'t', 'a', '\n', '\0'};
  footer.creator_version = 0x00010003;
  EXPECT_EQ(creator_text(footer), "ta. 1.3");
  EXPECT_EQ(creator_os_text(footer), "Wi2k");
}

TEST(VhdFooter, TheChecksumIsOverAllBytesButItsOwn) {
  Footer footer = footer_of({.size = 512});
  EXPECT_EQ(checksum_of(footer), footer.checksum);
  footer.reserved[425] = 1;
  EXPECT_EQ(checksum_of(footer), footer.checksum - 1);
  footer.reserved[425] = 0;
  footer.checksum = 12345u;
  EXPECT_NE(checksum_of(footer), footer.checksum);
}

}  // namespace
}  // namespace openvhd::vhd
