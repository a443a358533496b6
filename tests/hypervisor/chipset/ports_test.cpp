#include <gtest/gtest.h>

#include "chipset/i8042.hpp"
#include "chipset/platform_ports.hpp"
#include "chipset/rtc.hpp"
#include "chipset/uart.hpp"
#include "hypervisor/chipset/parts.hpp"

namespace openvhd::vmm {
namespace {

using namespace test;

TEST(PortBus, WhatNobodyAnswersReadsAsAllOnes) {
  PortBus bus;
  EXPECT_EQ(bus.read(0x2e8, 1), 0xffU);
  EXPECT_EQ(bus.read(0x2e8, 2), 0xffffU);
  EXPECT_EQ(bus.read(0xffff, 4), 0xffff'ffffU);
  bus.write(0x2e8, 1, 0);
  EXPECT_EQ(bus.unanswered(), 4U);
}

TEST(PortBus, AnAccessMustLieInOneDevice) {
  FakeEvents events;
  Port92 port{events};
  PortBus bus;
  bus.attach(0x92, 1, port);
  EXPECT_EQ(bus.read(0x92, 1), 2U);
  EXPECT_EQ(bus.read(0x92, 2), 0xffffU);
  bus.detach(port);
  EXPECT_EQ(bus.read(0x92, 1), 0xffU);
}

class UartTest : public testing::Test {
 protected:
  FakeLine line;
  TextSink sink;
  Uart uart{line, sink};
};

TEST_F(UartTest, WhatIsWrittenIsSent) {
  for (const char c : std::string{"hello"}) out(uart, 0, static_cast<std::uint8_t>(c));
  EXPECT_EQ(sink.text, "hello");
  EXPECT_EQ(in(uart, 5), 0x60U);
}

TEST_F(UartTest, TheDivisorHidesDataAndInterruptEnable) {
  out(uart, 3, 0x83);
  out(uart, 0, 'x');
  out(uart, 1, 0x05);
  EXPECT_EQ(sink.text, "");
  EXPECT_EQ(in(uart, 0), static_cast<std::uint32_t>('x'));
  EXPECT_EQ(in(uart, 1), 5U);
  out(uart, 3, 0x03);
  EXPECT_EQ(in(uart, 1), 0U);
}

TEST_F(UartTest, EnablingTheEmptyInterruptRaisesItOnce) {
  out(uart, 4, 0x08);
  out(uart, 1, 0x02);
  EXPECT_TRUE(line.level);
  EXPECT_EQ(in(uart, 2), 2U);
  EXPECT_FALSE(line.level);
  EXPECT_EQ(in(uart, 2), 1U);
  out(uart, 0, 'a');
  EXPECT_TRUE(line.level);
}

TEST_F(UartTest, Out2GatesTheInterrupt) {
  out(uart, 1, 0x01);
  const std::byte byte{'k'};
  uart.receive({&byte, 1});
  EXPECT_FALSE(line.level);
  out(uart, 4, 0x08);
  EXPECT_TRUE(line.level);
  EXPECT_EQ(in(uart, 2), 4U);
  EXPECT_EQ(in(uart, 0), static_cast<std::uint32_t>('k'));
  EXPECT_FALSE(line.level);
}

TEST_F(UartTest, MoreThanTheFifoHoldsIsAnOverrun) {
  const std::vector<std::byte> many(Uart::kFifo + 1, std::byte{'z'});
  uart.receive(many);
  EXPECT_EQ(uart.receive_space(), 0U);
  EXPECT_EQ(in(uart, 5), 0x63U);
  EXPECT_EQ(in(uart, 5), 0x61U) << "reading clears the flag";
}

TEST_F(UartTest, LoopBackReturnsDataAndModemLines) {
  out(uart, 4, 0x1a);
  EXPECT_EQ(in(uart, 6) & 0xf0, 0x90U);
  out(uart, 0, 'q');
  EXPECT_EQ(sink.text, "");
  EXPECT_EQ(in(uart, 0), static_cast<std::uint32_t>('q'));
}

TEST_F(UartTest, WideAccessesHaveNoAnswer) {
  std::uint32_t value = 0;
  EXPECT_EQ(uart.read(0, 2, value), Answer::bad_width);
  EXPECT_EQ(uart.write(0, 4, 0), Answer::bad_width);
}

class I8042Test : public testing::Test {
 protected:
  FakeLine line;
  FakeEvents events;
  I8042 device{line, events};
};

TEST_F(I8042Test, SelfTestAndKeyboardResetAnswer) {
  out(device, 4, 0xaa);
  EXPECT_EQ(in(device, 4) & 1, 1U);
  EXPECT_EQ(in(device, 0), 0x55U);
  out(device, 0, 0xff);
  EXPECT_EQ(in(device, 0), 0xfaU);
  EXPECT_EQ(in(device, 0), 0xaaU);
  EXPECT_EQ(in(device, 4) & 1, 0U);
}

TEST_F(I8042Test, TheInterruptFollowsTheCommandByte) {
  out(device, 0, 0xf4);
  EXPECT_FALSE(line.level);
  out(device, 4, 0x60);
  out(device, 0, 0x05);
  EXPECT_TRUE(line.level);
  in(device, 0);
  EXPECT_FALSE(line.level);
}

TEST_F(I8042Test, PulsingTheResetLineResets) {
  out(device, 4, 0xfe);
  ASSERT_EQ(events.seen.size(), 1U);
  EXPECT_EQ(events.seen[0], MachineEvent::reset);
  out(device, 4, 0xff);
  EXPECT_EQ(events.seen.size(), 1U) << "no line is pulsed";
}

TEST_F(I8042Test, ItsQueueIsBounded) {
  for (unsigned i = 0; i < 100; ++i) out(device, 0, 0xf2);
  unsigned got = 0;
  for (; (in(device, 4) & 1) != 0; ++got) in(device, 0);
  EXPECT_EQ(got, 16U);
}

class RtcTest : public testing::Test {
 protected:
  std::uint32_t cell(std::uint8_t index) {
    out(rtc, 0, index);
    return in(rtc, 1);
  }
  void set(std::uint8_t index, std::uint8_t value) {
    out(rtc, 0, index);
    out(rtc, 1, value);
  }
  FakeClock clock;
  Rtc rtc{clock};
};

TEST_F(RtcTest, TheHostsTimeInBcdAndBinary) {
  EXPECT_EQ(cell(0), 0x20U);
  EXPECT_EQ(cell(2), 0x13U);
  EXPECT_EQ(cell(4), 0x22U);
  EXPECT_EQ(cell(6), 0x03U);
  EXPECT_EQ(cell(7), 0x14U);
  EXPECT_EQ(cell(8), 0x11U);
  EXPECT_EQ(cell(9), 0x23U);
  EXPECT_EQ(cell(0x32), 0x20U);
  set(0x0b, 0x06);
  EXPECT_EQ(cell(9), 23U);
  set(0x0b, 0x04);
  EXPECT_EQ(cell(4), 0x80U | 10U) << "afternoon";
}

TEST_F(RtcTest, MemorySizesAreWhereFirmwareLooks) {
  rtc.describe_machine(0xc000'0000, 0x1'4000'0000, 8);
  EXPECT_EQ(cell(0x34) | cell(0x35) << 8, (0xc000'0000U - (16U << 20)) >> 16);
  EXPECT_EQ(cell(0x5b) | cell(0x5c) << 8 | cell(0x5d) << 16, 0x14000U);
  EXPECT_EQ(cell(0x5f), 7U);
  EXPECT_EQ(cell(0x15) | cell(0x16) << 8, 640U);
}

TEST_F(RtcTest, StatusRegistersKeepTheirFixedBits) {
  set(0x0a, 0xff);
  EXPECT_EQ(cell(0x0a), 0x7fU);
  set(0x0d, 0);
  EXPECT_EQ(cell(0x0d), 0x80U);
  set(0x40, 0x5a);
  EXPECT_EQ(cell(0x40), 0x5aU);
}

TEST(PlatformPorts, DebugPanicAndReset) {
  FakeEvents events;
  TextSink sink;
  DebugPort debug{sink};
  PanicPort panic{events};
  Port92 port92{events};
  EXPECT_EQ(in(debug, 0), 0xe9U);
  out(debug, 0, '!');
  EXPECT_EQ(sink.text, "!");
  EXPECT_EQ(in(panic, 0), 1U);
  out(panic, 0, 1);
  out(port92, 0, 2);
  out(port92, 0, 3);
  EXPECT_EQ(events.seen, (std::vector{MachineEvent::panic, MachineEvent::reset}));
}

}  // namespace
}  // namespace openvhd::vmm
