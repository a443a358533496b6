// What other programs make of the images that we write: qemu-img, 7-Zip, libvhdi, and the
// independent checker of this tree. Each is skipped where it is not installed.
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "support/bytes.hpp"
#include "support/program.hpp"
#include "support/temp_dir.hpp"
#include "vhd/disk.hpp"
#include "vhd/image_bytes.hpp"
#include "vhd/sha256.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::test {
namespace {

struct Image {
  const char* name;
  DiskType type;
  std::uint64_t size;
  std::uint64_t block;
};

class VhdPeers : public testing::TestWithParam<Image> {
 protected:
  void SetUp() override {
    const bool child = GetParam().type == DiskType::differencing;
    if (child) parent_ = make(DiskType::dynamic, "parent.vhd", 1);
    path_ = dir_ / "disk.vhd";
    leaf_ = make(GetParam().type, "disk.vhd", 2);
    auto disk = child ? open_chain({leaf_, parent_}) : open_disk(leaf_, false);
    ASSERT_TRUE(disk);
    sha_ = disk->sha256(disk->size());
  }

  Store make(DiskType type, const std::string& name, std::uint64_t seed) {
    auto store = std::make_shared<MemoryStore>();
    MemoryFile file{store};
    FixedHost host{seed};
    vhd::CreateSpec spec{
        .type = type,
        .geometry = {.virtual_size = GetParam().size,
                     .block_size = type == DiskType::fixed ? 0 : GetParam().block}};
    if (type == DiskType::differencing) {
      spec.parent_id = open_disk(parent_, false)->leaf().link_identity();
      spec.parent_name = "parent.vhd";
      spec.parent_relative = ".\\parent.vhd";
    }
    EXPECT_TRUE(vhd::create(file, spec, host));
    auto disk = type == DiskType::differencing ? open_chain({store, parent_}) : open_disk(store);
    std::mt19937_64 random{seed};
    const std::uint64_t sectors = GetParam().size / 512;
    for (unsigned i = 0; i < 60; ++i) {
      const std::uint64_t first = random() % sectors;
      const std::uint64_t count = std::min<std::uint64_t>(1 + random() % 700, sectors - first);
      if (i % 6 == 5) {
        EXPECT_TRUE(disk->clear(first * 512, count * 512, ClearKind::trim));
      } else {
        EXPECT_TRUE(disk->write(first * 512, pattern(count * 512, i + 100 * seed)));
      }
    }
    EXPECT_TRUE(disk->close());
    const auto bytes = read_all(file);
    std::ofstream out{dir_ / name, std::ios::binary};
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
    return store;
  }

  std::string sha_of_file(const std::string& path) {
    return run_program({"sha256sum", path}).output.substr(0, 64);
  }

  TempDir dir_;
  std::string path_;
  Store parent_;
  Store leaf_;
  std::string sha_;
};

TEST_P(VhdPeers, QemuImgReadsTheSameDisk) {
  if (!have_program("qemu-img")) GTEST_SKIP() << "no qemu-img";
  if (GetParam().type == DiskType::differencing) GTEST_SKIP() << "qemu-img reads no parents of VHD";
  const Ran info = run_program({"qemu-img", "info", "-f", "vpc", path_});
  EXPECT_EQ(info.exit_code, 0) << info.output;
  EXPECT_NE(info.output.find("(" + std::to_string(GetParam().size) + " bytes)"), std::string::npos)
      << info.output;
  const Ran convert =
      run_program({"qemu-img", "convert", "-f", "vpc", "-O", "raw", path_, dir_ / "out"});
  ASSERT_EQ(convert.exit_code, 0) << convert.output;
  EXPECT_EQ(sha_of_file(dir_ / "out"), sha_);
}

TEST_P(VhdPeers, SevenZipReadsTheSameDisk) {
  if (!have_program("7z")) GTEST_SKIP() << "no 7z";
  const Ran out = run_program({"7z", "e", "-tvhd", "-y", "-o" + (dir_ / "out"), path_});
  ASSERT_EQ(out.exit_code, 0) << out.output;
  for (const auto& entry : std::filesystem::directory_iterator{dir_ / "out"})
    EXPECT_EQ(sha_of_file(entry.path().string()), sha_);
}

TEST_P(VhdPeers, LibvhdiKnowsTheImage) {
  if (!have_program("vhdiinfo")) GTEST_SKIP() << "no vhdiinfo";
  const Ran info = run_program({"vhdiinfo", path_});
  EXPECT_EQ(info.exit_code, 0) << info.output;
  EXPECT_NE(info.output.find(std::to_string(GetParam().size)), std::string::npos) << info.output;
}

TEST_P(VhdPeers, TheIndependentCheckerAgrees) {
  if (!have_program("python3")) GTEST_SKIP() << "no python3";
  const Ran ran =
      run_program({"python3", std::string{OPENVHD_SOURCE_DIR} + "/tests/checker/vhdcheck.py",
                   "--json", "--sha256", path_});
  EXPECT_EQ(ran.exit_code, 0) << ran.output;
  EXPECT_NE(ran.output.find(sha_), std::string::npos) << ran.output;
}

constexpr std::uint64_t kM = std::uint64_t{1} << 20;
INSTANTIATE_TEST_SUITE_P(
    Images, VhdPeers,
    testing::Values(Image{"fixed", DiskType::fixed, 3 * kM + 512, 0},
                    Image{"dynamic_2m", DiskType::dynamic, 21 * kM - 512, 2 * kM},
                    Image{"dynamic_512k", DiskType::dynamic, 9 * kM + 1536, kM / 2},
                    Image{"dynamic_16m", DiskType::dynamic, 40 * kM, 16 * kM},
                    Image{"differencing_2m", DiskType::differencing, 21 * kM, 2 * kM}),
    [](const auto& image) { return std::string{image.param.name}; });

}  // namespace
}  // namespace openvhd::test
