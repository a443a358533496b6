// Merges of real files through the public calls: names, directories, what lies beside.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <openvhd/create.hpp>
#include <openvhd/disk.hpp>
#include <openvhd/merge.hpp>
#include <openvhd/rebase.hpp>

#include "support/bytes.hpp"
#include "support/temp_dir.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kSize = 8 << 20;

/// Says stop at once: what was begun is on record, and little has happened.
class Stop final : public Progress {
 public:
  bool update(std::uint64_t, std::uint64_t) noexcept override { return false; }
};

class MergeFiles : public testing::TestWithParam<const char*> {
 protected:
  std::string name(const std::string& stem) const { return dir_ / (stem + "." + GetParam()); }
  std::string make(const std::string& stem, const std::string& parent = {}) {
    const std::string path = name(stem);
    const Status made =
        create(path, {.type = parent.empty() ? DiskType::dynamic : DiskType::differencing,
                      .virtual_size = parent.empty() ? kSize : 0,
                      .parent = parent});
    EXPECT_TRUE(made) << (made ? "" : made.error().what);
    return path;
  }
  void write(const std::string& path, std::uint64_t at, std::uint64_t seed) {
    auto disk = Disk::open(path, {.access = Access::read_write, .parents = parents()});
    ASSERT_TRUE(disk) << disk.error().what;
    ASSERT_TRUE(disk->write({at}, pattern(4096, seed)));
    ASSERT_TRUE(disk->close());
  }
  std::vector<std::byte> read(const std::string& path) {
    auto disk = Disk::open(path, {.parents = parents()});
    if (!disk) {
      ADD_FAILURE() << path << ": " << disk.error().what;
      return {};
    }
    std::vector<std::byte> out(kSize);
    EXPECT_TRUE(disk->read({}, out));
    return out;
  }
  /// The file keeps its signature, and does not open any more.
  static void spoil(const std::string& path) {
    std::fstream file{path, std::ios::in | std::ios::out | std::ios::binary};
    const bool vhdx = path.ends_with("vhdx");
    for (const int at : {vhdx ? 65536 : 512, vhdx ? 131072 : 520}) {
      file.seekp(at);
      file << "spoilt  ";
    }
    ASSERT_TRUE(file.flush());
  }
  ParentPolicy parents() const { return {.parent_dirs = {dir_.path().string()}}; }
  /// Begins a merge and is stopped at once.
  static void begin(MergeOptions options) {
    Stop stop;
    options.progress = &stop;
    options.reflink = false;
    const auto done = merge(options);
    ASSERT_FALSE(done);
    ASSERT_EQ(done.error().code, Errc::cancelled) << done.error().what;
  }

  TempDir dir_;
};

TEST_P(MergeFiles, AResumeLooksForChildrenWhereTheMergeDid) {
  const std::string base = make("base"), child = make("child", base);
  write(child, 4096, 1);
  std::filesystem::create_directory(dir_ / "elsewhere");
  const std::string other = make("elsewhere/other", child);
  write(other, 1 << 20, 2);
  const auto before = read(other);
  begin({.child = child, .child_dirs = {dir_ / "elsewhere"}});
  const auto done = resume_merge(base, {});
  ASSERT_TRUE(done) << done.error().what;
  EXPECT_EQ(done->reparented, std::vector<std::string>{other});
  EXPECT_TRUE(read(other) == before);
}

TEST_P(MergeFiles, ADamagedImageMayBeAChildAndEndsTheMerge) {
  const std::string base = make("base"), child = make("child", base);
  const std::string sibling = make("sibling", base);
  write(child, 0, 1);
  const auto before = read(base);
  spoil(sibling);
  OpenReport report;
  const auto done = merge({.child = child, .report = &report});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::corrupt) << done.error().what;
  EXPECT_EQ(report.files, std::vector<std::string>{sibling});
  EXPECT_TRUE(read(base) == before);
  EXPECT_TRUE(std::filesystem::exists(child));
}

TEST_P(MergeFiles, AFileThatIsNoImageIsNobodysChild) {
  const std::string base = make("base"), child = make("child", base);
  std::ofstream{name("notes")} << "no image";
  const auto done = merge({.child = child});
  ASSERT_TRUE(done) << done.error().what;
  EXPECT_EQ(done->notes.size(), 1u);
}

TEST_P(MergeFiles, AResumeMayRunInAnotherDirectory) {
  const std::string base = make("base");
  std::filesystem::create_directory(dir_ / "sub");
  const std::string child = make("sub/child", base);
  write(child, 4096, 1);
  const auto before = read(child);
  const auto home = std::filesystem::current_path();
  std::filesystem::current_path(dir_.path());
  begin({.child = std::string{"sub/child."} + GetParam(), .parents = {.parent_dirs = {"."}}});
  std::filesystem::current_path(home);
  const auto done = resume_merge(base, {});
  ASSERT_TRUE(done) << done.error().what;
  EXPECT_EQ(done->removed, std::vector<std::string>{child});
  EXPECT_TRUE(read(base) == before);
}

TEST_P(MergeFiles, AMergeThatCannotBeWrittenDownIsNotBegun) {
  const std::string base = make("base");
  const std::string child = make("not utf-8 \xff", base);
  write(child, 4096, 1);
  const auto before = read(base);
  const auto done = merge({.child = child});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::invalid) << done.error().what;
  EXPECT_TRUE(read(base) == before);
  EXPECT_TRUE(std::filesystem::exists(child));
  EXPECT_FALSE(std::filesystem::exists(base + ".merge"));
}

TEST_P(MergeFiles, WhatIsMissingWithItsDirectoryIsNotDone) {
  const std::string base = make("base");
  std::filesystem::create_directory(dir_ / "sub");
  const std::string child = make("sub/child", base);
  write(child, 4096, 1);
  begin({.child = child, .parents = parents()});
  // As it is when the images are about to be removed.
  std::ifstream in{base + ".merge"};
  std::string text{std::istreambuf_iterator<char>{in}, {}};
  text.replace(text.find("\"copy\""), 6, "\"remove\"");
  std::ofstream{base + ".merge"} << text;
  std::filesystem::rename(dir_ / "sub", dir_ / "away");
  ASSERT_FALSE(resume_merge(base, {}));
  std::filesystem::rename(dir_ / "away", dir_ / "sub");
  EXPECT_TRUE(std::filesystem::exists(base + ".merge"));
}

TEST_P(MergeFiles, SiblingsThatAreGivenUpDoNotOpenFromTheFirstChangeOn) {
  const std::string base = make("base"), between = make("between", base);
  const std::string child = make("child", between);
  const std::string below = make("below", base), beside = make("beside", between);
  write(child, 4096, 1);
  const auto before = read(child);
  begin({.child = child, .into = base, .force_siblings = true});
  for (const std::string& sibling : {below, beside}) {
    const auto disk = Disk::open(sibling, {});
    ASSERT_FALSE(disk) << sibling;
    EXPECT_EQ(disk.error().code, Errc::mismatch) << disk.error().what;
  }
  EXPECT_TRUE(read(child) == before);
  ASSERT_TRUE(resume_merge(base, {}));
  EXPECT_TRUE(read(base) == before);
  EXPECT_FALSE(Disk::open(below, {}));
}

// Of a VHD the copy has the id of what it was copied from, and no other for ever.
TEST_P(MergeFiles, ACopyOfTheChildKeepsItsOwnChild) {
  const std::string base = make("base"), child = make("child", base);
  write(child, 4096, 1);
  const std::string copy = name("copy");
  std::filesystem::copy_file(child, copy);
  const std::string stranger = make("stranger", copy);
  if (std::string{GetParam()} == "vhd") write(copy, 1 << 20, 2);
  const auto before = read(stranger);
  std::string kept;
  {
    std::ifstream in{stranger, std::ios::binary};
    kept.assign(std::istreambuf_iterator<char>{in}, {});
  }
  OpenReport report;
  const auto done = merge({.child = child, .report = &report});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::denied) << done.error().what;
  EXPECT_TRUE(read(stranger) == before);
  if (std::string{GetParam()} == "vhdx") return;  // refused as a sibling: the copy is over base
  const auto forced = merge({.child = child, .force_siblings = true});
  ASSERT_TRUE(forced) << forced.error().what;
  std::ifstream in{stranger, std::ios::binary};
  EXPECT_TRUE(std::string(std::istreambuf_iterator<char>{in}, {}) == kept);
}

TEST_P(MergeFiles, AnImageThatIsBeingMergedKeepsItsParent) {
  const std::string base = make("base"), child = make("child", base), other = make("other");
  write(child, 4096, 1);
  const auto before = read(child);
  begin({.child = child});
  const auto pulled = merge({.child = child, .pull = true});
  ASSERT_FALSE(pulled);
  EXPECT_EQ(pulled.error().code, Errc::denied) << pulled.error().what;
  for (const bool unsafe : {false, true}) {
    const auto rebased = rebase({.child = child, .parent = other, .unsafe = unsafe});
    ASSERT_FALSE(rebased);
    EXPECT_EQ(rebased.error().code, Errc::denied) << rebased.error().what;
  }
  const auto done = resume_merge(base, {});
  ASSERT_TRUE(done) << done.error().what;
  EXPECT_TRUE(read(base) == before);
}

TEST_P(MergeFiles, ARecordIsTrustedUnderAnyUmask) {
  const std::string base = make("base"), child = make("child", base);
  write(child, 4096, 1);
  const mode_t mask = ::umask(0);
  begin({.child = child});
  ::umask(mask);
  const auto done = resume_merge(base, {});
  ASSERT_TRUE(done) << done.error().what;
}

INSTANTIATE_TEST_SUITE_P(Formats, MergeFiles, testing::Values("vhdx", "vhd"),
                         [](const auto& one) { return std::string{one.param}; });

}  // namespace
}  // namespace openvhd::test
