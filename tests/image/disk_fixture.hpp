/// A folder for images on the host's file system, and short ways to make and open them.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <openvhd/create.hpp>
#include <openvhd/disk.hpp>
#include <string>
#include <vector>

#include "support/bytes.hpp"

namespace openvhd::test {

constexpr std::uint64_t kMiB = 1 << 20;

class DiskTest : public testing::Test {
 protected:
  DiskTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "openvhd-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~DiskTest() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ / name; }
  std::string made(const std::string& name, const CreateOptions& options) {
    const Status status = create(path(name), options);
    EXPECT_TRUE(status) << (status ? "" : describe(status.error(), name));
    return path(name);
  }
  static Disk opened(const std::string& file, Access access = Access::read_write) {
    OpenReport report;
    auto disk = Disk::open(file, {.access = access, .report = &report});
    EXPECT_TRUE(disk) << (disk ? "" : describe(disk.error(), file));
    return *std::move(disk);
  }
  static std::vector<std::byte> file_bytes(const std::string& file) {
    std::ifstream in{file, std::ios::binary};
    const std::string text{std::istreambuf_iterator<char>{in}, {}};
    return bytes_of(text);
  }

  std::filesystem::path folder_;
};

}  // namespace openvhd::test
