// Memory: the budget of an open holds, whatever the image and whatever is done to it.
#include <gtest/gtest.h>

#include "base/checked.hpp"
#include "support/bytes.hpp"
#include "vhd/disk.hpp"
#include "vhd/heap.hpp"
#include "vhd/image_bytes.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::test {
namespace {

// Small blocks far apart: the space between them is room for millions more.
TEST(VhdMemory, AWideGapBetweenTwoBlocksTakesNoMemory) {
  constexpr std::uint64_t kSmall = 4096;
  constexpr std::uint64_t kApart = std::uint64_t{64} << 30;
  SparseImage image = sparse_image(
      {.footer = {.size = 4 * kSmall}, .block_size = kSmall, .blocks_at = 4096, .blocks = {0, 1}});
  const Bytes footer(image.bytes.end() - 512, image.bytes.end());
  put32(image.bytes, 1536 + 4, kApart / 512);
  image.bytes.resize(image.bytes.size() - 512);
  const Store store = store_of(image.bytes);
  ASSERT_EQ(store->write(kApart + 512 + kSmall, footer), 0);
  auto disk = open_disk(store);
  ASSERT_TRUE(disk);
  const std::size_t before = heap_bytes();
  ASSERT_TRUE(disk->write(2 * kSmall, pattern(512, 1)));
  EXPECT_LT(heap_bytes(), before + kMiB);
  // Both new blocks go there.
  ASSERT_TRUE(disk->write(3 * kSmall, pattern(512, 2)));
  ASSERT_TRUE(disk->close());
  EXPECT_EQ(store->size, kApart + 512 + kSmall + 512);
  auto again = open_disk(store, false);
  ASSERT_TRUE(again);
  for (const unsigned block : {2u, 3u}) {
    Bytes out(512);
    ASSERT_TRUE(again->read(block * kSmall, out));
    EXPECT_EQ(out, pattern(512, block - 1));
  }
}

}  // namespace
}  // namespace openvhd::test
