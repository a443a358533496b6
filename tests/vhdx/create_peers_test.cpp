// What create() makes, judged by other software. Skips what is not installed.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/checked.hpp"
#include "io/posix_file.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

namespace fs = std::filesystem;

struct Output {
  int status = -1;
  std::string text;
};

Output run(const std::string& command) {
  Output out;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return out;
  std::array<char, 4096> buffer;
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    out.text.append(buffer.data(), got);
  }
  out.status = ::pclose(pipe);
  return out;
}

bool installed(const char* program) {
  return run(std::string{"command -v "} + program).status == 0;
}

class VhdxCreatePeers : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "vhdx-create-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { fs::remove_all(dir_); }

  std::string make(const vhdx::CreateSpec& spec) {
    const std::string path = dir_ / "image.vhdx";
    fs::remove(path);
    std::fclose(std::fopen(path.c_str(), "wb"));
    auto file = PosixFile::open(path, {.writable = true});
    EXPECT_TRUE(file);
    const auto start = std::chrono::steady_clock::now();
    const Status made = vhdx::create(**file, spec, system_host());
    took_ = std::chrono::steady_clock::now() - start;
    EXPECT_TRUE(made) << describe(made.error(), path);
    return path;
  }

  fs::path dir_;
  std::chrono::duration<double> took_{};
};

vhdx::CreateSpec spec_of(DiskType type, std::uint64_t size, std::uint64_t block) {
  return {.type = type,
          .geometry = {.virtual_size = size,
                       .logical_sector_size = 512,
                       .physical_sector_size = 4096,
                       .block_size = block},
          .log_bytes = kMiB};
}

TEST_F(VhdxCreatePeers, QemuFindsNothingWrong) {
  if (!installed("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  const vhdx::CreateSpec specs[] = {spec_of(DiskType::dynamic, 3 * kGiB + 512, 32 * kMiB),
                                    spec_of(DiskType::dynamic, kTiB, kMiB),
                                    spec_of(DiskType::dynamic, 5 * kGiB, 256 * kMiB),
                                    spec_of(DiskType::fixed, 70 * kMiB + 512, 2 * kMiB)};
  for (const auto& spec : specs) {
    const std::string path = make(spec);
    const Output info = run("qemu-img info --output=json " + path);
    EXPECT_EQ(info.status, 0) << info.text;
    EXPECT_NE(info.text.find("\"virtual-size\": " + std::to_string(spec.geometry.virtual_size)),
              std::string::npos)
        << info.text;
    const Output check = run("qemu-img check " + path);
    EXPECT_EQ(check.status, 0) << check.text;
    EXPECT_NE(check.text.find("No errors"), std::string::npos) << check.text;
  }
}

TEST_F(VhdxCreatePeers, SevenZipFindsNothingWrong) {
  if (!installed("7z")) GTEST_SKIP() << "7z is not installed";
  for (const DiskType type : {DiskType::dynamic, DiskType::fixed}) {
    const std::string path = make(spec_of(type, 70 * kMiB, 2 * kMiB));
    const Output list = run("7z l -tVHDX -slt " + path);
    EXPECT_EQ(list.status, 0) << list.text;
    EXPECT_NE(list.text.find("Size = " + std::to_string(70 * kMiB)), std::string::npos)
        << list.text;
    EXPECT_EQ(list.text.find("Warning"), std::string::npos) << list.text;
    EXPECT_EQ(list.text.find("Error"), std::string::npos) << list.text;
  }
}

TEST_F(VhdxCreatePeers, TheLargestDiskTakesLessThanFourMegabytes) {
  const std::string path = make(spec_of(DiskType::dynamic, 64 * kTiB, kMiB));
  auto file = PosixFile::open(path, {});
  ASSERT_TRUE(file);
  EXPECT_LT((*file)->allocated_bytes(), 4 * kMiB);
  RecordProperty("milliseconds", std::to_string(took_.count() * 1000));
}

}  // namespace
}  // namespace openvhd::test
