#include "support/sim_file.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>

#include "support/bytes.hpp"
#include "support/crash_states.hpp"

namespace openvhd::test {
namespace {

using Kind = IoCommand::Kind;
constexpr std::size_t kPiece = 4096;

class SimFileTest : public ::testing::Test {
 protected:
  void write(std::uint64_t at, std::size_t length, int value, bool durable = false) {
    const auto data = filled(length, value);
    const iovec piece{const_cast<std::byte*>(data.data()), data.size()};
    ASSERT_EQ(file_.execute({.kind = Kind::write,
                             .durable = durable,
                             .at = {at},
                             .length = length,
                             .buffers = {&piece, 1}}),
              static_cast<std::int32_t>(length));
  }

  /// Every state after a cut now: the first byte of each piece, as text; '.' past the end.
  std::set<std::string> states(std::size_t pieces, const CrashOptions& options = {}) {
    const CrashPoint point{*disk_, disk_->power().now(), options};
    std::set<std::string> out;
    for (const auto& keep : choose_survivors(point.optional_atoms(), 1 << 12, 1)) {
      const auto store = point.state(keep);
      std::string text;
      for (std::size_t i = 0; i < pieces; ++i) {
        std::byte byte{};
        const bool there = store->read(i * options.unit, {&byte, 1}) == 1;
        text += there ? static_cast<char>(byte == std::byte{0} ? '0' : char(byte)) : '.';
      }
      out.insert(text);
    }
    return out;
  }

  std::shared_ptr<SimDisk> disk_ = std::make_shared<SimDisk>();
  SimFile file_{disk_};
};

using Set = std::set<std::string>;

TEST_F(SimFileTest, WhatWasSyncedSurvives) {
  write(0, 2 * kPiece, 'a');
  EXPECT_TRUE(file_.sync());
  EXPECT_EQ(states(2), Set{"aa"});
}

TEST_F(SimFileTest, EveryPieceOfAnUnsyncedWriteMayBeLost) {
  write(0, 2 * kPiece, 'a');
  ASSERT_TRUE(file_.sync());
  write(0, 2 * kPiece, 'b');
  EXPECT_EQ(states(2), (Set{"aa", "ab", "ba", "bb"}));
}

TEST_F(SimFileTest, GrowthAndBytesAreLostSeparately) {
  write(0, kPiece, 'a');
  ASSERT_TRUE(file_.sync());
  write(kPiece, kPiece, 'b');
  EXPECT_EQ(states(2), (Set{"a.", "a0", "ab"}));
  EXPECT_EQ(states(2, {.stale_extension = true}), (Set{"a.", "a\xdb", "ab"}));
}

TEST_F(SimFileTest, PagesTearAtSectors) {
  write(0, kPiece, 'a');
  ASSERT_TRUE(file_.sync());
  write(0, 1024, 'b');
  EXPECT_EQ(states(3, {.unit = 512}), (Set{"aaa", "baa", "aba", "bba"}));
  EXPECT_EQ(states(1), (Set{"a", "b"}));
}

TEST_F(SimFileTest, DurableWritesSurviveAndEarlierOnesDoNotComeBack) {
  write(0, 2 * kPiece, 'a');
  ASSERT_TRUE(file_.sync());
  write(0, 2 * kPiece, 'b');
  write(0, kPiece, 'c', true);
  EXPECT_EQ(states(2), (Set{"ca", "cb"}));
}

TEST_F(SimFileTest, ADurableWriteTakesTheSizeWithIt) {
  ASSERT_TRUE(file_.set_size(4 * kPiece));
  write(kPiece, kPiece, 'c', true);
  EXPECT_EQ(states(4), (Set{"0c..", "0c00"}));
}

TEST_F(SimFileTest, ChangesOfSpaceAreAtoms) {
  write(0, 3 * kPiece, 'a');
  ASSERT_TRUE(file_.sync());
  ASSERT_TRUE(file_.zero({0}, kPiece));
  ASSERT_TRUE(file_.punch({kPiece}, kPiece));
  ASSERT_TRUE(file_.set_size(2 * kPiece));
  EXPECT_EQ(states(3), (Set{"aaa", "0aa", "a0a", "00a", "aa.", "0a.", "a0.", "00."}));
  ASSERT_TRUE(file_.sync());
  ASSERT_TRUE(file_.reserve({0}, 3 * kPiece));
  EXPECT_EQ(states(3), (Set{"00.", "000"}));
}

TEST_F(SimFileTest, AFailedSyncLeavesDoubtForever) {
  write(0, kPiece, 'a');
  ASSERT_TRUE(file_.sync());
  write(0, kPiece, 'b');
  disk_->fail({.kind = Kind::sync});
  EXPECT_EQ(file_.sync().error().sys_errno, EIO);
  EXPECT_TRUE(file_.sync());
  EXPECT_EQ(states(1), (Set{"a", "b"}));
  write(0, kPiece, 'c');
  EXPECT_TRUE(file_.sync());
  EXPECT_EQ(states(1), Set{"c"});
}

TEST_F(SimFileTest, FailuresStrikeOnceOrStay) {
  write(0, kPiece, 'a');
  disk_->fail({.kind = Kind::write, .nth = 1, .error = ENOSPC});
  write(0, kPiece, 'b');
  EXPECT_EQ(file_.write_all({0}, filled(1, 'c')).error().code, Errc::no_space);
  EXPECT_EQ(read_at(file_, 0, 1), filled(1, 'b'));
  write(0, kPiece, 'd');
  disk_->fail({.error = EIO, .sticky = true});
  EXPECT_FALSE(file_.sync());
  EXPECT_FALSE(file_.write_all({0}, filled(1, 'c')));
  disk_->clear_faults();
  EXPECT_EQ(read_at(file_, 0, 1), filled(1, 'd'));
}

TEST_F(SimFileTest, WithoutPowerNothingWorksAndNothingChanges) {
  write(0, kPiece, 'a');
  ASSERT_TRUE(file_.sync());
  disk_->power().cut_at(disk_->power().now() + 1);
  write(0, kPiece, 'b');
  EXPECT_EQ(file_.write_all({0}, filled(1, 'c')).error().sys_errno, EIO);
  EXPECT_FALSE(file_.sync());
  EXPECT_FALSE(file_.size());
  EXPECT_EQ(states(1), (Set{"a", "b"}));
}

TEST_F(SimFileTest, FilesShareOneClock) {
  const auto power = std::make_shared<SimPower>();
  SimFile parent{std::make_shared<SimDisk>(power)};
  SimFile child{std::make_shared<SimDisk>(power)};
  patch(parent, 0, filled(1, 1));
  patch(child, 0, filled(1, 2));
  EXPECT_TRUE(parent.sync());
  EXPECT_EQ(parent.disk().ops()[0].stable_at, 2u);
  EXPECT_EQ(child.disk().ops()[0].stable_at, SimPower::kNever);
  power->cut_at(3);
  EXPECT_FALSE(child.sync());
}

TEST_F(SimFileTest, EarlierCutsSeeEarlierStates) {
  write(0, kPiece, 'a');
  ASSERT_TRUE(file_.sync());
  write(0, kPiece, 'b');
  ASSERT_TRUE(file_.sync());
  static_cast<void>(read_at(file_, 0, 1));
  EXPECT_EQ(crash_ticks(*disk_), (std::vector<std::uint64_t>{0, 1, 2, 3, 4}));
  const auto optional = [this](std::uint64_t tick) {
    return CrashPoint{*disk_, tick}.optional_atoms();
  };
  EXPECT_EQ(optional(0), 0u);
  EXPECT_EQ(optional(1), 2u);  // growth and bytes
  EXPECT_EQ(optional(2), 0u);
  EXPECT_EQ(optional(3), 1u);
  EXPECT_EQ(optional(4), 0u);
}

TEST_F(SimFileTest, AStateRunsOnByItself) {
  write(0, kPiece, 'a');
  ASSERT_TRUE(file_.sync());
  const CrashPoint point{*disk_, disk_->power().now()};
  const auto store = point.state({});
  SimFile next{std::make_shared<SimDisk>(*store)};
  patch(next, 0, filled(1, 'z'));
  EXPECT_EQ(read_at(file_, 0, 1), filled(1, 'a'));
  EXPECT_EQ(read_at(next, 0, 2), bytes_of("za"));
}

TEST_F(SimFileTest, ShortTransfersMoveWholeSectors) {
  disk_->shorten_transfers(1);
  for (std::uint64_t round = 0; round < 20; ++round) {
    const auto data = pattern(64 * 1024, round);
    ASSERT_TRUE(file_.write_all({0}, data));
    EXPECT_EQ(read_all(file_), data);
  }
  EXPECT_GT(disk_->ops().size(), 60u);  // 40 when none is short
  for (const SimDisk::Op& op : disk_->ops()) EXPECT_EQ(op.result % 512, 0);
}

TEST(ChooseSurvivors, FewAtomsGiveEverySubset) {
  EXPECT_EQ(choose_survivors(0, 10, 1).size(), 1u);
  EXPECT_EQ(choose_survivors(6, 64, 1).size(), 64u);
}

TEST(ChooseSurvivors, ManyAtomsFillTheBudgetWithDifferentChoices) {
  for (const std::size_t atoms : {7u, 100u, 3000u}) {
    const auto chosen = choose_survivors(atoms, 100, 3);
    EXPECT_EQ(chosen.size(), 100u);
    EXPECT_EQ(std::set(chosen.begin(), chosen.end()).size(), 100u);
    EXPECT_EQ(chosen[0], std::vector<bool>(atoms, true));
    EXPECT_EQ(chosen[1], std::vector<bool>(atoms, false));
    EXPECT_EQ(chosen, choose_survivors(atoms, 100, 3));
  }
}

}  // namespace
}  // namespace openvhd::test
