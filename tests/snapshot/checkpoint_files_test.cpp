// Checkpoints of real files through the public calls.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <openvhd/checkpoint.hpp>
#include <openvhd/create.hpp>
#include <openvhd/merge.hpp>
#include <openvhd/rebase.hpp>

#include "support/temp_dir.hpp"

namespace openvhd::test {
namespace {

class CheckpointFiles : public testing::TestWithParam<const char*> {
 protected:
  CheckpointFiles() : disk_{dir_ / (std::string{"disk."} + GetParam())} {
    const Status made = create(disk_, {.virtual_size = 8 << 20});
    EXPECT_TRUE(made) << (made ? "" : made.error().what);
  }
  CheckpointTree checkpoint(const std::string& name) {
    auto tree = create_checkpoint(disk_, name, {});
    if (tree) return *std::move(tree);
    ADD_FAILURE() << tree.error().what;
    return {};
  }

  TempDir dir_;
  std::string disk_;
};

TEST_P(CheckpointFiles, WhatTheCatalogueNamesAndDoesNotOpenEndsTheDeletion) {
  const std::string two = checkpoint("one").current;
  const std::string last = checkpoint("two").current;
  // The disk goes on elsewhere; what it was is the only one over the second checkpoint.
  ASSERT_TRUE(apply_checkpoint(disk_, "one", false, {}));
  // Emptied, so that nothing tells any more that it was an image.
  std::filesystem::resize_file(last, 0);
  OpenReport report;
  const auto done = delete_checkpoint(disk_, "two", {.report = &report});
  ASSERT_FALSE(done);
  EXPECT_EQ(report.files, std::vector<std::string>{last});
  EXPECT_TRUE(std::filesystem::exists(two));
}

// Whoever has a disk knows the name of its current image, which may be gone afterwards.
TEST_P(CheckpointFiles, TheCurrentImageMayBeGivenAlthoughItGoesAway) {
  checkpoint("one");
  std::string current = checkpoint("two").current;
  auto tree = delete_checkpoint(current, "two", {});
  ASSERT_TRUE(tree) << tree.error().what;
  EXPECT_FALSE(std::filesystem::exists(current));
  EXPECT_EQ(tree->checkpoints.size(), 1u);
  current = tree->current;
  EXPECT_TRUE(std::filesystem::exists(current));
  tree = apply_checkpoint(current, "one", true, {});
  ASSERT_TRUE(tree) << tree.error().what;
  EXPECT_FALSE(std::filesystem::exists(current));
  tree = delete_checkpoint(tree->current, "one", {});
  ASSERT_TRUE(tree) << tree.error().what;
  EXPECT_EQ(tree->current, disk_);
  EXPECT_EQ(tree->checkpoints.size(), 0u);
}

TEST_P(CheckpointFiles, OtherVerbsRefuseWhatTheCatalogueNames) {
  const std::string middle = checkpoint("one").current;
  const std::string current = checkpoint("two").current;
  for (const std::string& child : {middle, current}) {
    for (const bool pull : {false, true}) {
      const auto done = merge({.child = child, .pull = pull});
      ASSERT_FALSE(done);
      EXPECT_EQ(done.error().code, Errc::denied) << done.error().what;
    }
    const auto done = rebase({.child = child, .parent = disk_});
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, Errc::denied) << done.error().what;
  }
  // Into one of them is no way round either.
  const std::string stranger = dir_ / (std::string{"stranger."} + GetParam());
  ASSERT_TRUE(create(stranger, {.type = DiskType::differencing, .parent = current}));
  ASSERT_FALSE(merge({.child = stranger}));
  std::filesystem::remove(stranger);
  const auto tree = list_checkpoints(disk_, {});
  ASSERT_TRUE(tree) << tree.error().what;
  EXPECT_EQ(tree->current, current);
  EXPECT_EQ(tree->checkpoints.size(), 2u);
}

/// Renames a checkpoint in the text of the catalogue, as another process might.
class Meddler final : public Progress {
 public:
  explicit Meddler(std::string catalogue) : catalogue_{std::move(catalogue)} {}
  bool update(std::uint64_t, std::uint64_t) noexcept override {
    std::ifstream in{catalogue_};
    std::string text{std::istreambuf_iterator<char>{in}, {}};
    const std::size_t at = text.find("\"first\"");
    if (at == std::string::npos) return true;
    text.replace(at, 7, "\"other\"");
    std::ofstream{catalogue_} << text;
    return true;
  }

 private:
  std::string catalogue_;
};

TEST_P(CheckpointFiles, WhatOthersChangedDuringAMergeStays) {
  checkpoint("first");
  const auto before = checkpoint("second");
  Meddler meddler{before.catalogue};
  const auto tree = delete_checkpoint(disk_, "second", {.progress = &meddler});
  ASSERT_TRUE(tree) << tree.error().what;
  ASSERT_EQ(tree->checkpoints.size(), 1u);
  EXPECT_EQ(tree->checkpoints.front().name, "other");
}

INSTANTIATE_TEST_SUITE_P(Formats, CheckpointFiles, testing::Values("vhdx", "vhd"),
                         [](const auto& one) { return std::string{one.param}; });

}  // namespace
}  // namespace openvhd::test
