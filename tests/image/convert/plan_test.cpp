#include <gtest/gtest.h>

#include "image/convert/convert_plan.hpp"

namespace openvhd {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kGiB = 1 << 30;

ConvertOptions to(const std::string& name) {
  ConvertOptions options;
  options.target = name;
  return options;
}

Errc refusal(const ConvertOptions& options, const SourceFacts& source) {
  const auto plan = plan_conversion(options, source);
  EXPECT_FALSE(plan);
  return plan ? Errc{} : plan.error().code;
}

TEST(ConvertPlan, AVhdOfMoreThan2040GiBIsRefused) {
  EXPECT_TRUE(plan_conversion(to("a.vhd"), {.size = 2040 * kGiB}));
  EXPECT_EQ(refusal(to("a.vhd"), {.size = 2040 * kGiB + 512}), Errc::unsupported);
  EXPECT_TRUE(plan_conversion(to("a.vhdx"), {.size = 64 * 1024 * kGiB}));
  EXPECT_EQ(refusal(to("a.vhdx"), {.size = 64 * 1024 * kGiB + 512}), Errc::unsupported);
}

TEST(ConvertPlan, SectorSizesChangeOnlyByName) {
  const SourceFacts source{.size = kGiB, .logical_sector_size = 4096, .physical_sector_size = 4096};
  EXPECT_EQ(refusal(to("a.vhd"), source), Errc::invalid);
  auto options = to("a.vhd");
  options.create.logical_sector_size = 512;
  const auto changed = plan_conversion(options, source);
  ASSERT_TRUE(changed);
  EXPECT_EQ(changed->notes.size(), 1u);
  const auto kept = plan_conversion(to("a.vhdx"), source);
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->create.logical_sector_size, 4096u);
  EXPECT_TRUE(kept->notes.empty());
}

TEST(ConvertPlan, RawTakesEverySectorSizeAndSaysWhatIsLost) {
  auto options = to("a.img");
  options.create.format = Format::raw;
  const auto plan = plan_conversion(options, {.size = kGiB, .logical_sector_size = 4096});
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->notes.size(), 1u);
  EXPECT_EQ(plan->create.type, DiskType::fixed);
}

TEST(ConvertPlan, RawDisksGetSectorsOf512UnlessAsked) {
  EXPECT_EQ(plan_conversion(to("a.vhdx"), {.size = kGiB})->create.logical_sector_size, 512u);
  auto options = to("a.vhdx");
  options.create.logical_sector_size = 4096;
  const auto plan = plan_conversion(options, {.size = kGiB + 512});
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->total, kGiB + 4096);
  EXPECT_EQ(plan->notes.size(), 1u);
}

TEST(ConvertPlan, AzureRoundsUpAndSaysSo) {
  auto options = to("a.vhd");
  options.create.azure = true;
  const auto plan = plan_conversion(options, {.size = 30 * kMiB + 512});
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->total, 31 * kMiB);
  EXPECT_EQ(plan->create.type, DiskType::fixed);
  EXPECT_EQ(plan->notes.size(), 1u);
  EXPECT_EQ(plan_conversion(options, {.size = kMiB})->total, 20 * kMiB);
  EXPECT_TRUE(plan_conversion(options, {.size = 40 * kMiB})->notes.empty());
  options.target = "a.vhdx";
  EXPECT_EQ(refusal(options, {.size = 40 * kMiB}), Errc::invalid);
}

TEST(ConvertPlan, PartsMustLieInTheSource) {
  auto options = to("a.vhdx");
  options.offset = {kMiB};
  EXPECT_EQ(plan_conversion(options, {.size = 3 * kMiB})->length, 2 * kMiB);
  options.length = 2 * kMiB + 1;
  EXPECT_EQ(refusal(options, {.size = 3 * kMiB}), Errc::out_of_range);
  options.length = ~std::uint64_t{0};
  EXPECT_EQ(refusal(options, {.size = 3 * kMiB}), Errc::out_of_range);
  options.length = 0;
  EXPECT_EQ(refusal(options, {.size = 3 * kMiB}), Errc::invalid);
  options.length.reset();
  EXPECT_EQ(refusal(options, {.size = kMiB - 1}), Errc::out_of_range);
  EXPECT_EQ(refusal(options, {.size = kMiB}), Errc::invalid);
}

TEST(ConvertPlan, AVirtualSizeMayGrowTheDiskAndNotCutIt) {
  auto options = to("a.vhdx");
  options.create.virtual_size = 5 * kMiB;
  EXPECT_EQ(plan_conversion(options, {.size = 3 * kMiB})->total, 5 * kMiB);
  EXPECT_EQ(refusal(options, {.size = 6 * kMiB}), Errc::invalid);
}

TEST(ConvertPlan, TheIdentifierStaysWithTheSameDiskOnly) {
  const Guid id{{1, 2, 3}};
  const SourceFacts source{.size = 3 * kMiB, .logical_sector_size = 512, .identifier = id};
  EXPECT_EQ(plan_conversion(to("a.vhdx"), source)->create.identifier, id);
  auto part = to("a.vhdx");
  part.length = kMiB;
  EXPECT_FALSE(plan_conversion(part, source)->create.identifier);
  auto larger = to("a.vhdx");
  larger.create.virtual_size = 4 * kMiB;
  EXPECT_FALSE(plan_conversion(larger, source)->create.identifier);
  auto named = to("a.vhdx");
  named.create.identifier = Guid{{9}};
  EXPECT_EQ(plan_conversion(named, source)->create.identifier, (Guid{{9}}));
}

TEST(ConvertPlan, StandardOutputTakesWhatCanBeWrittenInOrder) {
  EXPECT_EQ(plan_conversion(to("-"), {.size = kMiB})->format, Format::raw);
  auto options = to("-");
  options.create.format = Format::vhd;
  EXPECT_EQ(refusal(options, {.size = kMiB}), Errc::invalid);
  options.create.type = DiskType::fixed;
  EXPECT_TRUE(plan_conversion(options, {.size = kMiB}));
  options.create.format = Format::vhdx;
  EXPECT_EQ(refusal(options, {.size = kMiB}), Errc::invalid);
}

TEST(ConvertPlan, AnNbdTargetIsRaw) {
  EXPECT_TRUE(plan_conversion(to("nbd://host"), {.size = 1000}));
  auto options = to("nbd://host");
  options.create.format = Format::vhdx;
  EXPECT_EQ(refusal(options, {.size = kMiB}), Errc::invalid);
}

TEST(ConvertPlan, AFileNeedsAFormat) {
  EXPECT_EQ(refusal(to("disk"), {.size = kMiB}), Errc::invalid);
  auto options = to("a.vhdx");
  options.create.type = DiskType::differencing;
  EXPECT_EQ(refusal(options, {.size = kMiB}), Errc::invalid);
}

}  // namespace
}  // namespace openvhd
