// Merges of real files through the public calls: names, directories, what lies beside.
#include <gtest/gtest.h>

#include <filesystem>
#include <openvhd/create.hpp>
#include <openvhd/disk.hpp>
#include <openvhd/merge.hpp>

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

INSTANTIATE_TEST_SUITE_P(Formats, MergeFiles, testing::Values("vhdx", "vhd"),
                         [](const auto& one) { return std::string{one.param}; });

}  // namespace
}  // namespace openvhd::test
