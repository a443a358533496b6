#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <openvhd/create.hpp>
#include <openvhd/disk.hpp>
#include <openvhd/queue.hpp>
#include <string>
#include <vector>

#include "image/disk_fixture.hpp"
#include "support/bytes.hpp"

namespace openvhd::test {
namespace {

TEST_F(DiskTest, BytesNeedNoAlignment) {
  for (const std::uint32_t sector : {512u, 4096u}) {
    const auto file = made("d" + std::to_string(sector) + ".vhdx",
                           {.virtual_size = 8 * kMiB, .logical_sector_size = sector});
    Disk disk = opened(file);
    const auto bytes = pattern(10'001, 3);
    ASSERT_TRUE(disk.write({777}, bytes));
    ASSERT_TRUE(disk.zero({1000}, 4097));
    std::vector<std::byte> got(12'000);
    ASSERT_TRUE(disk.read({0}, got));
    std::vector<std::byte> wanted(12'000);
    std::memcpy(wanted.data() + 777, bytes.data(), bytes.size());
    std::memset(wanted.data() + 1000, 0, 4097);
    EXPECT_EQ(got, wanted) << sector;
    EXPECT_EQ(disk.read({8 * kMiB - 1}, std::span{got}.first(2)).error().code, Errc::out_of_range);
    ASSERT_TRUE(disk.close());
  }
}

TEST_F(DiskTest, AWritableOpenThatWritesNothingChangesNothing) {
  for (const char* name : {"d.vhd", "d.vhdx"}) {
    const auto file = made(name, {.virtual_size = 8 * kMiB});
    const auto before = file_bytes(file);
    {
      Disk disk = opened(file);
      std::vector<std::byte> got(4096);
      ASSERT_TRUE(disk.read({0}, got));
      ASSERT_TRUE(disk.flush());
      ASSERT_TRUE(disk.close());
    }
    EXPECT_EQ(file_bytes(file), before) << name;
  }
}

TEST_F(DiskTest, AReadOnlyDiskRefusesChanges) {
  Disk disk = opened(made("d.vhdx", {.virtual_size = 8 * kMiB}), Access::read_only);
  const std::vector<std::byte> bytes(512);
  EXPECT_EQ(disk.write({0}, bytes).error().code, Errc::read_only);
  EXPECT_EQ(disk.zero({0}, 512).error().code, Errc::read_only);
  EXPECT_EQ(disk.trim({0}, 512).error().code, Errc::read_only);
}

TEST_F(DiskTest, AChildReadsThroughAndHidesItsParent) {
  for (const std::string ending : {".vhd", ".vhdx"}) {
    const auto base = made("base" + ending, {.virtual_size = 8 * kMiB});
    {
      Disk disk = opened(base);
      ASSERT_TRUE(disk.write({0}, filled(kMiB, 1)));
      ASSERT_TRUE(disk.close());
    }
    const auto parent_before = file_bytes(base);
    const auto child = made("child" + ending, {.type = DiskType::differencing, .parent = base});
    Disk disk = opened(child);
    EXPECT_EQ(disk.files().size(), 2u);
    ASSERT_TRUE(disk.write({4096}, filled(512, 2)));
    ASSERT_TRUE(disk.zero({8192}, 512));
    std::vector<std::byte> got(16384);
    ASSERT_TRUE(disk.read({0}, got));
    EXPECT_EQ(got[4095], std::byte{1});
    EXPECT_EQ(got[4096], std::byte{2});
    EXPECT_EQ(got[4608], std::byte{1});
    EXPECT_EQ(got[8192], std::byte{0});
    EXPECT_EQ(got[8704], std::byte{1});
    ASSERT_TRUE(disk.close());
    EXPECT_EQ(file_bytes(base), parent_before) << "a parent is never written";
  }
}

TEST_F(DiskTest, AChainIsMadeAsDeepAsItCanBeOpened) {
  std::string parent = made("0.vhdx", {.virtual_size = kMiB, .block_size = kMiB});
  for (int level = 1; level < 64; ++level) {
    parent = made(std::to_string(level) + ".vhdx",
                  {.type = DiskType::differencing, .block_size = kMiB, .parent = parent});
  }
  EXPECT_EQ(opened(parent, Access::read_only).files().size(), 64u);
  const Status one_more =
      create(path("64.vhdx"), {.type = DiskType::differencing, .parent = parent});
  EXPECT_EQ(one_more.error().code, Errc::unsupported);
}

TEST_F(DiskTest, AParentInAnotherDirectoryIsFoundWhereTheOperatorSays) {
  for (const std::string ending : {".vhd", ".vhdx"}) {
    const auto base = made("base" + ending, {.virtual_size = 8 * kMiB});
    std::filesystem::create_directory(folder_ / "child");
    OpenReport report;
    const auto child = made(
        "child/c" + ending,
        {.type = DiskType::differencing, .parent = base, .overwrite = true, .report = &report});
    EXPECT_EQ(report.notes.empty(), false) << "creation says that it must be named";
    EXPECT_EQ(Disk::open(child, {}).error().code, Errc::denied);
    EXPECT_TRUE(Disk::open(child, {.parents = {.parent_dirs = {folder_.string()}}}));
    EXPECT_TRUE(Disk::open(child, {.parents = {.chain = {{.path = base}}}}));
  }
}

// C01: "mostly right" is wrong.
TEST_F(DiskTest, AParentThatChangedIsRefused) {
  const auto base = made("base.vhdx", {.virtual_size = 8 * kMiB});
  const auto child = made("child.vhdx", {.type = DiskType::differencing, .parent = base});
  {
    Disk disk = opened(base);
    ASSERT_TRUE(disk.write({0}, filled(512, 9)));
    ASSERT_TRUE(disk.close());
  }
  EXPECT_EQ(Disk::open(child, {}).error().code, Errc::mismatch);
}

TEST_F(DiskTest, RawIsNeverGuessed) {
  std::ofstream{path("d.img")} << std::string(4096, 'x');
  EXPECT_EQ(Disk::open(path("d.img"), {}).error().code, Errc::unsupported);
  auto named = Disk::open(path("d.img"), {.format = Format::raw});
  ASSERT_TRUE(named);
  EXPECT_EQ(named->geometry().virtual_size, 4096u);
}

/// Where the BAT of a VHDX begins: its entry in the first region table, found by its GUID.
std::uint64_t bat_offset(const std::vector<std::byte>& image) {
  constexpr std::array<unsigned char, 4> kBatGuid{0x66, 0x77, 0xc2, 0x2d};
  for (std::size_t entry = (192 << 10) + 16;; entry += 32) {
    if (std::memcmp(image.data() + entry, kBatGuid.data(), kBatGuid.size()) != 0) continue;
    std::uint64_t offset = 0;
    std::memcpy(&offset, image.data() + entry + 16, sizeof offset);
    return offset;
  }
}

// X14: the entries that clash need not be those of the blocks that are written.
TEST_F(DiskTest, AnImageWithASharedBlockIsRefusedBeforeAByteOfItChanges) {
  const auto file = made("d.vhdx", {.virtual_size = 8 * kMiB, .block_size = kMiB});
  {
    Disk disk = opened(file);
    ASSERT_TRUE(disk.write({0}, filled(3 * kMiB, 5)));
    ASSERT_TRUE(disk.close());
  }
  {
    const auto bytes = file_bytes(file);
    const std::uint64_t bat = bat_offset(bytes);
    std::fstream damage{file, std::ios::in | std::ios::out | std::ios::binary};
    damage.seekp(static_cast<std::streamoff>(bat + 8));
    damage.write(reinterpret_cast<const char*>(bytes.data() + bat), 8);  // block 1 is block 0
  }
  const auto before = file_bytes(file);
  {
    Disk disk = opened(file);
    const Status overwrite = disk.write({2 * kMiB}, filled(512, 1));
    ASSERT_FALSE(overwrite);
    EXPECT_EQ(overwrite.error().code, Errc::corrupt);
    EXPECT_EQ(disk.write({7 * kMiB}, filled(512, 1)).error().code, Errc::corrupt);
    EXPECT_EQ(disk.trim({2 * kMiB}, kMiB).error().code, Errc::corrupt);
  }
  EXPECT_EQ(file_bytes(file), before);
}

TEST_F(DiskTest, MapTellsDataZerosAndHoles) {
  const auto file = made("d.vhdx", {.virtual_size = 8 * kMiB, .block_size = kMiB});
  Disk disk = opened(file);
  ASSERT_TRUE(disk.write({2 * kMiB}, filled(kMiB, 5)));
  ASSERT_TRUE(disk.zero({4 * kMiB}, kMiB));
  ASSERT_TRUE(disk.flush());
  const auto hole = disk.map({0}, 8 * kMiB);
  ASSERT_TRUE(hole);
  EXPECT_EQ(hole->kind, MapEntry::Kind::hole);
  const auto data = disk.map({2 * kMiB}, 4096);
  ASSERT_TRUE(data);
  EXPECT_EQ(data->kind, MapEntry::Kind::data);
  EXPECT_GE(data->host_offset.value, kMiB);
}

TEST_F(DiskTest, CreationRefusesContradictions) {
  const auto refused = [&](const std::string& name, const CreateOptions& options) {
    const Status status = create(path(name), options);
    EXPECT_FALSE(status) << name;
    EXPECT_FALSE(std::filesystem::exists(path(name))) << "nothing is left behind";
    return status ? Errc{} : status.error().code;
  };
  EXPECT_EQ(refused("a.vhdx", {}), Errc::invalid);
  EXPECT_EQ(refused("a.qcow2", {.virtual_size = kMiB}), Errc::invalid);
  EXPECT_EQ(refused("a.vhdx", {.virtual_size = 1000}), Errc::invalid);
  EXPECT_EQ(refused("a.vhdx", {.virtual_size = 65 * (std::uint64_t{1} << 40)}), Errc::invalid);
  EXPECT_EQ(refused("a.vhdx", {.virtual_size = kMiB, .block_size = 3 * kMiB}), Errc::invalid);
  EXPECT_EQ(refused("a.vhd", {.virtual_size = std::uint64_t{2041} << 30}), Errc::invalid);
  EXPECT_EQ(refused("a.vhd", {.virtual_size = kMiB, .logical_sector_size = 4096}), Errc::invalid);
  EXPECT_EQ(refused("a.vhd", {.virtual_size = kMiB, .log_size = kMiB}), Errc::invalid);
  EXPECT_EQ(refused("a.vhd", {.virtual_size = 30 * kMiB, .azure = true}), Errc::invalid);
  EXPECT_EQ(refused("a.vhdx", {.type = DiskType::differencing}), Errc::invalid);
  EXPECT_EQ(refused("a.vhdx", {.type = DiskType::differencing, .parent = path("none.vhdx")}),
            Errc::not_found);
}

TEST_F(DiskTest, KeepsNoMoreOfTheTableThanItIsTold) {
  constexpr std::uint64_t kPage = 8192 * kMiB;  // of the disk, behind 64 KiB of table
  constexpr std::uint64_t kPages = 40;
  const std::string file = made("wide.vhdx", {.virtual_size = kPages * kPage, .block_size = kMiB});
  {
    Disk disk = opened(file);
    for (std::uint64_t i = 0; i < kPages; ++i)
      ASSERT_TRUE(disk.write({i * kPage}, pattern(4096, i)));
    ASSERT_TRUE(disk.close());
  }
  const auto reads = [&](std::uint64_t budget) {
    auto disk = Disk::open(file, {.table_cache_bytes = budget});
    EXPECT_TRUE(disk);
    std::vector<std::byte> bytes(4096);
    for (int round = 0; round < 3; ++round) {
      for (std::uint64_t i = 0; i < kPages; ++i) EXPECT_TRUE(disk->read({i * kPage}, bytes));
    }
    return image_statistics(*disk).metadata_reads;
  };
  EXPECT_EQ(reads(std::uint64_t{64} << 20), kPages);
  EXPECT_GE(reads(kMiB), 2 * kPages);
}

TEST_F(DiskTest, AnExistingFileIsReplacedOnlyWhenAsked) {
  const auto file = made("d.vhdx", {.virtual_size = 8 * kMiB});
  const auto before = file_bytes(file);
  EXPECT_EQ(create(file, {.virtual_size = 16 * kMiB}).error().code, Errc::invalid);
  EXPECT_EQ(file_bytes(file), before);
  ASSERT_TRUE(create(file, {.virtual_size = 16 * kMiB, .overwrite = true}));
  EXPECT_EQ(opened(file).geometry().virtual_size, 16 * kMiB);
}

TEST_F(DiskTest, WrittenExtentsTakeProgressAndCanBeStoppedAtAnyMoment) {
  class StopAfter final : public Progress {
   public:
    explicit StopAfter(unsigned calls) : left_{calls} {}
    bool update(std::uint64_t done, std::uint64_t total) noexcept override {
      EXPECT_LE(furthest, done);
      EXPECT_LE(done, total);
      furthest = done;
      return left_-- != 0;
    }
    std::uint64_t furthest = 0;

   private:
    unsigned left_;
  };
  const auto old = made("old", {.format = Format::vhdx, .virtual_size = 8 * kMiB});
  const auto before = file_bytes(old);
  for (const Format format : {Format::raw, Format::vhd, Format::vhdx}) {
    CreateOptions options{.format = format,
                          .type = DiskType::fixed,
                          .virtual_size = 4 * kMiB + 512,
                          .block_size = format == Format::vhdx ? kMiB : 0,
                          .no_sparse = true};
    bool finished = false;
    unsigned calls = 0;
    for (; !finished; ++calls) {
      StopAfter progress{calls};
      options.progress = &progress;
      options.overwrite = false;
      const Status status = create(path("new"), options);
      finished = status.has_value();
      if (finished) {
        EXPECT_GE(progress.furthest, 4 * kMiB + 512);
        break;
      }
      EXPECT_EQ(status.error().code, Errc::cancelled);
      options.overwrite = true;
      StopAfter again{calls};
      options.progress = &again;
      EXPECT_EQ(create(old, options).error().code, Errc::cancelled);
      EXPECT_EQ(file_bytes(old), before);
      EXPECT_EQ(std::distance(std::filesystem::directory_iterator{folder_}, {}), 1);
    }
    EXPECT_GE(calls, 5u);
    auto disk = Disk::open(path("new"), {.format = format});
    ASSERT_TRUE(disk);
    EXPECT_EQ(disk->geometry().virtual_size, 4 * kMiB + 512);
    std::filesystem::remove(path("new"));
  }
}

}  // namespace
}  // namespace openvhd::test
