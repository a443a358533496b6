#include <gtest/gtest.h>
#include <openvhd/openvhd.h>

#include <cerrno>
#include <fstream>
#include <thread>

#include "c/options.hpp"
#include "image/disk_fixture.hpp"

namespace openvhd {
namespace {

using test::kMiB;

class CTest : public test::DiskTest {
 protected:
  std::string new_vhdx() { return made("a.vhdx", {.virtual_size = 16 * kMiB}); }
  static ovhd_disk* open_disk(const std::string& file, ovhd_access access) {
    ovhd_open_options options;
    ovhd_open_options_init(&options, sizeof options);
    options.access = access;
    ovhd_disk* disk = nullptr;
    EXPECT_EQ(ovhd_open(file.c_str(), &options, &disk), 0) << ovhd_message();
    return disk;
  }
};

TEST_F(CTest, FailuresNameFileOffsetAndRule) {
  const std::string file = new_vhdx();
  {
    // Both headers: there is no good copy.
    std::fstream out{file, std::ios::in | std::ios::out | std::ios::binary};
    for (const int at : {64 << 10, 128 << 10}) out.seekp(at).write("gone", 4);
  }
  ovhd_disk* disk = nullptr;
  EXPECT_EQ(ovhd_open(file.c_str(), nullptr, &disk), -EUCLEAN);
  EXPECT_EQ(disk, nullptr);
  EXPECT_EQ(ovhd_reason(), OVHD_CORRUPT);
  EXPECT_EQ(std::string{ovhd_message()}.rfind(file + ": 0x", 0), 0U) << ovhd_message();
  EXPECT_STREQ(ovhd_reason_name(ovhd_reason()), "corrupt");
  EXPECT_EQ(ovhd_open((file + "x").c_str(), nullptr, &disk), -ENOENT);
  EXPECT_EQ(ovhd_reason(), OVHD_NOT_FOUND);
  EXPECT_NE(std::string{ovhd_message()}.find(file + "x: "), std::string::npos);
}

TEST_F(CTest, EachThreadHasItsOwnFailure) {
  ovhd_disk* disk = nullptr;
  EXPECT_EQ(ovhd_open(path("not-there").c_str(), nullptr, &disk), -ENOENT);
  std::thread{[] {
    EXPECT_EQ(ovhd_reason(), OVHD_NO_ERROR);
    EXPECT_STREQ(ovhd_message(), "");
    EXPECT_EQ(ovhd_open(nullptr, nullptr, nullptr), -EINVAL);
    EXPECT_EQ(ovhd_reason(), OVHD_INVALID);
  }}.join();
  EXPECT_EQ(ovhd_reason(), OVHD_NOT_FOUND);
}

TEST_F(CTest, AReaderChangesNothingAndAWriterIsAlone) {
  const std::string file = new_vhdx();
  ovhd_disk* const reader = open_disk(file, OVHD_READ_ONLY);
  EXPECT_EQ(ovhd_write(reader, "x", 1, 0, 0), -EROFS);
  EXPECT_EQ(ovhd_flush(reader), -EROFS);
  EXPECT_EQ(ovhd_reason(), OVHD_READ_ONLY_DISK);
  ovhd_open_options options;
  ovhd_open_options_init(&options, sizeof options);
  options.access = OVHD_READ_WRITE;
  ovhd_disk* writer = nullptr;
  EXPECT_EQ(ovhd_open(file.c_str(), &options, &writer), -EBUSY);
  EXPECT_EQ(ovhd_close(reader), 0);
  EXPECT_EQ(ovhd_open(file.c_str(), &options, &writer), 0);
  EXPECT_EQ(ovhd_write(writer, "x", 1, 16 * kMiB, 0), -ERANGE);
  EXPECT_EQ(ovhd_write(writer, "x", 1, 0, 2), -EINVAL);
  EXPECT_EQ(ovhd_close(writer), 0);
}

TEST_F(CTest, AnExistingFileStays) {
  const std::string file = new_vhdx();
  ovhd_create_options options;
  ovhd_create_options_init(&options, sizeof options);
  options.virtual_size = kMiB;
  const auto before = file_bytes(file);
  EXPECT_EQ(ovhd_create(file.c_str(), &options), -EEXIST) << ovhd_message();
  EXPECT_EQ(file_bytes(file), before);
  options.virtual_size = 1000;
  EXPECT_EQ(ovhd_create(path("b.vhdx").c_str(), &options), -EINVAL);
  EXPECT_FALSE(std::filesystem::exists(path("b.vhdx")));
}

TEST_F(CTest, ArgumentsOutOfRangeAreRefused) {
  const std::string file = new_vhdx();
  ovhd_open_options options;
  ovhd_disk* disk = nullptr;
  ovhd_open_options_init(&options, sizeof options);
  options.access = static_cast<ovhd_access>(3);
  EXPECT_EQ(ovhd_open(file.c_str(), &options, &disk), -EINVAL);
  ovhd_open_options_init(&options, sizeof options);
  options.struct_size = 8;
  EXPECT_EQ(ovhd_open(file.c_str(), &options, &disk), -EINVAL);
  ovhd_open_options_init(&options, sizeof options);
  options.parents.dir_count = 1;
  EXPECT_EQ(ovhd_open(file.c_str(), &options, &disk), -EINVAL);
  const char* const names[] = {nullptr};
  options.parents.dirs = names;
  EXPECT_EQ(ovhd_open(file.c_str(), &options, &disk), -EINVAL);
  EXPECT_EQ(disk, nullptr);
}

// A program that was compiled against a later header, with members that we do not know.
TEST_F(CTest, LaterStructuresAreTakenWhileWhatIsNewIsNotUsed) {
  struct Later {
    ovhd_open_options known;
    std::uint64_t more;
  };
  const std::string file = new_vhdx();
  Later options;
  ovhd_open_options_init(&options.known, sizeof options);
  EXPECT_EQ(options.more, 0U);
  EXPECT_EQ(options.known.struct_size, sizeof options);
  ovhd_disk* disk = nullptr;
  ASSERT_EQ(ovhd_open(file.c_str(), &options.known, &disk), 0) << ovhd_message();
  struct {
    ovhd_geometry known;
    std::uint64_t more;
  } geometry{};
  geometry.known.struct_size = sizeof geometry;
  geometry.more = 7;
  EXPECT_EQ(ovhd_get_geometry(disk, &geometry.known), 0);
  EXPECT_EQ(geometry.known.virtual_size, 16 * kMiB);
  EXPECT_EQ(geometry.known.struct_size, sizeof geometry);
  EXPECT_EQ(geometry.more, 7U);
  EXPECT_EQ(ovhd_close(disk), 0);
  options.more = 1;
  EXPECT_EQ(ovhd_open(file.c_str(), &options.known, &disk), -EINVAL);
}

TEST_F(CTest, EveryReasonHasANameAndANumber) {
  for (int i = 0; i <= static_cast<int>(Errc::cancelled); ++i) {
    const Error error{.code = static_cast<Errc>(i)};
    EXPECT_LT(c::number_of(error), 0) << i;
    EXPECT_EQ(c::fail(error, "file"), c::number_of(error));
    EXPECT_STREQ(ovhd_reason_name(ovhd_reason()), to_string(error.code));
  }
  EXPECT_EQ(c::number_of({.code = Errc::io, .sys_errno = ENXIO}), -ENXIO);
  EXPECT_STREQ(ovhd_reason_name(OVHD_NO_ERROR), "none");
}

TEST_F(CTest, CheckpointsKeepStatesAndGoBack) {
  const std::string file = new_vhdx();
  const auto put = [](const char* path, char byte) {
    ovhd_disk* const disk = open_disk(path, OVHD_READ_WRITE);
    EXPECT_EQ(ovhd_write(disk, &byte, 1, 4096, OVHD_DURABLE), 0) << ovhd_message();
    EXPECT_EQ(ovhd_close(disk), 0);
  };
  const auto get = [](const char* path) {
    char byte = 0;
    ovhd_disk* const disk = open_disk(path, OVHD_READ_ONLY);
    EXPECT_EQ(ovhd_read(disk, &byte, 1, 4096), 0) << ovhd_message();
    EXPECT_EQ(ovhd_close(disk), 0);
    return byte;
  };
  put(file.c_str(), 'a');
  ovhd_checkpoints* tree = nullptr;
  ASSERT_EQ(ovhd_checkpoint_create(file.c_str(), "first", &tree), 0) << ovhd_message();
  ASSERT_EQ(ovhd_checkpoints_count(tree), 1U);
  ovhd_checkpoint first;
  ASSERT_EQ(ovhd_checkpoints_get(tree, 0, &first), 0);
  EXPECT_STREQ(first.name, "first");
  EXPECT_EQ(first.file, file);
  EXPECT_EQ(first.parent, nullptr);
  EXPECT_STREQ(first.id, ovhd_checkpoints_current_parent(tree));
  EXPECT_EQ(ovhd_checkpoints_get(tree, 1, &first), -ERANGE);
  const std::string current = ovhd_checkpoints_current(tree);
  ovhd_checkpoints_free(tree);
  put(current.c_str(), 'b');
  EXPECT_EQ(get(current.c_str()), 'b');

  // Busy, and nobody wants the tree.
  ovhd_disk* const reader = open_disk(current, OVHD_READ_ONLY);
  EXPECT_EQ(ovhd_checkpoint_apply(current.c_str(), "first", 1, nullptr), -EBUSY);
  EXPECT_EQ(ovhd_close(reader), 0);
  EXPECT_EQ(ovhd_checkpoint_rename(current.c_str(), "first", "1st", nullptr), 0);
  EXPECT_EQ(ovhd_checkpoint_apply(current.c_str(), "first", 1, &tree), -ENOENT);
  EXPECT_EQ(tree, nullptr);
  ASSERT_EQ(ovhd_checkpoint_apply(current.c_str(), "1st", 1, &tree), 0) << ovhd_message();
  EXPECT_EQ(get(ovhd_checkpoints_current(tree)), 'a');
  ovhd_checkpoints_free(tree);
  ASSERT_EQ(ovhd_checkpoint_delete(file.c_str(), "1st", nullptr, nullptr, &tree), 0)
      << ovhd_message();
  EXPECT_EQ(ovhd_checkpoints_count(tree), 0U);
  EXPECT_EQ(ovhd_checkpoints_current_parent(tree), nullptr);
  EXPECT_EQ(get(ovhd_checkpoints_current(tree)), 'a');
  ovhd_checkpoints_free(tree);
  EXPECT_EQ(ovhd_checkpoint_list(nullptr, &tree), -EINVAL);
  EXPECT_EQ(ovhd_checkpoint_delete(file.c_str(), nullptr, nullptr, nullptr, nullptr), -EINVAL);
}

}  // namespace
}  // namespace openvhd
