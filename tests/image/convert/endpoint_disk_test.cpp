#include "image/convert/endpoint_disk.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "image/convert/convert_pipeline.hpp"
#include "image/convert/disk_side.hpp"
#include "image/convert/disks.hpp"
#include "image/convert/fake_endpoint.hpp"
#include "image/create_target.hpp"
#include "support/sim_file.hpp"

namespace openvhd {
namespace {

using test::FakeEndpoint;
using test::Kind;
using test::kKinds;
using test::SimDisk;
using test::SimFile;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kBytes = 9 * kMiB;

/// A new image in a simulated file, as the target of a copy.
class DiskTarget : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    const Kind& kind = GetParam();
    const CreateOptions create{.format = kind.format,
                               .type = kind.type,
                               .virtual_size = kBytes,
                               .block_size = kind.type == DiskType::dynamic ? kMiB : 0};
    ASSERT_TRUE(create_in(file_, "simulated", create, system_host()));
  }
  /// Copies with faults that `arm` has set, closes, and tells how it went.
  Status copy() {
    auto disk = disk_in(file_, "simulated", GetParam().format, true);
    if (!disk) return disk.error();
    auto target = DiskEndpoint::open(**disk, {.driver = DriverKind::blocking});
    if (!target) return target.error();
    FakeEndpoint source{bytes_};
    CopyPipeline pipeline{source, **target, {.length = kBytes, .total = kBytes}};
    const auto counts = pipeline.run();
    const Status outcome = counts ? (*target)->finish() : Status{counts.error()};
    if (!outcome) (*disk)->abandon();
    return outcome;
  }
  std::vector<std::byte> contents() {
    auto disk = disk_in(file_, "simulated", GetParam().format, false);
    EXPECT_TRUE(disk) << disk.error().what;
    if (!disk) return {};
    auto source = DiskEndpoint::open(**disk, {.driver = DriverKind::blocking});
    EXPECT_TRUE(source);
    FakeEndpoint into{std::vector<std::byte>(kBytes)};
    CopyPipeline pipeline{**source, into, {.length = kBytes, .total = kBytes}};
    EXPECT_TRUE(pipeline.run());
    return into.bytes();
  }

  const std::vector<std::byte> bytes_ = test::contents_with_holes(kBytes, 3);
  std::shared_ptr<SimDisk> medium_ = std::make_shared<SimDisk>();
  SimFile file_{medium_};
};

INSTANTIATE_TEST_SUITE_P(All, DiskTarget, testing::ValuesIn(kKinds),
                         [](const auto& kind) { return std::string{kind.param.name}; });

TEST_P(DiskTarget, TransfersThatStopShortAreContinued) {
  medium_->shorten_transfers(5);
  ASSERT_TRUE(copy());
  EXPECT_TRUE(contents() == bytes_);
}

TEST_P(DiskTarget, EveryFailureOfTheHostIsReported) {
  const std::uint64_t before = medium_->power().now();
  ASSERT_TRUE(copy());
  const std::uint64_t commands = medium_->power().now() - before;
  for (std::uint64_t nth = 0; nth < commands; nth += 1 + commands / 60) {
    for (const auto kind : {IoCommand::Kind::write, IoCommand::Kind::sync}) {
      medium_ = std::make_shared<SimDisk>();
      SimFile fresh{medium_};
      const CreateOptions create{.format = GetParam().format,
                                 .type = GetParam().type,
                                 .virtual_size = kBytes,
                                 .block_size = GetParam().type == DiskType::dynamic ? kMiB : 0};
      ASSERT_TRUE(create_in(fresh, "simulated", create, system_host()));
      auto disk = disk_in(fresh, "simulated", GetParam().format, true);
      if (!disk) continue;  // the open has failed: that is a report
      const std::uint64_t begin = medium_->power().now();
      medium_->fail({.kind = kind, .nth = nth, .sticky = true});
      auto target = DiskEndpoint::open(**disk, {.driver = DriverKind::blocking});
      ASSERT_TRUE(target);
      FakeEndpoint source{bytes_};
      CopyPipeline pipeline{source, **target, {.length = kBytes, .total = kBytes}};
      const auto counts = pipeline.run();
      const Status outcome = counts ? (*target)->finish() : Status{counts.error()};
      const bool failed = std::ranges::any_of(medium_->ops(), [begin](const SimDisk::Op& op) {
        return op.tick >= begin && op.result < 0;
      });
      EXPECT_EQ(!outcome, failed) << nth;
      (*disk)->abandon();
    }
  }
}

TEST_P(DiskTarget, AFullHostEndsTheCopyWithNoSpace) {
  if (GetParam().type == DiskType::fixed && GetParam().format != Format::raw) {
    GTEST_SKIP() << "its space was there before";
  }
  medium_->now().capacity = medium_->now().allocated_bytes() + 3 * kMiB;
  const Status outcome = copy();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::no_space);
}

}  // namespace
}  // namespace openvhd
