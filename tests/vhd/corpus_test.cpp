// Images that other programs wrote, and damaged copies of them: corpus/README.md tells where they
// come from. Skipped where the corpus or zstd is not there.
#include "support/corpus.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "vhd/disk.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::test {
namespace {

using Json = nlohmann::json;

std::unique_ptr<File> file_on(const Store& store, const std::string& name) {
  return std::make_unique<MemoryFile>(store, MemoryFile::Options{.writable = false, .name = name});
}

/// Reads all of it, block by block of a sparse disk; the first failure.
Status read_through(Disk& disk) {
  std::vector<std::byte> buffer(std::size_t{1} << 20);
  const std::uint64_t end = std::min<std::uint64_t>(disk.size(), std::uint64_t{64} << 20);
  for (std::uint64_t at = 0; at < end; at += buffer.size()) {
    const std::size_t piece = std::min<std::uint64_t>(buffer.size(), end - at);
    if (auto status = disk.read(at, std::span{buffer}.first(piece)); !status) return status;
  }
  return Ok{};
}

using VhdCorpus = CorpusTest;

/// Larger disks are read here, and hashed in tests/corpus.
constexpr std::uint64_t kMostHashed = std::uint64_t{600} << 20;

void expect_contents(const Json& content, Disk& disk) {
  const bool whole = content.contains("sha256");
  const std::uint64_t bytes =
      whole ? disk.size() : content["sha256_first_bytes"].get<std::uint64_t>();
  if (bytes <= kMostHashed) {
    EXPECT_EQ(disk.sha256(bytes), content[whole ? "sha256" : "sha256_first"]);
  } else {
    std::printf("not hashed: %llu bytes\n", static_cast<unsigned long long>(bytes));
    EXPECT_TRUE(read_through(disk));
  }
}

TEST_F(VhdCorpus, WhatMustOpenOpensWithTheRecordedContents) {
  for_each(Format::vhd, "opens", [](const Json& entry, const Store& store) {
    EXPECT_TRUE(*vhd::probe(*file_on(store, "probe")));
    auto disk = open_disk(file_on(store, entry["unpacked_name"]), {});
    ASSERT_TRUE(disk) << error_of(disk).what;
    EXPECT_EQ(disk->size(), entry["facts"]["virtual_size"]);
    // Chains are put together, and their links judged, by lib/image.
    if (disk->leaf().type() == DiskType::differencing) {
      EXPECT_FALSE(disk->leaf().parent_link()->paths.empty());
    } else {
      expect_contents(entry["content"], *disk);
    }
  });
}

TEST_F(VhdCorpus, WhatMustBeRejectedFailsToOpenOrToRead) {
  for_each(Format::vhd, "must be rejected", [](const Json& entry, const Store& store) {
    auto disk = open_disk(file_on(store, entry["unpacked_name"]), {});
    if (!disk) {
      EXPECT_TRUE(error_of(disk).code == Errc::corrupt || error_of(disk).code == Errc::unsupported);
      EXPECT_NE(std::string_view{error_of(disk).what}.find("(V0"), std::string_view::npos);
      return;
    }
    // What is wrong with these lies outside the file: whoever finds parents refuses them.
    const std::string id = entry["id"];
    if (id.starts_with("d7-parent") || id.starts_with("d7-self")) return;
    ASSERT_NE(disk->leaf().type(), DiskType::differencing);
    EXPECT_NE(entry["reject_stage"], "open");
    EXPECT_EQ(error_of(read_through(*disk)).code, Errc::corrupt);
  });
}

TEST_F(VhdCorpus, DamagedImagesAreNotRewrittenWhenOpenedForWriting) {
  for_each(Format::vhd, "must be rejected", [](const Json&, const Store& store) {
    const Store work = std::make_shared<MemoryStore>(*store);
    auto disk = open_disk(work);
    if (!disk || disk->leaf().type() == DiskType::differencing) return;
    const std::vector<std::byte> sector(512, std::byte{0x5a});
    EXPECT_FALSE(disk->write(0, sector));
    (void)disk->close();
    EXPECT_EQ(work->size, store->size);
  });
}

TEST_F(VhdCorpus, AnythingGoesForTheRestButNotACrash) {
  for_each(Format::vhd, "either", [](const Json& entry, const Store& store) {
    auto disk = open_disk(file_on(store, entry["unpacked_name"]), {});
    if (disk) expect_contents(entry["content"], *disk);
  });
}

}  // namespace
}  // namespace openvhd::test
