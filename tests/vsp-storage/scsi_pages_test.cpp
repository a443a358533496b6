#include <set>

#include "initiator.hpp"

namespace openvhd::scsi {
namespace {

using namespace test;

TEST_F(ScsiTest, InquirySaysWhatItIs) {
  const auto bytes = run({0x12, 0, 0, 0, 96, 0}, 96);
  ASSERT_EQ(bytes.size(), 36U);
  EXPECT_EQ(bytes[0], 0x00);
  EXPECT_EQ(bytes[2], 5);
  EXPECT_EQ(bytes[4], 31);
  EXPECT_EQ((std::string{bytes.begin() + 8, bytes.end()}), "Msft    Virtual Disk    1.0 ");
  EXPECT_EQ(run({0x12, 0, 0, 0, 5, 0}, 96).size(), 5U) << "as much as was allocated";
  EXPECT_EQ(run({0x12, 0, 0, 0, 96, 0}, 8).size(), 8U) << "as much as there is room for";
  run({0x12, 0, 0x80, 0, 96, 0}, 96);
  EXPECT_EQ(sense(), kInvalidField) << "a page without EVPD";
}

TEST_F(ScsiTest, EveryPageThatIsListedIsThereWithItsLength) {
  const auto list = run({0x12, 1, 0x00, 0, 255, 0}, 255);
  ASSERT_EQ(list.size(), 4U + list.at(3));
  EXPECT_EQ((Bytes{list.begin() + 4, list.end()}), (Bytes{0, 0x80, 0x83, 0xb0, 0xb1, 0xb2}));
  for (std::size_t i = 4; i < list.size(); ++i) {
    const auto page = run({0x12, 1, list[i], 1, 0, 0}, 255);
    ASSERT_TRUE(good());
    EXPECT_EQ(page.at(1), list[i]);
    EXPECT_EQ(page.size(), 4U + number(page, 2, 2)) << unsigned{list[i]};
  }
  run({0x12, 1, 0xc0, 0, 255, 0}, 255);
  EXPECT_EQ(sense(), kInvalidField);
}

TEST_F(ScsiTest, PagesNameTheDiskAndItsLimits) {
  const auto serial = run({0x12, 1, 0x80, 0, 255, 0}, 255);
  EXPECT_EQ((std::string{serial.begin() + 4, serial.end()}), "SERIAL01");
  const auto names = run({0x12, 1, 0x83, 0, 255, 0}, 255);
  EXPECT_EQ((Bytes{names.begin() + 4, names.begin() + 9}), (Bytes{1, 3, 0, 16, 0x60}));
  EXPECT_EQ((std::string{names.begin() + 28, names.end()}), "Msft    SERIAL01");
  const auto limits = run({0x12, 1, 0xb0, 0, 255, 0}, 255);
  EXPECT_EQ(number(limits, 20, 4), 0xffff'ffffU);
  EXPECT_EQ(number(limits, 24, 4), ScsiDisk::kMostExtents);
  EXPECT_EQ(number(limits, 28, 4), 128U) << "64 KiB";
  const auto thin = run({0x12, 1, 0xb2, 0, 255, 0}, 255);
  EXPECT_EQ(thin.at(5), 0xe4);
  EXPECT_EQ(thin.at(6), 2);
  const auto capacity = run({0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32}, 32);
  EXPECT_EQ(capacity.at(13), 3) << "8 logical blocks in a physical one";
  EXPECT_EQ(capacity.at(14), 0xc0) << "thin, reads zeros";
}

TEST_F(ScsiTest, ModePagesTellAndTake) {
  const auto six = run({0x1a, 0, 0x3f, 0, 255, 0}, 255);
  ASSERT_EQ(six.size(), 1U + six.at(0));
  EXPECT_EQ(six[2], 0x10) << "writable, FUA";
  EXPECT_EQ(six[4], 0x08);
  EXPECT_EQ(six[6], 0x04) << "there is a write cache";
  EXPECT_EQ(six[24], 0x0a);
  const auto ten = run({0x5a, 0, 0x08, 0, 0, 0, 0, 0, 255, 0}, 255);
  ASSERT_EQ(ten.size(), 2U + number(ten, 0, 2));
  EXPECT_EQ(ten[8], 0x08);
  EXPECT_EQ(run({0x1a, 0, 0x48, 0, 255, 0}, 255).at(6), 0x04) << "what is changeable";
  run({0x1a, 0, 0xc8, 0, 255, 0}, 255);
  EXPECT_EQ(sense(), (Sense{5, 0x39, 0}));
  run({0x1a, 0, 0x1c, 0, 255, 0}, 255);
  EXPECT_EQ(sense(), kInvalidField);
}

TEST_F(ScsiTest, WhatCannotChangeIsNotSelected) {
  Bytes page(8 + 20);
  page[8] = 0x08;
  page[9] = 18;
  page[10] = 0x04;
  page[12] = 1;  // read retention
  run({0x55, 0x10, 0, 0, 0, 0, 0, 0, 28, 0}, 0, page);
  EXPECT_EQ(sense(), kInvalidParameter);
  page[12] = 0;
  page[9] = 17;
  run({0x55, 0x10, 0, 0, 0, 0, 0, 0, 28, 0}, 0, page);
  EXPECT_EQ(sense(), kInvalidParameter);
  page[9] = 200;
  run({0x55, 0x10, 0, 0, 0, 0, 0, 0, 28, 0}, 0, page);
  EXPECT_EQ(sense(), kParameterListLength);
  page[9] = 18;
  run({0x55, 0x11, 0, 0, 0, 0, 0, 0, 28, 0}, 0, page);
  EXPECT_EQ(sense(), kInvalidField) << "nothing can be saved";
  page[7] = 21;  // block descriptors that pass the end
  run({0x55, 0x10, 0, 0, 0, 0, 0, 0, 28, 0}, 0, page);
  EXPECT_EQ(sense(), kParameterListLength);
}

TEST_F(ScsiTest, SenseComesInTheFormatThatWasSelected) {
  Bytes page(4 + 12);
  page[4] = 0x0a;
  page[5] = 10;
  page[6] = 0x04;  // D_SENSE
  run({0x15, 0x10, 0, 0, 16, 0}, 0, page);
  ASSERT_TRUE(good());
  run({0xff, 0, 0, 0, 0, 0});
  EXPECT_EQ(request.sense_bytes, 8);
  EXPECT_EQ((Bytes{request.sense.begin(), request.sense.begin() + 4}), (Bytes{0x72, 5, 0x20, 0}));
  EXPECT_EQ(run({0x03, 0, 0, 0, 252, 0}, 252).at(0), 0x70) << "REQUEST SENSE chooses by itself";
  EXPECT_EQ(run({0x03, 1, 0, 0, 252, 0}, 252).at(0), 0x72);
}

TEST_F(ScsiTest, OpcodesThatAreReportedAreServedAndOthersAreNot) {
  const auto all = run({0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0}, 1024);
  ASSERT_EQ(all.size(), 4U + number(all, 0, 4));
  std::set<unsigned> reported;
  for (std::size_t at = 4; at < all.size(); at += 8) reported.insert(all[at]);
  for (unsigned opcode = 0; opcode < 256; ++opcode) {
    run({opcode, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 64, Bytes(64));
    const bool unknown =
        request.status == ScsiStatus::check_condition && sense() == kInvalidCommand;
    const bool has_actions = opcode == 0x9e || opcode == 0xa3;
    if (!has_actions) {
      EXPECT_EQ(unknown, !reported.contains(opcode)) << opcode;
    }
  }
  // One at a time: WRITE SAME(16), an unknown one, READ CAPACITY(16) with its action.
  EXPECT_EQ(run({0xa3, 0x0c, 1, 0x93, 0, 0, 0, 0, 0, 255, 0, 0}, 255).at(1), 3);
  EXPECT_EQ(run({0xa3, 0x0c, 1, 0xd0, 0, 0, 0, 0, 0, 255, 0, 0}, 255).at(1), 1);
  EXPECT_EQ(run({0xa3, 0x0c, 2, 0x9e, 0, 0x10, 0, 0, 0, 255, 0, 0}, 255).at(1), 3);
  EXPECT_EQ(run({0xa3, 0x0c, 2, 0x9e, 0, 0x12, 0, 0, 0, 255, 0, 0}, 255).at(1), 1);
  run({0xa3, 0x0c, 1, 0x9e, 0, 0, 0, 0, 0, 255, 0, 0}, 255);
  EXPECT_EQ(sense(), kInvalidField);
}

TEST_F(ScsiTest, UnitsAreListedAndAbsentOnesSaySo) {
  const auto luns = run({0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, 256);
  EXPECT_EQ(luns, (Bytes{0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(run({0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, 256, {}, 9), luns) << "of any unit";
  EXPECT_EQ(run({0x12, 0, 0, 0, 36, 0}, 36, {}, 7).at(0), 0x7f);
  EXPECT_EQ(run({0x03, 0, 0, 0, 18, 0}, 18, {}, 7).at(12), 0x25);
  for (const unsigned opcode : {0x00U, 0x28U, 0xa3U}) {
    run({opcode, 0x0c, 0, 0, 0, 0}, 64, {}, 500);
    EXPECT_EQ(sense(), kNoSuchUnit) << opcode;
  }
  EXPECT_FALSE(target.attach(3, nullptr));
  EXPECT_FALSE(target.attach(64, nullptr));
}

TEST_F(ScsiTest, AResetIsToldToEachUnit) {
  target.reset();
  for (const std::uint16_t lun : std::array<std::uint16_t, 2>{0, 3}) {
    run({0x00}, 0, {}, lun);
    EXPECT_EQ(sense(), kResetOccurred);
    run({0x00}, 0, {}, lun);
    EXPECT_TRUE(good());
  }
}

}  // namespace
}  // namespace openvhd::scsi
