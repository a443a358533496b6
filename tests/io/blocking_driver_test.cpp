#include "io/blocking_driver.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "io/host.hpp"
#include "support/bytes.hpp"
#include "support/memory_file.hpp"

namespace openvhd {
namespace {

/// Writes a byte to each of two layers, then syncs the first.
class TwoLayerOp : public Operation {
 public:
  std::optional<IoCommand> next() noexcept override {
    if (issued_ == 3 || failed_) return std::nullopt;
    const std::uint32_t slot = issued_++;
    if (slot == 2) return IoCommand{.kind = IoCommand::Kind::sync, .slot = slot};
    return IoCommand{.kind = IoCommand::Kind::write,
                     .layer = static_cast<std::uint16_t>(slot),
                     .slot = slot,
                     .at = {slot},
                     .length = 1,
                     .buffers = {&piece_, 1}};
  }
  void complete(std::uint32_t slot, std::int32_t result) noexcept override {
    EXPECT_EQ(slot, completed_);
    ++completed_;
    if (result < 0) failed_ = host_error(result, {slot}, "test");
  }
  std::optional<Status> finished() const noexcept override {
    if (failed_) return Status{*failed_};
    if (completed_ == 3) return Status{Ok{}};
    return std::nullopt;
  }

 private:
  std::byte byte_{0x5a};
  iovec piece_{&byte_, 1};
  std::uint32_t issued_ = 0;
  std::uint32_t completed_ = 0;
  std::optional<Error> failed_;
};

/// Never has a command, never finishes.
class StuckOp : public Operation {
  std::optional<IoCommand> next() noexcept override { return std::nullopt; }
  void complete(std::uint32_t, std::int32_t) noexcept override {}
  std::optional<Status> finished() const noexcept override { return std::nullopt; }
};

TEST(BlockingDriver, RunsEveryCommandOnItsLayer) {
  test::MemoryFile leaf;
  test::MemoryFile parent;
  File* const files[] = {&leaf, &parent};
  TwoLayerOp op;
  EXPECT_TRUE(run(op, files));
  EXPECT_EQ(test::read_all(leaf), test::filled(1, 0x5a));
  EXPECT_EQ(test::read_at(parent, 1, 1), test::filled(1, 0x5a));
  EXPECT_EQ(leaf.executed(IoCommand::Kind::sync), 1u);
}

TEST(BlockingDriver, PassesTheOutcomeOn) {
  test::MemoryFile leaf;
  leaf.store()->capacity = 0;
  File* const files[] = {&leaf, &leaf};
  TwoLayerOp op;
  EXPECT_EQ(run(op, files).error().code, Errc::no_space);
}

TEST(BlockingDriverDeathTest, AStuckOperationEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  test::MemoryFile file;
  StuckOp op;
  EXPECT_DEATH(static_cast<void>(run(op, file).has_value()), "");
}

TEST(SystemHost, GuidsAreVersion4AndDiffer) {
  const Guid a = system_host().random_guid();
  const Guid b = system_host().random_guid();
  EXPECT_NE(a, b);
  EXPECT_EQ(a.bytes[6] >> 4, 4);
  EXPECT_EQ(a.bytes[8] >> 6, 2);
  EXPECT_GT(system_host().now_unix(), 1'600'000'000);
}

}  // namespace
}  // namespace openvhd
