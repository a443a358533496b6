// Random lives of disks against a flat model: at least two million operations in the default tier
// (RELIABILITY T05). OPENVHD_OPERATIONS sets another number in all, OPENVHD_SEED another start.

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/checked.hpp"
#include "differential/scenario.hpp"

namespace openvhd::test {
namespace {

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

std::vector<Shape> shapes() {
  std::vector<Shape> out;
  // VHDX: every block size; both sector sizes; sizes that end inside a block; beyond a chunk.
  for (std::uint64_t block = kMiB; block <= 256 * kMiB; block *= 2) {
    out.push_back({Format::vhdx, DiskType::dynamic, 5 * kGiB + 3 * 512, block, 512, 0});
    out.push_back({Format::vhdx, DiskType::dynamic, 40 * kGiB + 4096, block, 4096, 0});
    out.push_back({Format::vhdx, DiskType::differencing, 5 * kGiB + 512, block, 512, 1});
    out.push_back({Format::vhdx, DiskType::differencing, 33 * kGiB + 4096, block, 4096, 1});
  }
  out.push_back({Format::vhdx, DiskType::fixed, 64 * kMiB, kMiB, 512, 0});
  out.push_back({Format::vhdx, DiskType::fixed, 40 * kMiB + 4096, 8 * kMiB, 4096, 0});
  out.push_back({Format::vhdx, DiskType::dynamic, 512, kMiB, 512, 0});
  out.push_back({Format::vhdx, DiskType::dynamic, 64 * kTiB, kMiB, 512, 0});
  out.push_back({Format::vhdx, DiskType::differencing, 9 * kMiB, kMiB, 512, 4});
  // VHD: block sizes around the usual one; the largest disk; chains.
  for (const std::uint64_t block : {std::uint64_t{4096}, 512 * kKiB, 2 * kMiB, 16 * kMiB}) {
    const std::uint64_t size = block == 4096 ? 100 * kMiB + 512 : 5 * kGiB + 512;
    out.push_back({Format::vhd, DiskType::dynamic, size, block, 512, 0});
    out.push_back({Format::vhd, DiskType::differencing, size, block, 512, 1});
  }
  out.push_back({Format::vhd, DiskType::fixed, 70 * kMiB + 512, 0, 512, 0});
  out.push_back({Format::vhd, DiskType::dynamic, 512, 2 * kMiB, 512, 0});
  out.push_back({Format::vhd, DiskType::dynamic, 2040 * kGiB, 2 * kMiB, 512, 0});
  out.push_back({Format::vhd, DiskType::differencing, 9 * kMiB, 2 * kMiB, 512, 4});
  return out;
}

// Sanitizers look for other mistakes than the model does, and are ten times slower.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t kAll = 100'000;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr std::uint64_t kAll = 100'000;
#else
constexpr std::uint64_t kAll = 2'100'000;
#endif
#else
constexpr std::uint64_t kAll = 2'100'000;
#endif

class Differential : public testing::TestWithParam<Shape> {};

TEST_P(Differential, ReadsAsTheFlatModelDoes) {
  const std::uint64_t each = number_from("OPENVHD_OPERATIONS", kAll) / shapes().size() + 1;
  const std::uint64_t seed = number_from("OPENVHD_SEED", 1);
  Scenario scenario{GetParam(), seed};
  EXPECT_EQ(scenario.run(each), "") << GetParam().name() << " seed " << seed;
  RecordProperty("operations", static_cast<int>(each));
}

INSTANTIATE_TEST_SUITE_P(Shapes, Differential, testing::ValuesIn(shapes()),
                         [](const auto& shape) { return shape.param.name(); });

}  // namespace
}  // namespace openvhd::test
