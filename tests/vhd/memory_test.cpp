// Memory: the budget of an open holds, whatever the image and whatever is done to it.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/checked.hpp"
#include "support/bytes.hpp"
#include "vhd/disk.hpp"
#include "vhd/heap.hpp"
#include "vhd/image_bytes.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kLargest = std::uint64_t{2040} << 30;
constexpr std::uint64_t kBlock = 2 * kMiB;
/// Beyond the header and the largest table.
constexpr std::uint64_t kHeadBytes = 20 * kMiB;

/// Keeps the head of a file, so that terabytes of blocks take no memory: the rest reads as zeros.
/// Remembers the most memory there was while it was in use.
class HeadFile : public MemoryFile {
 public:
  using MemoryFile::MemoryFile;

  std::int32_t execute(const IoCommand& command) noexcept override {
    using Kind = IoCommand::Kind;
    if (commands_++ % 64 == 0) most_heap = std::max(most_heap, heap_bytes());
    const bool changes = command.kind == Kind::zero || command.kind == Kind::punch;
    if (command.at.value >= kHeadBytes && (changes || command.kind == Kind::write))
      return command.kind == Kind::write ? static_cast<std::int32_t>(command.length) : 0;
    return MemoryFile::execute(command);
  }

  std::size_t most_heap = 0;

 private:
  std::uint64_t commands_ = 0;
};

Store new_image(DiskType type, std::uint64_t size, std::uint64_t block = kBlock) {
  auto store = std::make_shared<MemoryStore>();
  MemoryFile file{store};
  FixedHost host{3};
  vhd::CreateSpec spec{.type = type, .geometry = {.virtual_size = size, .block_size = block}};
  spec.parent_name = "p.vhd";
  spec.parent_relative = ".\\p.vhd";
  EXPECT_TRUE(vhd::create(file, spec, host));
  return store;
}

Result<Disk> open_head(const Store& store, std::uint64_t budget) {
  return open_disk(std::make_unique<HeadFile>(store),
                   {.writable = true, .table_cache_bytes = budget});
}

HeadFile& head(Disk& disk) { return static_cast<HeadFile&>(disk.file()); }

/// Claims of blocks (8 bytes and a third of slack, old and new while they grow), and what
/// MemoryStore keeps of the table.
std::size_t beside_the_budget(std::uint64_t blocks) { return 2 * blocks * 32 / 3 + blocks * 5; }

/// What locate() says of the sector at `at`.
Extent locate(Disk& disk, std::uint64_t at) {
  while (true) {
    auto step = disk.leaf().locate({at}, 512);
    if (const auto* extent = std::get_if<Extent>(&step)) return *extent;
    const auto* const command = std::get_if<IoCommand>(&step);
    if (command == nullptr) std::abort();
    disk.leaf().complete(command->token, disk.file().execute(*command));
  }
}

TEST(VhdMemory, OneClearOfTheLargestDifferencingDiskStaysInItsBudget) {
  constexpr std::uint64_t kBudget = 4 * kMiB;
  auto disk = open_head(new_image(DiskType::differencing, kLargest), kBudget);
  ASSERT_TRUE(disk);
  const std::size_t before = heap_bytes();
  ASSERT_TRUE(disk->clear(0, kLargest, ClearKind::zero));
  ASSERT_TRUE(disk->flush());
  const std::size_t taken = head(*disk).most_heap - before;
  RecordProperty("heap_bytes", std::to_string(taken));
  EXPECT_LT(taken, kBudget + beside_the_budget(kLargest / kBlock));
  EXPECT_EQ(locate(*disk, kLargest - 512).kind, Extent::Kind::data);
}

// Bitmaps that wait for a flush are the ones that were not used for longest: those that reads
// bring in are to go before them.
TEST(VhdMemory, ReadsStayInTheBudgetWhileBitmapsWaitForAFlush) {
  constexpr std::uint64_t kBudget = kMiB;
  constexpr std::uint64_t kBlocks = 65536;
  const Store store = new_image(DiskType::differencing, kBlocks * kBlock);
  {
    auto disk = open_head(store, kBudget);
    ASSERT_TRUE(disk);
    ASSERT_TRUE(disk->clear(0, kBlocks * kBlock, ClearKind::zero));
    ASSERT_TRUE(disk->flush());
  }
  auto disk = open_head(store, kBudget);
  ASSERT_TRUE(disk);
  const std::size_t before = heap_bytes();
  for (std::uint64_t block = 0; block < 128; ++block)
    ASSERT_TRUE(disk->clear(block * kBlock, 512, ClearKind::zero));
  for (std::uint64_t block = 128; block < kBlocks; ++block) (void)locate(*disk, block * kBlock);
  EXPECT_LT(head(*disk).most_heap, before + kBudget + beside_the_budget(kBlocks));
}

TEST(VhdMemory, TablePagesThatWaitForAFlushStayInTheBudget) {
  constexpr std::uint64_t kBudget = kMiB;
  constexpr std::uint64_t kPageOfTable = 1024 * kBlock;
  auto disk = open_head(new_image(DiskType::dynamic, kLargest), kBudget);
  ASSERT_TRUE(disk);
  const std::size_t before = heap_bytes();
  // What MemoryStore keeps of the table, and claims of few blocks.
  constexpr std::size_t kBeside = kMiB;
  for (std::uint64_t at = 0; at < kLargest; at += kPageOfTable)
    ASSERT_TRUE(disk->write(at, pattern(512, at)));
  EXPECT_LT(head(*disk).most_heap, before + kBudget + kBeside);
  for (std::uint64_t at = 0; at < kLargest; at += kPageOfTable)
    ASSERT_TRUE(disk->clear(at, kBlock, ClearKind::trim));
  EXPECT_LT(head(*disk).most_heap, before + kBudget + kBeside);
}

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
