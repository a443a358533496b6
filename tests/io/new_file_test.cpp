#include "io/new_file.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "support/bytes.hpp"
#include "support/temp_dir.hpp"

namespace openvhd {
namespace {

namespace fs = std::filesystem;
using test::bytes_of;
using test::patch;
using test::read_all;

std::vector<std::byte> contents(const std::string& path) {
  return read_all(**PosixFile::open(path, {}));
}

class NewFileTest : public ::testing::Test {
 protected:
  std::size_t entries() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator{dir_.path()}, fs::directory_iterator{}));
  }
  void write_old() const { std::ofstream{path_} << "old"; }

  test::TempDir dir_;
  std::string path_ = dir_ / "image";
};

TEST_F(NewFileTest, CommitKeepsTheFile) {
  {
    auto made = NewFile::create(path_, {});
    ASSERT_TRUE(made);
    patch(made->file(), 0, bytes_of("new"));
    // Who is killed here leaves nothing under the name.
    EXPECT_FALSE(fs::exists(path_));
    EXPECT_EQ(entries(), 1u);
    EXPECT_TRUE(made->commit());
    EXPECT_EQ(PosixFile::open(path_, {.lock = Lock::reader}).error().code, Errc::busy);
  }
  EXPECT_EQ(contents(path_), bytes_of("new"));
  EXPECT_EQ(entries(), 1u);
}

TEST_F(NewFileTest, WithoutCommitNothingIsLeft) {
  {
    auto made = NewFile::create(path_, {});
    ASSERT_TRUE(made);
    patch(made->file(), 0, bytes_of("new"));
  }
  EXPECT_EQ(entries(), 0u);
}

TEST_F(NewFileTest, AnExistingFileStaysUnlessOverwritingIsAsked) {
  write_old();
  EXPECT_EQ(NewFile::create(path_, {}).error().code, Errc::invalid);
  EXPECT_EQ(contents(path_), bytes_of("old"));
  {
    auto made = NewFile::create(path_, {.overwrite = true});
    ASSERT_TRUE(made);
    patch(made->file(), 0, bytes_of("newer"));
    EXPECT_EQ(contents(path_), bytes_of("old"));
  }
  EXPECT_EQ(contents(path_), bytes_of("old"));
  EXPECT_EQ(entries(), 1u);
}

TEST_F(NewFileTest, OverwritingTakesPlaceAndMode) {
  write_old();
  ASSERT_EQ(::chmod(path_.c_str(), 0640), 0);
  auto made = NewFile::create(path_, {.overwrite = true});
  ASSERT_TRUE(made);
  patch(made->file(), 0, bytes_of("newer"));
  ASSERT_TRUE(made->commit());
  EXPECT_EQ(contents(path_), bytes_of("newer"));
  EXPECT_EQ(entries(), 1u);
  EXPECT_EQ(fs::status(path_).permissions(), fs::perms{0640});
  const auto file = std::move(*made).take();
  EXPECT_EQ(*file->size(), 5u);
}

TEST_F(NewFileTest, AFileInUseIsNotReplaced) {
  write_old();
  const auto reader = PosixFile::open(path_, {.lock = Lock::reader});
  EXPECT_EQ(NewFile::create(path_, {.overwrite = true}).error().code, Errc::busy);
  EXPECT_EQ(entries(), 1u);
}

TEST_F(NewFileTest, ALinkKeepsPointingToWhatIsReplaced) {
  write_old();
  fs::create_symlink("image", dir_ / "link");
  EXPECT_EQ(NewFile::create(dir_ / "link", {}).error().code, Errc::invalid);
  auto made = NewFile::create(dir_ / "link", {.overwrite = true});
  ASSERT_TRUE(made);
  patch(made->file(), 0, bytes_of("new"));
  ASSERT_TRUE(made->commit());
  EXPECT_TRUE(fs::is_symlink(dir_ / "link"));
  EXPECT_EQ(contents(path_), bytes_of("new"));
}

TEST_F(NewFileTest, ANameThatIsTakenMeanwhileStaysWithItsFile) {
  for (const bool overwrite : {false, true}) {
    fs::remove(path_);
    {
      auto made = NewFile::create(path_, {.overwrite = overwrite});
      ASSERT_TRUE(made);
      patch(made->file(), 0, bytes_of("new"));
      write_old();
      EXPECT_EQ(made->commit().error().code, Errc::invalid);
    }
    EXPECT_EQ(contents(path_), bytes_of("old"));
    EXPECT_EQ(entries(), 1u);
  }
}

TEST_F(NewFileTest, SomebodyElsesFileIsNotRemoved) {
  fs::path moved;
  {
    auto made = NewFile::create(path_, {});
    ASSERT_TRUE(made);
    moved = fs::directory_iterator { dir_.path() } -> path();
    fs::remove(moved);
    std::ofstream{moved} << "old";
  }
  EXPECT_EQ(contents(moved), bytes_of("old"));
}

TEST_F(NewFileTest, LongNamesGetAShorterTemporaryName) {
  const std::string path = dir_ / std::string(255, 'n');
  for (const bool overwrite : {false, true}) {
    auto made = NewFile::create(path, {.overwrite = overwrite});
    ASSERT_TRUE(made);
    EXPECT_TRUE(made->commit());
    EXPECT_TRUE(fs::exists(path));
  }
}

TEST_F(NewFileTest, ALinkThatLeadsNowhereIsNotReplaced) {
  fs::create_symlink("none", path_);
  for (const bool overwrite : {false, true})
    EXPECT_EQ(NewFile::create(path_, {.overwrite = overwrite}).error().code, Errc::invalid);
  EXPECT_TRUE(fs::is_symlink(path_));
  EXPECT_EQ(entries(), 1u);
}

TEST_F(NewFileTest, PathsWithoutAFileNameAreRefused) {
  for (const std::string& path : {std::string{}, dir_ / ".", dir_ / "..", dir_ / ""})
    EXPECT_EQ(NewFile::create(path, {}).error().code, Errc::invalid) << path;
  EXPECT_EQ(NewFile::create(dir_ / "none/image", {}).error().code, Errc::not_found);
  EXPECT_EQ(NewFile::create(dir_.path().string(), {.overwrite = true}).error().code, Errc::denied);
}

}  // namespace
}  // namespace openvhd
