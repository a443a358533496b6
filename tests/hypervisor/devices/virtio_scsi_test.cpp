#include "hypervisor/devices/virtio_driver.hpp"

namespace openvhd::vmm {
namespace {

using namespace test;
constexpr std::uint8_t kNeedsReset = 0x40;

TEST_F(VirtioTest, AReadGoesStraightIntoGuestMemory) {
  start();
  offer_read();
  serve();
  ASSERT_EQ(given(2), 1);
  EXPECT_EQ(peek32(used(2) + 4), 0U) << "the head";
  EXPECT_EQ(peek32(used(2) + 8), 108U + 512);
  EXPECT_EQ(byte_at(0x4100 + 10), 0) << "GOOD";
  EXPECT_EQ(byte_at(0x4100 + 11), 0) << "VIRTIO_SCSI_S_OK";
  EXPECT_EQ(peek32(0x4100 + 4), 0U) << "no residual";
  EXPECT_EQ(byte_at(0x5000), 3);
  EXPECT_EQ(disk.last_buffer, memory.low().data() + 0x5000);
  EXPECT_EQ(messages.sent,
            (std::vector<std::pair<std::uint64_t, std::uint32_t>>{{0xfee0'0000, 0x43}}));
}

TEST_F(VirtioTest, AWriteComesFromGuestMemory) {
  start();
  command_at(0x4000, {0x2a, 0, 0, 0, 0, 9, 0, 0, 1, 0});
  std::fill_n(memory.low().begin() + 0x5000, 512, std::byte{0x77});
  // The header and the data in one piece, then an answer in two.
  std::copy_n(memory.low().begin() + 0x4000, 51, memory.low().begin() + 0x5000 - 51);
  describe(descriptors(2), 4,
           {{0x5000 - 51, 51 + 512, false}, {0x4100, 5, true}, {0x4200, 103, true}});
  offer(2, 4);
  serve();
  EXPECT_EQ(disk.bytes[9 * 512], std::byte{0x77});
  EXPECT_EQ(disk.bytes[9 * 512 + 511], std::byte{0x77});
  EXPECT_EQ(given(2), 1);
  EXPECT_EQ(byte_at(0x4200 + 6), 0) << "the code, behind the gap";
}

TEST_F(VirtioTest, FailuresBringSenseAndAResidual) {
  start();
  command_at(0x4000, {0x28, 0, 0, 0, 255, 0, 0, 0, 1, 0});
  describe(descriptors(2), 0, {{0x4000, 51, false}, {0x4100, 108, true}, {0x5000, 512, true}});
  offer(2, 0);
  serve();
  EXPECT_EQ(byte_at(0x4100 + 10), 2) << "CHECK CONDITION";
  EXPECT_EQ(peek32(0x4100), 18U);
  EXPECT_EQ(peek32(0x4104), 512U);
  EXPECT_EQ(byte_at(0x4100 + 12 + 12), 0x21);
  command_at(0x4000, {0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0});
  offer(2, 0);
  serve();
  EXPECT_EQ(byte_at(0x4100 + 11), 1) << "VIRTIO_SCSI_S_OVERRUN";
  command_at(0x4000, {0x12, 0, 0, 0, 36, 0}, 0, 3);
  offer(2, 0);
  serve();
  EXPECT_EQ(byte_at(0x4100 + 11), 3) << "VIRTIO_SCSI_S_BAD_TARGET";
  EXPECT_EQ(given(2), 3);
}

TEST_F(VirtioTest, IndirectTablesAreFollowedOnce) {
  start(1ULL << 32 | 1ULL << 28);
  command_at(0x4000, {0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0});
  describe(0x6000, 0, {{0x4000, 51, false}, {0x4100, 108, true}, {0x5000, 512, true}});
  poke(descriptors(2), Le64{0x6000U});
  poke(descriptors(2) + 8, Le32{48U});
  poke(descriptors(2) + 12, Le16{std::uint16_t{4}});
  offer(2, 0);
  serve();
  EXPECT_EQ(given(2), 1);
  EXPECT_EQ(byte_at(0x5000), 3);
  // A table in a table.
  poke(0x6000 + 12, Le16{std::uint16_t{4}});
  offer(2, 0);
  serve();
  EXPECT_EQ(status() & kNeedsReset, kNeedsReset);
  EXPECT_EQ(given(2), 1);
}

TEST_F(VirtioTest, ChainsThatBreakARuleStopTheDevice) {
  const auto breaks = [&](const char* how, auto&& change) {
    put(0x14, 1, 0);
    messages.sent.clear();
    start();
    offer_read();
    change();
    serve();
    EXPECT_EQ(status() & kNeedsReset, kNeedsReset) << how;
    EXPECT_EQ(messages.sent.size(), 1U) << how << ": the driver is told";
    offer_read();
    serve();
    EXPECT_TRUE(disk.waiting.empty()) << how;
    EXPECT_EQ(disk.transfers, 0U) << how;
  };
  const auto at = descriptors(2);
  breaks("a loop", [&] { poke(at + 16 + 14, Le16{std::uint16_t{0}}); });
  breaks("a next beyond the table", [&] { poke(at + 14, Le16{kSize}); });
  breaks("a head beyond the table", [&] { poke(driver(2) + 4, Le16{std::uint16_t{999}}); });
  breaks("more than the ring holds", [&] { poke(driver(2) + 2, Le16{std::uint16_t{kSize + 2}}); });
  breaks("a piece outside of memory", [&] { poke(at + 32, Le64{0xfee0'0000U}); });
  breaks("a piece that wraps", [&] { poke(at + 32, Le64{~0ULL - 5}); });
  breaks("readable behind writable", [&] { poke(at + 32 + 12, Le16{std::uint16_t{0}}); });
  breaks("a header that is too short", [&] { poke(at + 8, Le32{50U}); });
  breaks("no room for the answer", [&] {
    poke(at + 16 + 8, Le32{20U});
    poke(at + 32 + 8, Le32{20U});
  });
  put(0x14, 1, 0);
  EXPECT_EQ(status(), 0);
  start();
  offer_read();
  serve();
  EXPECT_EQ(given(2), 1) << "after a reset it works again";
}

TEST_F(VirtioTest, QueuesThatCannotBeAreNotEnabled) {
  put(0x14, 1, 1);
  const auto enables = [&](std::uint16_t size, std::uint64_t descriptors_at,
                           std::uint64_t driver_at, std::uint64_t device_at) {
    put(0x16, 2, 2);
    put(0x18, 2, size);
    put(0x20, 8, descriptors_at);
    put(0x28, 8, driver_at);
    put(0x30, 8, device_at);
    put(0x1c, 2, 1);
    return get(0x1c, 2) == 1;
  };
  EXPECT_FALSE(enables(0, 0x1000, 0x2000, 0x3000));
  EXPECT_FALSE(enables(12, 0x1000, 0x2000, 0x3000));
  EXPECT_FALSE(enables(512, 0x1000, 0x2000, 0x3000));
  EXPECT_FALSE(enables(16, 0x1008, 0x2000, 0x3000));
  EXPECT_FALSE(enables(16, 0x1000, 0x2001, 0x3000));
  EXPECT_FALSE(enables(16, 0x1000, 0x2000, 0x3002));
  EXPECT_FALSE(enables(16, kMinMemory - 16, 0x2000, 0x3000));
  EXPECT_FALSE(enables(16, 0x1000, 0xa0000, 0x3000));
  EXPECT_FALSE(enables(16, 0x1000, 0x2000, ~0xfULL));
  EXPECT_TRUE(enables(16, 0x1000, 0x2000, 0x3000));
  put(0x20, 8, 0x9000);
  EXPECT_EQ(get(0x20, 4), 0x1000U) << "fixed from then on";
  put(0x16, 2, 9);
  EXPECT_EQ(get(0x18, 2), 0U) << "there is no such queue";
}

TEST_F(VirtioTest, AResetWaitsForWhatIsUnderWay) {
  start();
  offer_read();
  EXPECT_FALSE(device.serve());
  ASSERT_EQ(disk.waiting.size(), 1U);
  put(0x14, 1, 0);
  EXPECT_NE(status(), 0) << "guest memory is still being written to";
  put(0x14, 1, 1);
  disk.run();
  EXPECT_EQ(status(), 0);
  EXPECT_EQ(given(2), 0) << "a ring that is no more is not written to";
  EXPECT_TRUE(device.is_idle());
  start();
  offer_read();
  serve();
  EXPECT_EQ(given(2), 1);
}

// The guest changes everything once the command is under way: what was read first counts.
TEST_F(VirtioTest, WhatTheGuestChangesMeanwhileIsNotReadAgain) {
  start(1ULL << 32 | 1ULL << 28);
  command_at(0x4000, {0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0});
  describe(0x6000, 0, {{0x4000, 51, false}, {0x4100, 108, true}, {0x5000, 512, true}});
  poke(descriptors(2), Le64{0x6000U});
  poke(descriptors(2) + 8, Le32{48U});
  poke(descriptors(2) + 12, Le16{std::uint16_t{4}});
  offer(2, 0);
  EXPECT_FALSE(device.serve());
  for (const std::uint64_t at : {0x4000ULL, 0x6000ULL, 0ULL + descriptors(2)})
    std::fill_n(memory.low().begin() + static_cast<std::ptrdiff_t>(at), 64, std::byte{0xff});
  poke(driver(2) + 4, Le16{std::uint16_t{0xffff}});
  serve();
  EXPECT_EQ(byte_at(0x5000), 3);
  EXPECT_EQ(peek32(0x4104), 0U);
  EXPECT_EQ(given(2), 1);
  EXPECT_EQ(peek32(used(2) + 4), 0U) << "the head as it was";
}

TEST_F(VirtioTest, EveryCommandEndsOnceInWhateverOrder) {
  start();
  for (std::uint16_t i = 0; i < 5; ++i) {
    const std::uint64_t at = 0x4000 + i * 0x200ULL;
    command_at(at, {0x28, 0, 0, 0, 0, i, 0, 0, 1, 0}, 0, 0, i);
    describe(descriptors(2), static_cast<std::uint16_t>(3 * i),
             {{at, 51, false}, {at + 0x100, 108, true}, {0x8000 + i * 512ULL, 512, true}});
    offer(2, static_cast<std::uint16_t>(3 * i));
  }
  EXPECT_FALSE(device.serve());
  ASSERT_EQ(disk.waiting.size(), 5U);
  std::reverse(disk.waiting.begin(), disk.waiting.end());
  serve();
  ASSERT_EQ(given(2), 5);
  for (std::uint16_t i = 0; i < 5; ++i) {
    EXPECT_EQ(peek32(used(2) + 4 + 8ULL * i), 3U * (4 - i));
    EXPECT_EQ(byte_at(0x8000 + i * 512ULL), i);
  }
  EXPECT_TRUE(device.is_idle());
}

// A head that is offered again while it is under way, with the same tag.
TEST_F(VirtioTest, IdsOfTheDriverAreEchoedAndTellNothingApart) {
  start();
  offer_read();
  offer_read();
  EXPECT_FALSE(device.serve());
  EXPECT_EQ(disk.waiting.size(), 2U);
  serve();
  EXPECT_EQ(given(2), 2);
  EXPECT_EQ(status() & kNeedsReset, 0);
  EXPECT_TRUE(device.is_idle());
}

TEST_F(VirtioTest, FeaturesThatAreNotOfferedAreRefused) {
  EXPECT_EQ(get(0x04, 4) & 0x3000'0000, 0x3000'0000U);
  put(0x14, 1, 3);
  put(0x08, 4, 0);
  put(0x0c, 4, 1);  // VIRTIO_SCSI_F_INOUT
  put(0x08, 4, 1);
  put(0x0c, 4, 1);
  put(0x14, 1, 11);
  EXPECT_EQ(status() & 8, 0);
  put(0x08, 4, 0);
  put(0x0c, 4, 0);
  put(0x14, 1, 11);
  EXPECT_EQ(status() & 8, 8);
  put(0x0c, 4, 4);
  EXPECT_EQ(get(0x0c, 4), 0U) << "settled";
}

TEST_F(VirtioTest, InterruptsWaitWhileMasked) {
  start();
  put(0x403c, 4, 1);  // the request queue's vector
  offer_read();
  serve();
  EXPECT_TRUE(messages.sent.empty());
  EXPECT_EQ(get(0x5000, 4), 8U);
  put(0x403c, 4, 0);
  EXPECT_EQ(messages.sent.size(), 1U);
  EXPECT_EQ(get(0x5000, 4), 0U);
  device.PciFunction::write(0x9a, 2, 0xc000);  // the whole function
  offer_read();
  serve();
  EXPECT_EQ(messages.sent.size(), 1U);
  device.PciFunction::write(0x9a, 2, 0x8000);
  EXPECT_EQ(messages.sent.size(), 2U);
}

TEST_F(VirtioTest, DriversThatPollAreLeftAlone) {
  start();
  poke(driver(2), Le16{std::uint16_t{1}});  // no interrupts
  offer_read();
  serve();
  EXPECT_TRUE(messages.sent.empty());
  put(0x14, 1, 0);
  start(1ULL << 32 | 1ULL << 29);
  poke(driver(2) + 4 + 2 * kSize, Le16{std::uint16_t{1}});  // tell me of the second
  offer_read();
  serve();
  EXPECT_TRUE(messages.sent.empty());
  EXPECT_EQ(peek16(used(2) + 4 + 8 * kSize), 1) << "and the device wants to know of the next";
  offer_read();
  serve();
  EXPECT_EQ(messages.sent.size(), 1U);
}

TEST_F(VirtioTest, TaskManagementWaitsForTheCommand) {
  start();
  offer_read(0, 77);
  EXPECT_FALSE(device.serve());
  const auto manage = [&](unsigned task, std::uint64_t tag) {
    std::fill_n(memory.low().begin() + 0x7000, 32, std::byte{0});
    poke(0x7004, Le32{task});
    poke(0x7008, std::byte{1});
    poke(0x7010, Le64{tag});
    poke(0x7100, std::byte{0xee});
    describe(descriptors(0), 0, {{0x7000, 24, false}, {0x7100, 1, true}});
    offer(0, 0);
    static_cast<void>(device.serve());
  };
  manage(6, 77);
  EXPECT_EQ(byte_at(0x7100), 10) << "QUERY TASK: it is there";
  manage(0, 78);
  EXPECT_EQ(byte_at(0x7100), 0) << "ABORT TASK of none is done at once";
  manage(0, 77);
  EXPECT_EQ(byte_at(0x7100), 0xee);
  EXPECT_EQ(given(0), 2);
  disk.run();
  EXPECT_EQ(byte_at(0x7100), 0);
  EXPECT_EQ(given(0), 3);
  EXPECT_EQ(given(2), 1) << "the command ended before its abort did";
  manage(5, 0);  // LOGICAL UNIT RESET
  EXPECT_EQ(given(0), 4);
  offer_read();
  serve();
  EXPECT_EQ(byte_at(0x4100 + 12 + 12), 0x29) << "the next command is told";
  manage(99, 0);
  EXPECT_EQ(byte_at(0x7100), 11);
}

TEST_F(VirtioTest, ANewSizeIsAnEvent) {
  start(1ULL << 32 | 1ULL << 2);
  device.unit_changed(0);
  EXPECT_EQ(given(1), 0) << "no buffer: the event is missed";
  describe(descriptors(1), 0, {{0x7000, 16, true}});
  offer(1, 0);
  device.unit_changed(0);
  EXPECT_EQ(given(1), 1);
  EXPECT_EQ(peek32(0x7000), 0x8000'0003U) << "parameters changed, and some were missed";
  EXPECT_EQ(peek32(0x700c), 0x092aU);
  EXPECT_EQ(messages.sent.back().second, 0x42U);
}

TEST_F(VirtioTest, TheBarMovesAndTheDoorbellWithIt) {
  EXPECT_EQ(doorbell.at, GuestAddress{kBar + 0x3000});
  EXPECT_EQ(get(0x12, 2), 3U);
  device.PciFunction::write(0x10, 4, 0xffff'ffff);
  EXPECT_EQ(device.PciFunction::read(0x10, 4), 0xffff'8000U) << "32 KiB";
  device.PciFunction::write(0x10, 4, 0x9000'0000);
  EXPECT_EQ(doorbell.at, GuestAddress{0x9000'3000});
  EXPECT_EQ(get(0x12, 2), 0xffffU) << "nobody is there any more";
  device.PciFunction::write(0x04, 2, 0);
  EXPECT_EQ(doorbell.at, std::nullopt);
}

TEST_F(VirtioTest, ConfigurationSpaceIsAWindowToTheBar) {
  device.PciFunction::write(0x8c, 4, 0x12);
  device.PciFunction::write(0x90, 4, 2);
  EXPECT_EQ(device.guest_read(0x94, 4), 3U) << "the number of queues";
  device.PciFunction::write(0x8c, 4, 0x14);
  device.PciFunction::write(0x90, 4, 1);
  device.PciFunction::write(0x94, 1, 1);
  EXPECT_EQ(status(), 1);
  device.PciFunction::write(0x8c, 4, 0xffff'fff0);
  EXPECT_EQ(device.guest_read(0x94, 4), 0xffff'ffffU);
}

TEST_F(VirtioTest, CapabilitiesLeadToEachOther) {
  std::vector<unsigned> kinds;
  auto at = static_cast<std::uint8_t>(device.PciFunction::read(0x34, 1));
  for (unsigned i = 0; at != 0 && i < 10; ++i) {
    const auto id = device.PciFunction::read(at, 1);
    kinds.push_back(id == 9 ? device.PciFunction::read(static_cast<std::uint8_t>(at + 3), 1) : id);
    at = static_cast<std::uint8_t>(device.PciFunction::read(static_cast<std::uint8_t>(at + 1), 1));
  }
  EXPECT_EQ(kinds, (std::vector<unsigned>{1, 3, 4, 2, 5, 0x11}));
}

}  // namespace
}  // namespace openvhd::vmm
