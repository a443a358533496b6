// The same commands on images, through the library's queues.
#include <openvhd/create.hpp>
#include <openvhd/disk.hpp>

#include "initiator.hpp"
#include "queue_backend.hpp"
#include "support/temp_dir.hpp"

namespace openvhd::scsi {
namespace {

using namespace test;

class ScsiImage : public testing::TestWithParam<std::uint32_t> {};

TEST_P(ScsiImage, HoldsWhatWasWrittenUntilItIsUnmapped) {
  const auto block = GetParam();
  openvhd::test::TempDir dir;
  const auto path = dir / "disk.vhdx";
  ASSERT_TRUE(create(path, {.virtual_size = 8 << 20, .logical_sector_size = block}));
  auto disk = Disk::open(path, {.access = Access::read_write});
  ASSERT_TRUE(disk);
  auto queue = Queue::open(*disk, {});
  ASSERT_TRUE(queue);
  QueueBackend backend{*queue};
  ScsiTarget target;
  ASSERT_TRUE(
      target.attach(0, std::make_unique<ScsiDisk>(identity(), DiskShape{.bytes = 8 << 20,
                                                                        .logical_block = block,
                                                                        .physical_block = 4096,
                                                                        .writable = true,
                                                                        .thin = true})));
  ScsiPort port{target};
  port.connect(0, backend);
  static unsigned ends;
  const auto run = [&](std::initializer_list<unsigned> cdb, std::span<iovec> in,
                       std::span<iovec> out) {
    ScsiRequest request;
    std::copy(cdb.begin(), cdb.end(), request.cdb.begin());
    request.in = in;
    request.out = out;
    request.done = [](ScsiRequest&) noexcept { ++ends; };
    ends = 0;
    port.execute(request);
    while (ends == 0) queue->wait();
    EXPECT_EQ(request.status, ScsiStatus::good) << *cdb.begin();
    return request.moved;
  };
  std::vector<std::uint8_t> wrote(2 * block, 0x5a), read(2 * block, 0xee);
  // Pieces that begin and end within sectors.
  std::array<iovec, 3> pieces{};
  const auto cut = [&](std::vector<std::uint8_t>& bytes) {
    pieces = {iovec{bytes.data(), 100}, iovec{bytes.data() + 100, block},
              iovec{bytes.data() + 100 + block, block - 100}};
    return std::span<iovec>{pieces};
  };
  EXPECT_EQ(run({0x2a, 0x08, 0, 0, 0, 3, 0, 0, 2, 0}, {}, cut(wrote)), 2 * block);
  EXPECT_EQ(run({0x28, 0, 0, 0, 0, 3, 0, 0, 2, 0}, cut(read), {}), 2 * block);
  EXPECT_EQ(read, wrote);
  run({0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {}, {});
  std::vector<std::uint8_t> list(24);
  list[1] = 22;
  list[3] = 16;
  list[8 + 7] = 3;
  list[8 + 11] = 1;
  std::array one{iovec{list.data(), list.size()}};
  run({0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0}, {}, one);
  run({0x28, 0, 0, 0, 0, 3, 0, 0, 2, 0}, cut(read), {});
  for (std::uint32_t i = 0; i < 2 * block; ++i) ASSERT_EQ(read[i], i < block ? 0 : 0x5a) << i;
  queue = Error{};  // closes it
  ASSERT_TRUE(disk->close());
}

INSTANTIATE_TEST_SUITE_P(Sectors, ScsiImage, testing::Values(512, 4096));

}  // namespace
}  // namespace openvhd::scsi
