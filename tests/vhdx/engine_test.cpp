// The engine on one image: what it reads, writes and leaves in the file.
#include <gtest/gtest.h>

#include "base/checked.hpp"
#include "support/bytes.hpp"
#include "vhdx/engine_fixture.hpp"

namespace openvhd::test {
namespace {

TEST(VhdxEngine, AnEmptyImageReadsAsAbsentInOneAnswer) {
  const EngineShape shape{.virtual_size = std::uint64_t{1} << 40};
  OpenEngine image{make_image(shape), shape, false};
  const auto extent = image.locate(4096, shape.virtual_size - 4096);
  ASSERT_TRUE(extent);
  EXPECT_EQ(extent->kind, Extent::Kind::absent);
  EXPECT_EQ(extent->length, shape.virtual_size - 4096);
  EXPECT_EQ(image.layer_commands, 0u) << "a hole in the table is not read";
}

TEST(VhdxEngine, WhatIsWrittenReadsBackBeforeAndAfterReopening) {
  const EngineShape shape;
  const auto store = make_image(shape);
  const auto data = pattern(3 * kMiB, 5);
  std::vector<std::byte> got(data.size());
  {
    OpenEngine image{store, shape};
    ASSERT_TRUE(image.write(kMiB / 2, data));
    ASSERT_TRUE(image.read(kMiB / 2, got));
    EXPECT_EQ(got, data);
    ASSERT_TRUE(image.close());
  }
  got.assign(data.size(), std::byte{});
  OpenEngine again{store, shape, false};
  ASSERT_TRUE(again.read(kMiB / 2, got));
  EXPECT_EQ(got, data);
  std::vector<std::byte> rest(kMiB / 2, std::byte{1});
  ASSERT_TRUE(again.read(0, rest));
  EXPECT_EQ(rest, filled(rest.size(), 0));
}

}  // namespace
}  // namespace openvhd::test
