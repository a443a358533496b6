// The thread, its queues and a real image behind the device.
#include "devices/scsi_controller.hpp"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <openvhd/create.hpp>
#include <thread>

#include "base/stored.hpp"
#include "support/temp_dir.hpp"

namespace openvhd::vmm {
namespace {

struct Messages : MessageSink {
  void send(std::uint64_t, std::uint32_t) noexcept override { ++sent; }
  std::atomic<unsigned> sent = 0;
};

struct Bell : Doorbell {
  void ring() noexcept override {
    const std::uint64_t one = 1;
    ASSERT_EQ(::write(event.get(), &one, sizeof one), 8);
  }
  void place(std::optional<GuestAddress>, unsigned) noexcept override {}
  Fd event{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
};

class ScsiControllerTest : public testing::Test {
 protected:
  static constexpr std::uint32_t kBar = 0x8000'0000;
  ScsiControllerTest() {
    EXPECT_TRUE(create(dir / "disk.vhdx", {.virtual_size = 4 << 20}));
    disk.emplace(*Disk::open(dir / "disk.vhdx", {.access = Access::read_write}));
  }
  VirtioParts parts() {
    return {.memory = memory, .bus = bus, .messages = messages, .doorbell = bell};
  }
  void put(std::uint64_t offset, std::size_t width, std::uint64_t value) {
    std::array<std::byte, 8> raw{};
    store(std::span<std::byte>{raw}, Le64{value});
    bus.write({kBar + offset}, std::span{raw}.first(width));
  }
  template <class T>
  void poke(std::uint64_t at, T value) {
    store(memory.low().subspan(at), value);
  }
  // One queue with one command: a header at 0x4000, its data at 0x5000, its answer at 0x6000.
  void write_block(VirtioScsi& device) {
    device.PciFunction::write(0x10, 4, kBar);
    device.PciFunction::write(0x04, 2, 6);
    device.PciFunction::write(0x9a, 2, 0x8000);
    put(0x08, 4, 1);
    put(0x0c, 4, 1);
    put(0x14, 1, 11);
    put(0x16, 2, 2);
    put(0x18, 2, 4);
    put(0x1a, 2, 0);
    put(0x400c, 4, 0);
    for (unsigned area = 0; area < 3; ++area) put(0x20 + 8 * area, 8, 0x1000 * (area + 1ULL));
    put(0x1c, 2, 1);
    poke(0x4000, std::byte{1});
    poke(0x4000 + 19, Be32{0x2a08'0000U});
    poke(0x4000 + 19 + 7, Be16{std::uint16_t{1}});
    std::fill_n(memory.low().begin() + 0x5000, 512, std::byte{0x5a});
    const auto describe = [&](unsigned i, std::uint64_t at, std::uint32_t bytes, unsigned flags) {
      poke(0x1000 + 16ULL * i, Le64{at});
      poke(0x1008 + 16ULL * i, Le32{bytes});
      poke(0x100c + 16ULL * i, Le32{flags | (i + 1) << 16});
    };
    describe(0, 0x4000, 51, 1);
    describe(1, 0x5000, 512, 1);
    describe(2, 0x6000, 108, 2);
    poke(0x2002, Le16{std::uint16_t{1}});
    put(0x14, 1, 15);
    put(0x3008, 2, 2);
  }

  openvhd::test::TempDir dir;
  std::optional<Disk> disk;
  GuestMemory memory = *GuestMemory::create({.bytes = kMinMemory});
  MemoryBus bus;
  Messages messages;
  Bell bell;
};

TEST_F(ScsiControllerTest, AWriteReachesTheImage) {
  const ScsiDrive drive{.disk = &*disk, .serial = {}};
  auto controller = ScsiController::open({&drive, 1}, parts(), bell.event);
  ASSERT_TRUE(controller);
  write_block((*controller)->device());
  while (messages.sent == 0) std::this_thread::sleep_for(std::chrono::milliseconds{1});
  EXPECT_EQ(memory.low()[0x6000 + 10], std::byte{0});
  (*controller)->resized(0, 8 << 20);
  controller->reset();
  std::array<std::byte, 512> back{};
  ASSERT_TRUE(disk->read({0}, back));
  EXPECT_EQ(back[511], std::byte{0x5a});
}

TEST_F(ScsiControllerTest, ItEndsWithACommandUnderWay) {
  const ScsiDrive drive{.disk = &*disk, .serial = "S"};
  auto controller = ScsiController::open({&drive, 1}, parts(), bell.event);
  ASSERT_TRUE(controller);
  write_block((*controller)->device());
  controller->reset();
  EXPECT_TRUE(disk->close());
}

TEST_F(ScsiControllerTest, ChildrenOfOneBaseAreTwoDisks) {
  ASSERT_TRUE(disk->close());
  std::vector<Disk> disks;
  for (const char* name : {"a.avhdx", "b.avhdx"}) {
    ASSERT_TRUE(create(dir / name, {.type = DiskType::differencing, .parent = dir / "disk.vhdx"}));
    disks.push_back(*Disk::open(dir / name, {.access = Access::read_write}));
  }
  const std::array drives{ScsiDrive{.disk = &disks[0], .serial = {}},
                          ScsiDrive{.disk = &disks[1], .serial = {}}};
  auto controller = ScsiController::open(drives, parts(), bell.event);
  ASSERT_TRUE(controller);
  std::array<std::vector<std::uint8_t>, 2> names;
  for (std::uint16_t lun = 0; lun < 2; ++lun) {
    names.at(lun).resize(64);
    iovec room{names.at(lun).data(), 64};
    scsi::ScsiRequest request;
    request.cdb = {0x12, 1, 0x83, 0, 64};
    request.in = {&room, 1};
    request.lun = lun;
    request.done = [](scsi::ScsiRequest&) noexcept {};
    const std::lock_guard held{(*controller)->device().lock()};
    (*controller)->device().port().execute(request);
  }
  EXPECT_EQ(names[0][8], 0x60);
  EXPECT_NE(names[0], names[1]);
}

TEST_F(ScsiControllerTest, ADiskThatIsClosedIsAnError) {
  ASSERT_TRUE(disk->close());
  const ScsiDrive drive{.disk = &*disk, .serial = "S"};
  EXPECT_FALSE(ScsiController::open({&drive, 1}, parts(), bell.event));
}

}  // namespace
}  // namespace openvhd::vmm
