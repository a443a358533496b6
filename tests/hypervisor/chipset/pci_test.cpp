#include "chipset/pci.hpp"

#include <gtest/gtest.h>

#include <map>

#include "chipset/i440fx.hpp"
#include "chipset/piix_pm.hpp"
#include "hypervisor/chipset/parts.hpp"

namespace openvhd::vmm {
namespace {

using namespace test;

class FakeMap : public ShadowMap {
 public:
  void remap(std::size_t segment, Shadow shadow) noexcept override { now[segment] = shadow; }
  std::map<std::size_t, Shadow> now;
};

class PciTest : public testing::Test {
 protected:
  PciTest() {
    bus.attach(0, 0, bridge);
    bus.attach(1, 3, pm);
    ports.attach(0xcf8, PciBus::kPorts, bus);
  }
  void at(unsigned device, unsigned function, unsigned offset) {
    ports.write(0xcf8, 4, 0x8000'0000U | device << 11 | function << 8 | (offset & 0xfc));
  }
  std::uint32_t get(unsigned device, unsigned function, std::uint8_t offset, std::uint32_t width) {
    at(device, function, offset);
    return ports.read(static_cast<std::uint16_t>(0xcfc + (offset & 3)), width);
  }
  void put(unsigned device, unsigned function, std::uint8_t offset, std::uint32_t width,
           std::uint32_t value) {
    at(device, function, offset);
    ports.write(static_cast<std::uint16_t>(0xcfc + (offset & 3)), width, value);
  }

  FakeEvents events;
  FakeMap map;
  FakeClock clock;
  FakeLine sci;
  PortBus ports;
  I440fx bridge{map};
  PiixPm pm{{.bus = ports, .sci = sci, .clock = clock, .events = events}};
  PciBus bus{events};
};

TEST_F(PciTest, WhatFirmwareLooksFor) {
  EXPECT_EQ(get(0, 0, 0, 4), 0x1237'8086U);
  EXPECT_EQ(get(0, 0, 0x2c, 4), 0x1100'1af4U);
  EXPECT_EQ(get(1, 3, 0x5b, 1), 2U) << "else SeaBIOS waits for SMM for ever";
}

TEST_F(PciTest, AbsentFunctionsReadAsAllOnes) {
  EXPECT_EQ(get(2, 0, 0, 4), 0xffff'ffffU);
  ports.write(0xcf8, 4, 0x8001'0000);  // bus 1
  EXPECT_EQ(ports.read(0xcfc, 4), 0xffff'ffffU);
  ports.write(0xcf8, 4, 0);  // not enabled
  EXPECT_EQ(ports.read(0xcfc, 4), 0xffff'ffffU);
}

TEST_F(PciTest, OnlyWritableBitsChange) {
  put(0, 0, 0, 4, 0);
  put(0, 0, 0x59, 1, 0xff);
  EXPECT_EQ(get(0, 0, 0, 4), 0x1237'8086U);
  EXPECT_EQ(get(0, 0, 0x59, 1), 0x30U);
}

TEST_F(PciTest, PamSwitchesSegments) {
  put(0, 0, 0x59, 1, 0x10);
  put(0, 0, 0x5a, 1, 0x31);
  put(0, 0, 0x5f, 1, 0x20);
  EXPECT_EQ(map.now[0], (Shadow{.read_ram = true}));
  EXPECT_EQ(map.now[1], (Shadow{.read_ram = true, .write_ram = true}));
  EXPECT_EQ(map.now[11], (Shadow{.write_ram = true}));
  for (std::size_t s = 12; s < 16; ++s) EXPECT_EQ(map.now[s], (Shadow{.read_ram = true})) << s;
}

TEST_F(PciTest, AccessesBeyondADoubleWordAreRefused) {
  at(0, 0, 0);
  EXPECT_EQ(ports.read(0xcfe, 4), 0xffff'ffffU);
  EXPECT_EQ(ports.read(0xcff, 2), 0xffffU);
}

TEST_F(PciTest, ResetRegisterResets) {
  ports.write(0xcf9, 1, 2);
  EXPECT_TRUE(events.seen.empty());
  ports.write(0xcf9, 1, 6);
  EXPECT_EQ(events.seen, std::vector{MachineEvent::reset});
}

TEST_F(PciTest, PmRegistersAppearWhereFirmwarePutsThem) {
  EXPECT_EQ(ports.read(0x608, 4), 0xffff'ffffU);
  put(1, 3, 0x40, 4, 0x601);
  EXPECT_EQ(ports.read(0x608, 4), 0xffff'ffffU);
  put(1, 3, 0x80, 1, 1);
  EXPECT_EQ(ports.read(0x608, 4), 0U);
  clock.ns = 2'000'000'000;
  EXPECT_EQ(ports.read(0x608, 4), 2U * 3'579'545);
  put(1, 3, 0x40, 4, 0xb001);
  EXPECT_EQ(ports.read(0x608, 4), 0xffff'ffffU);
  EXPECT_EQ(ports.read(0xb004, 2), 1U);
}

TEST_F(PciTest, SleepTypeZeroIsOff) {
  put(1, 3, 0x40, 4, 0x601);
  put(1, 3, 0x80, 1, 1);
  ports.write(0x604, 2, 0x2400);  // type 1: not offered
  EXPECT_TRUE(events.seen.empty());
  ports.write(0x604, 2, 0x2000);
  EXPECT_EQ(events.seen, std::vector{MachineEvent::power_off});
}

TEST_F(PciTest, ThePowerButtonInterruptsWhenEnabled) {
  put(1, 3, 0x40, 4, 0x601);
  put(1, 3, 0x80, 1, 1);
  pm.press_power_button();
  EXPECT_FALSE(sci.level);
  ports.write(0x602, 2, 0x100);
  EXPECT_TRUE(sci.level);
  ports.write(0x600, 2, 0x100);
  EXPECT_FALSE(sci.level);
}

}  // namespace
}  // namespace openvhd::vmm
