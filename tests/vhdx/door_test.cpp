// open(): from a file to a layer.
#include <gtest/gtest.h>

#include "support/bytes.hpp"
#include "vhdx/image_builder.hpp"
#include "vhdx/load_support.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

Result<OpenedImage> open_store(const std::shared_ptr<MemoryStore>& store, bool file_writable,
                               bool writable) {
  static FixedHost host;  // outlives the layers
  return vhdx::open(
      std::make_unique<MemoryFile>(store, MemoryFile::Options{.writable = file_writable}),
      {.writable = writable}, host);
}

TEST(VhdxOpenDoor, GivesALayerOfTheRightShape) {
  const auto opened = open_store(Image{}.build(), false, false);
  ASSERT_TRUE(opened) << opened.error().what;
  EXPECT_EQ(opened->layer->geometry().virtual_size, 16 * kMegabyte);
  EXPECT_EQ(opened->layer->type(), DiskType::dynamic);
  EXPECT_EQ(opened->layer->parent_link(), nullptr);
}

TEST(VhdxOpenDoor, AFileOpenedForReadingIsNotWritten) {
  const auto opened = open_store(Image{}.build(), false, true);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::read_only);
}

TEST(VhdxOpenDoor, ADirtyImageOpensReadOnlyUnchanged) {
  Image image;
  std::vector<std::byte> log(kMegabyte);
  put_entry(log, 0, {.writes = {{.at = 4 * kMegabyte, .sector = sector_of(1)}}});
  image.make_dirty(log);
  const auto store = image.build();
  MemoryFile file{store};
  const auto before = read_all(file);
  {
    const auto opened = open_store(store, false, false);
    ASSERT_TRUE(opened) << opened.error().what;
    EXPECT_EQ(read_at(*opened->file, 4 * kMegabyte, 4096), sector_of(1));
    EXPECT_EQ(opened->layer->info().log, LogState::dirty);
    EXPECT_EQ(opened->layer->info().replayed_entries, 1u);
  }
  EXPECT_EQ(read_all(file), before);
}

TEST(VhdxOpenDoor, WithoutALogNothingCanBeWritten) {
  Image image;
  for (BuiltHeader& header : image.headers) header.log_at = header.log_length = 0;
  EXPECT_TRUE(open_store(image.build(), false, false));
  const auto opened = open_store(image.build(), true, true);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::unsupported);
}

TEST(VhdxOpenDoor, ALogThatCouldNotBeReplayedIsNotWritten) {
  for (const std::uint32_t mebibytes : {256u, 257u}) {
    SCOPED_TRACE(mebibytes);
    Image image;
    for (BuiltHeader& header : image.headers) {
      header.log_at = 5 * kMegabyte;
      header.log_length = static_cast<std::uint32_t>(mebibytes * kMegabyte);
    }
    image.file_bytes = (5 + mebibytes) * kMegabyte;
    EXPECT_TRUE(open_store(image.build(), false, false));
    const auto opened = open_store(image.build(), true, true);
    ASSERT_EQ(bool{opened}, mebibytes == 256);
    if (opened) continue;
    EXPECT_EQ(opened.error().code, Errc::unsupported);
    EXPECT_EQ(opened.error().where.value, 5 * kMegabyte);
    EXPECT_NE(std::string{opened.error().what}.find("D6"), std::string::npos);
  }
}

TEST(VhdxOpenDoor, AChildTellsItsParent) {
  Image image;
  image.add_parent({{"parent_linkage", "{" + kLogGuid + "}"}, {"relative_path", ".\\p.vhdx"}});
  const auto opened = open_store(image.build(), false, false);
  ASSERT_TRUE(opened) << opened.error().what;
  ASSERT_NE(opened->layer->parent_link(), nullptr);
  EXPECT_EQ(to_string(opened->layer->parent_link()->linkage), kLogGuid);
}

}  // namespace
}  // namespace openvhd::test
