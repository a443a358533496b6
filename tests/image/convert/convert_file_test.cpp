#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <openvhd/convert.hpp>

#include "image/convert/disks.hpp"
#include "image/convert/fake_endpoint.hpp"
#include "support/temp_dir.hpp"

namespace openvhd {
namespace {

namespace fs = std::filesystem;
using test::contents_with_holes;
using test::Kind;
using test::kKinds;
using test::make_image;
using test::read_image;
using test::TempDir;

constexpr std::uint64_t kMiB = 1 << 20;

using Bytes = std::vector<std::byte>;

class Convert : public testing::Test {
 protected:
  std::string file(const std::string& name) const { return directory_ / name; }
  std::string image(const std::string& name, const Kind& kind, const Bytes& bytes) const {
    const std::string path = file(name);
    const std::string failed = make_image(path, {.format = kind.format, .type = kind.type}, bytes);
    EXPECT_TRUE(failed.empty()) << failed;
    return path;
  }
  ConvertOptions options(const std::string& source, std::optional<Format> from,
                         const std::string& target, const Kind& to) const {
    ConvertOptions out;
    out.source = source;
    out.source_format = from;
    out.target = file(target);
    out.create.format = to.format;
    out.create.type = to.type;
    return out;
  }
  static Result<ConvertResult> run(ConvertOptions options) {
    OpenReport report;
    options.report = &report;
    auto result = convert(options);
    EXPECT_TRUE(result) << describe(result.error(), report.files.empty() ? "?" : report.files[0]);
    return result;
  }
  static bool same(const std::string& a, Format a_format, const std::string& b, Format b_format) {
    const auto result = compare({.a = a, .b = b, .a_format = a_format, .b_format = b_format});
    EXPECT_TRUE(result) << result.error().what;
    return result && result->equal;
  }

  TempDir directory_;
};

class ConvertPairs : public Convert, public testing::WithParamInterface<std::tuple<Kind, Kind>> {};

TEST_P(ConvertPairs, TargetReadsAsTheSource) {
  const auto& [from, to] = GetParam();
  for (const std::uint64_t size : {std::uint64_t{512}, 4 * kMiB, 19 * kMiB + 5 * 512}) {
    const Bytes bytes = contents_with_holes(size, size);
    const std::string source = image("source", from, bytes);
    for (const bool direct : {true, false}) {
      auto how = options(source, from.format, "target", to);
      how.direct = direct;
      const auto result = run(how);
      ASSERT_TRUE(result);
      EXPECT_EQ(result->virtual_size, size);
      EXPECT_EQ(
          result->copied_bytes + result->skipped_bytes + result->zero_bytes + result->cloned_bytes,
          size);
      EXPECT_TRUE(read_image(how.target, to.format) == bytes) << size;
      EXPECT_TRUE(same(source, from.format, how.target, to.format));
      EXPECT_EQ(test::names_in(directory_.path()), (std::vector<std::string>{"source", "target"}));
      fs::remove(how.target);
    }
    fs::remove(source);
  }
}

INSTANTIATE_TEST_SUITE_P(All, ConvertPairs,
                         testing::Combine(testing::ValuesIn(kKinds), testing::ValuesIn(kKinds)),
                         [](const auto& pair) {
                           return std::string{std::get<0>(pair.param).name} + "_to_" +
                                  std::get<1>(pair.param).name;
                         });

class ConvertTo : public Convert, public testing::WithParamInterface<Kind> {};
INSTANTIATE_TEST_SUITE_P(All, ConvertTo, testing::ValuesIn(kKinds),
                         [](const auto& kind) { return std::string{kind.param.name}; });

TEST_P(ConvertTo, PartsAtAnyByte) {
  const Bytes bytes = contents_with_holes(6 * kMiB, 6);
  const std::string source = image("source.vhdx", kKinds[4], bytes);
  for (const auto& [at, length] :
       {std::pair{std::uint64_t{0}, 2 * kMiB}, std::pair{kMiB + 512, 3 * kMiB},
        std::pair{std::uint64_t{70001}, kMiB + 3}, std::pair{6 * kMiB - 1, std::uint64_t{1}}}) {
    auto how = options(source, Format::vhdx, "part", GetParam());
    how.offset = {at};
    how.length = length;
    how.create.overwrite = true;
    const auto result = run(how);
    ASSERT_TRUE(result);
    Bytes expected(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                   bytes.begin() + static_cast<std::ptrdiff_t>(at + length));
    expected.resize((length + 511) / 512 * 512);
    EXPECT_EQ(result->notes.size(), length % 512 == 0 ? 0u : 1u);
    EXPECT_TRUE(read_image(how.target, GetParam().format) == expected) << at;
  }
}

TEST_P(ConvertTo, ALargerDiskEndsInZeros) {
  Bytes bytes = contents_with_holes(3 * kMiB + 512, 3);
  const std::string source = image("source.vhd", kKinds[2], bytes);
  auto how = options(source, Format::vhd, "larger", GetParam());
  how.create.virtual_size = 40 * kMiB;
  ASSERT_TRUE(run(how));
  bytes.resize(40 * kMiB);
  EXPECT_TRUE(read_image(how.target, GetParam().format) == bytes);
}

TEST_P(ConvertTo, StoppingAtAnyMomentLeavesNothing) {
  class StopAfter final : public Progress {
   public:
    explicit StopAfter(unsigned calls) : left_{calls} {}
    bool update(std::uint64_t done, std::uint64_t total) noexcept override {
      EXPECT_LE(done, total);
      return left_-- != 0;
    }

   private:
    unsigned left_;
  };
  const std::string source = image("source.vhdx", kKinds[4], contents_with_holes(8 * kMiB, 8));
  bool finished = false;
  for (unsigned calls = 0; !finished; ++calls) {
    StopAfter progress{calls};
    auto how = options(source, Format::vhdx, "target", GetParam());
    how.progress = &progress;
    const auto result = convert(how);
    finished = result.has_value();
    if (!finished) {
      EXPECT_EQ(result.error().code, Errc::cancelled);
      EXPECT_EQ(test::names_in(directory_.path()), (std::vector<std::string>{"source.vhdx"}));
    }
    ASSERT_LT(calls, 1000u);
  }
}

TEST_P(ConvertTo, WithoutSparseEverythingIsReallyThere) {
  if (GetParam().type != DiskType::fixed) GTEST_SKIP() << "dynamic images hold what they need";
  const std::string source = image("source.vhdx", kKinds[4], contents_with_holes(16 * kMiB, 8));
  auto how = options(source, Format::vhdx, "full", GetParam());
  how.create.no_sparse = true;
  ASSERT_TRUE(run(how));
  EXPECT_TRUE(same(source, Format::vhdx, how.target, GetParam().format));
  // A copy by cp would turn what was never written into holes.
  std::uint64_t written = 0;
  auto disk = Disk::open(how.target, {.format = GetParam().format});
  ASSERT_TRUE(disk);
  for (std::uint64_t at = 0; at < 16 * kMiB;) {
    const auto entry = disk->map({at}, 16 * kMiB - at);
    ASSERT_TRUE(entry);
    if (entry->kind == MapEntry::Kind::data) written += entry->length;
    at += entry->length;
  }
  EXPECT_EQ(written, 16 * kMiB);
}

TEST_F(Convert, ChainsAreFlattened) {
  for (const Format format : {Format::vhdx, Format::vhd}) {
    const std::string ending = format == Format::vhdx ? ".vhdx" : ".vhd";
    Bytes bytes = contents_with_holes(9 * kMiB, 1);
    const std::string base = file("base" + ending);
    ASSERT_EQ(make_image(base, {.format = format}, bytes), "");
    const std::string child = file("child" + ending);
    ASSERT_TRUE(create(child, {.type = DiskType::differencing, .parent = base}));
    {
      auto disk = Disk::open(child, {.access = Access::read_write});
      ASSERT_TRUE(disk) << disk.error().what;
      const Bytes patch = test::pattern(kMiB, 5);
      for (const std::uint64_t at : {std::uint64_t{512}, 3 * kMiB - 1024, 7 * kMiB + 512}) {
        ASSERT_TRUE(disk->write({at}, patch));
        std::ranges::copy(patch, bytes.begin() + static_cast<std::ptrdiff_t>(at));
      }
      ASSERT_TRUE(disk->zero({5 * kMiB}, kMiB));
      std::fill_n(bytes.begin() + 5 * kMiB, kMiB, std::byte{0});
      ASSERT_TRUE(disk->close());
    }
    for (const Kind& to : kKinds) {
      auto how = options(child, std::nullopt, std::string{"flat_"} + to.name, to);
      how.create.overwrite = true;
      ASSERT_TRUE(run(how));
      EXPECT_TRUE(read_image(how.target, to.format) == bytes) << to.name;
    }
    // Neither the child nor its parent can be the target, whatever they are called.
    fs::create_hard_link(base, file("alias"));
    auto how = options(child, std::nullopt, "alias", kKinds[4]);
    how.create.overwrite = true;
    const auto result = convert(how);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Errc::invalid);
    fs::remove(file("alias"));
  }
}

TEST_F(Convert, AnExistingTargetStaysAsItWasUnlessOverwriteIsAsked) {
  const Bytes bytes = contents_with_holes(2 * kMiB, 1);
  const std::string source = image("source", kKinds[0], bytes);
  const Bytes old = test::pattern(1000, 2);
  test::write_file(file("target"), old);
  auto how = options(source, Format::raw, "target", kKinds[4]);
  const auto refused = convert(how);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::invalid);
  EXPECT_TRUE(test::read_file(how.target) == old);

  class Stop final : public Progress {
   public:
    bool update(std::uint64_t, std::uint64_t) noexcept override { return false; }
  } stop;
  how.create.overwrite = true;
  how.progress = &stop;
  EXPECT_FALSE(convert(how));
  EXPECT_TRUE(test::read_file(how.target) == old) << "a conversion that failed";
  how.progress = nullptr;
  ASSERT_TRUE(run(how));
  EXPECT_TRUE(read_image(how.target, Format::vhdx) == bytes);
  EXPECT_EQ(test::names_in(directory_.path()), (std::vector<std::string>{"source", "target"}));
}

TEST_F(Convert, FailuresBeforeTheFirstByteLeaveNoTarget) {
  const std::string source = image("source", kKinds[0], contents_with_holes(kMiB, 1));
  auto missing = options(file("none"), Format::raw, "target", kKinds[4]);
  EXPECT_EQ(convert(missing).error().code, Errc::not_found);
  auto wrong = options(source, std::nullopt, "target", kKinds[4]);
  EXPECT_EQ(convert(wrong).error().code, Errc::unsupported) << "raw is never guessed";
  auto block = options(source, Format::raw, "target", kKinds[4]);
  block.create.block_size = 12345;
  EXPECT_FALSE(convert(block));
  auto large = options(source, Format::raw, "target", kKinds[2]);
  large.create.virtual_size = std::uint64_t{3} << 40;
  EXPECT_EQ(convert(large).error().code, Errc::unsupported);
  auto nowhere = options(source, Format::raw, "no/such/target", kKinds[4]);
  EXPECT_EQ(convert(nowhere).error().code, Errc::not_found);
  EXPECT_EQ(test::names_in(directory_.path()), (std::vector<std::string>{"source"}));
}

TEST_F(Convert, RawTargetsAreSparseAndZerosAreNotStored) {
  Bytes bytes(64 * kMiB);
  std::fill_n(bytes.begin() + 30 * kMiB, kMiB, std::byte{7});
  test::write_file(file("dense"), bytes);  // zeros that are really written
  for (const Kind& to : {kKinds[0], kKinds[2], kKinds[4]}) {
    auto how = options(file("dense"), Format::raw, to.name, to);
    how.reflink = false;
    how.create.block_size = to.format == Format::raw ? 0 : 2 * kMiB;
    const auto result = run(how);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->copied_bytes, kMiB);
    EXPECT_EQ(result->zero_bytes + result->skipped_bytes, 63 * kMiB);
    auto disk = Disk::open(how.target, {.format = to.format});
    ASSERT_TRUE(disk);
    EXPECT_LE(disk->info(true)->layers[0].allocated_bytes, 9 * kMiB) << to.name;
  }
}

TEST_F(Convert, BlocksLieInTheFileInTheOrderOfTheDisk) {
  const Bytes bytes = test::pattern(48 * kMiB, 1);
  const std::string source = image("source", kKinds[0], bytes);
  for (const Kind& to : {kKinds[2], kKinds[4]}) {
    auto how = options(source, Format::raw, to.name, to);
    how.create.block_size = 2 * kMiB;
    how.reflink = false;
    ASSERT_TRUE(run(how));
    auto disk = Disk::open(how.target, {});
    ASSERT_TRUE(disk);
    std::uint64_t last = 0;
    for (std::uint64_t at = 0; at < bytes.size();) {
      const auto entry = disk->map({at}, bytes.size() - at);
      ASSERT_TRUE(entry);
      EXPECT_GT(entry->host_offset.value, last);
      last = entry->host_offset.value;
      at += entry->length;
    }
  }
}

TEST_F(Convert, TheIdentifierOfADiskStays) {
  const Guid id{{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
  const std::string source = file("source.vhdx");
  ASSERT_TRUE(create(source, {.virtual_size = 4 * kMiB, .identifier = id}));
  for (const Kind& to : {kKinds[1], kKinds[2], kKinds[3], kKinds[4]}) {
    auto how = options(source, std::nullopt, to.name, to);
    ASSERT_TRUE(run(how));
    auto disk = Disk::open(how.target, {});
    ASSERT_TRUE(disk);
    EXPECT_EQ(disk->info(false)->layers[0].identifier, id) << to.name;
  }
}

TEST_F(Convert, RawFilesThatEndInsideASectorAreRoundedUp) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{1000}, kMiB + 1}) {
    Bytes bytes = test::pattern(size, size);
    test::write_file(file("ragged"), bytes);
    bytes.resize((size + 511) / 512 * 512);
    for (const Kind& to : kKinds) {
      auto how = options(file("ragged"), Format::raw, "target", to);
      how.create.overwrite = true;
      const auto result = run(how);
      ASSERT_TRUE(result);
      ASSERT_EQ(result->notes.size(), 1u);
      EXPECT_EQ(result->notes[0],
                "virtual size rounded up from " + std::to_string(size) + " to " +
                    std::to_string(bytes.size()) + " bytes, with " +
                    std::to_string(bytes.size() - size) +
                    " bytes of zeros at the end: a disk has whole sectors of 512 bytes");
      EXPECT_TRUE(read_image(how.target, to.format) == bytes) << size << " " << to.name;
    }
  }
}

TEST_F(Convert, DisksWithLargeSectorsKeepThem) {
  const Bytes bytes = contents_with_holes(8 * kMiB, 4);
  const std::string source = file("source.vhdx");
  ASSERT_EQ(make_image(source, {.logical_sector_size = 4096}, bytes), "");
  auto how = options(source, std::nullopt, "target.vhdx", kKinds[4]);
  ASSERT_TRUE(run(how));
  auto disk = Disk::open(how.target, {});
  ASSERT_TRUE(disk);
  EXPECT_EQ(disk->geometry().logical_sector_size, 4096u);
  EXPECT_TRUE(read_image(how.target, Format::vhdx) == bytes);
  EXPECT_EQ(convert(options(source, std::nullopt, "a.vhd", kKinds[2])).error().code, Errc::invalid);
}

TEST_F(Convert, CompareTellsSizesFromContents) {
  Bytes bytes = contents_with_holes(3 * kMiB, 4);
  const std::string a = image("a.vhdx", kKinds[4], bytes);
  bytes.resize(4 * kMiB);
  const std::string b = image("b.vhd", kKinds[2], bytes);
  const auto lenient = compare({.a = a, .b = b});
  ASSERT_TRUE(lenient);
  EXPECT_TRUE(lenient->equal);
  EXPECT_TRUE(lenient->sizes_differ);
  const auto strict = compare({.a = a, .b = b, .strict = true});
  ASSERT_TRUE(strict);
  EXPECT_FALSE(strict->equal);
  bytes[3 * kMiB + 100] = std::byte{1};
  const std::string c = image("c.vhd", kKinds[1], bytes);
  const auto different = compare({.a = a, .b = c});
  ASSERT_TRUE(different);
  EXPECT_FALSE(different->equal);
  EXPECT_EQ(different->first_difference, VirtualOffset{3 * kMiB + 100});
  EXPECT_EQ(compare({.a = "-", .b = a}).error().code, Errc::invalid);
}

}  // namespace
}  // namespace openvhd
