#include <gtest/gtest.h>

#include <algorithm>
#include <openvhd/convert.hpp>

#include "image/convert/convert_reflink.hpp"
#include "image/convert/disk_side.hpp"
#include "image/convert/disks.hpp"
#include "image/convert/fake_endpoint.hpp"
#include "io/borrowed_file.hpp"
#include "io/host.hpp"
#include "io/posix_file.hpp"
#include "support/program.hpp"
#include "support/temp_dir.hpp"

namespace openvhd {
namespace {

using test::kKinds;
using test::run_program;

constexpr std::uint64_t kMiB = 1 << 20;

/// An XFS in a file, mounted for as long as the test runs. Needs root and loop devices.
class Reflink : public testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_program("mkfs.xfs") || !test::have_program("mount")) {
      GTEST_SKIP() << "needs mkfs.xfs and mount";
    }
    const std::string image = directory_ / "xfs";
    mount_ = directory_ / "mnt";
    std::filesystem::create_directory(mount_);
    run_program({"truncate", "-s", "1G", image});
    if (run_program({"mkfs.xfs", "-q", "-m", "reflink=1", image}).exit_code != 0 ||
        run_program({"mount", "-o", "loop", image, mount_}).exit_code != 0) {
      GTEST_SKIP() << "cannot mount an XFS here: not root, or no loop devices";
    }
    mounted_ = true;
  }
  void TearDown() override {
    if (!mounted_) return;
    EXPECT_EQ(run_program({"umount", mount_}).exit_code, 0);
  }
  std::string file(const std::string& name) const { return mount_ + "/" + name; }

  test::TempDir directory_;
  std::string mount_;
  bool mounted_ = false;
};

TEST_F(Reflink, EveryPairOfKindsSharesWhatIsAligned) {
  auto bytes = test::contents_with_holes(40 * kMiB, 3);
  std::copy_n(test::pattern(8 * kMiB, 4).begin(), 8 * kMiB, bytes.begin() + 16 * kMiB);
  for (const test::Kind& from : kKinds) {
    const std::string source = file("source");
    ASSERT_EQ(test::make_image(source, {.format = from.format, .type = from.type}, bytes), "");
    for (const test::Kind& to : kKinds) {
      ConvertOptions options;
      options.source = source;
      options.source_format = from.format;
      options.target = file("target");
      options.create.format = to.format;
      options.create.type = to.type;
      const auto result = convert(options);
      ASSERT_TRUE(result) << result.error().what;
      EXPECT_GT(result->cloned_bytes, 8 * kMiB) << from.name << " to " << to.name;
      EXPECT_LT(result->copied_bytes, kMiB) << from.name << " to " << to.name;
      EXPECT_TRUE(test::read_image(options.target, to.format) == bytes)
          << from.name << " to " << to.name;
      std::filesystem::remove(options.target);
    }
    std::filesystem::remove(source);
  }
}

/// A file on a host that shares extents, as far as anybody can tell who does not look at blocks.
class SharingFile final : public BorrowedFile {
 public:
  explicit SharingFile(File& file) : BorrowedFile{file}, file_{file} {}
  Status clone_from(File& source, FileOffset from, FileOffset to,
                    std::uint64_t length) noexcept override {
    ++calls;
    std::vector<std::byte> bytes(length);
    if (auto got = source.read_exact(from, bytes, "shorter than what is shared"); !got) return got;
    return file_.write_all(to, bytes);
  }
  unsigned calls = 0;

 private:
  File& file_;
};

TEST(ReflinkCalls, BlocksThatLieSideBySideInBothFilesAreSharedTogether) {
  const test::TempDir directory;
  const auto bytes = test::pattern(40 * kMiB, 3);
  test::write_file(directory / "source", bytes);
  const std::string target = directory / "target.vhdx";
  ASSERT_TRUE(create(target, {.virtual_size = bytes.size(), .block_size = kMiB}));
  auto source =
      detail::DiskState::open(directory / "source", {.format = Format::raw}, system_host());
  ASSERT_TRUE(source);
  auto opened = PosixFile::open(target, {.writable = true});
  ASSERT_TRUE(opened);
  SharingFile file{**opened};
  auto disk = disk_in(file, target, Format::vhdx, true);
  ASSERT_TRUE(disk);
  const auto cloned =
      clone_extents(**source, **disk, {.length = bytes.size(), .total = bytes.size()});
  ASSERT_TRUE(cloned);
  EXPECT_EQ(cloned->bytes, bytes.size());
  EXPECT_TRUE(cloned->rest.empty());
  // One to see that it works, one for the rest.
  EXPECT_LE(file.calls, 2u);
  ASSERT_TRUE((*disk)->close());
  opened->reset();
  EXPECT_TRUE(test::read_image(target, Format::vhdx) == bytes);
}

TEST_F(Reflink, PartsThatAreNotAlignedAreCopied) {
  const auto bytes = test::pattern(8 * kMiB, 3);
  test::write_file(file("source"), bytes);
  for (const std::uint64_t at : {std::uint64_t{512}, kMiB + 1, 2 * kMiB}) {
    ConvertOptions options;
    options.source = file("source");
    options.source_format = Format::raw;
    options.target = file("target.vhdx");
    options.offset = {at};
    options.length = 4 * kMiB + 512;
    options.create.overwrite = true;
    const auto result = convert(options);
    ASSERT_TRUE(result) << result.error().what;
    EXPECT_EQ(result->cloned_bytes > 0, at % 4096 == 0) << at;
    EXPECT_TRUE(std::ranges::equal(test::read_image(options.target, Format::vhdx),
                                   std::span{bytes}.subspan(at, *options.length)))
        << at;
  }
}

TEST_F(Reflink, WritingToTheTargetLeavesTheSourceAsItWas) {
  const auto bytes = test::pattern(8 * kMiB, 3);
  test::write_file(file("source"), bytes);
  ConvertOptions options;
  options.source = file("source");
  options.source_format = Format::raw;
  options.target = file("target.vhdx");
  ASSERT_TRUE(convert(options));
  {
    auto disk = Disk::open(options.target, {.access = Access::read_write});
    ASSERT_TRUE(disk);
    ASSERT_TRUE(disk->write({kMiB}, test::pattern(kMiB, 9)));
    ASSERT_TRUE(disk->close());
  }
  EXPECT_TRUE(test::read_file(options.source) == bytes);
}

TEST_F(Reflink, CopyingIsThereWhereSharingIsNotWanted) {
  test::write_file(file("source"), test::pattern(8 * kMiB, 3));
  ConvertOptions options;
  options.source = file("source");
  options.source_format = Format::raw;
  options.target = file("target.vhdx");
  options.reflink = false;
  const auto result = convert(options);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->cloned_bytes, 0u);
  EXPECT_EQ(result->copied_bytes, 8 * kMiB);
}

}  // namespace
}  // namespace openvhd
