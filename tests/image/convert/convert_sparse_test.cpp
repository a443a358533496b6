#include <gtest/gtest.h>
#include <sys/stat.h>

#include <openvhd/convert.hpp>

#include "image/convert/disks.hpp"
#include "support/bytes.hpp"
#include "support/temp_dir.hpp"

namespace openvhd::test {
namespace {

constexpr std::size_t kSize = std::size_t{64} << 20;

std::uint64_t stored_bytes(const std::string& path) {
  struct stat info{};
  EXPECT_EQ(::stat(path.c_str(), &info), 0);
  return static_cast<std::uint64_t>(info.st_blocks) * 512;
}

class ConvertSparse : public testing::TestWithParam<Kind> {};

// 4 KiB in every 8 MiB touch every block there is; the file is to hold what was written.
TEST_P(ConvertSparse, HoldsOnTheHostWhatWasWritten) {
  const Kind kind = GetParam();
  const TempDir folder;
  std::vector<std::byte> bytes(kSize);
  for (std::size_t at = 0; at < kSize; at += std::size_t{8} << 20) {
    const auto data = pattern(4096, at + 1);
    std::copy(data.begin(), data.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
  }
  ConvertOptions options;
  options.source = folder / "source.raw";
  options.source_format = Format::raw;
  options.target = folder / "target";
  options.create.format = kind.format;
  options.create.type = kind.type;
  write_file(options.source, bytes);
  ASSERT_TRUE(convert(options));
  EXPECT_EQ(read_image(options.target, kind.format), bytes);
  const std::uint64_t stored = stored_bytes(options.target);
  if (kind.type == DiskType::fixed) {
    EXPECT_GE(stored, kSize) << "fixed is laid out";
  } else {
    EXPECT_LT(stored, kSize / 8) << "dynamic is sparse";
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, ConvertSparse,
                         testing::ValuesIn(std::vector<Kind>{kKinds[1], kKinds[2], kKinds[3],
                                                             kKinds[4]}),
                         [](const auto& kind) { return std::string{kind.param.name}; });

}  // namespace
}  // namespace openvhd::test
