// What allocating writes cost the host: commands, waits for the medium, bytes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "base/checked.hpp"
#include "support/bytes.hpp"
#include "vhdx/engine_sim.hpp"

namespace openvhd::test {
namespace {

using Kind = IoCommand::Kind;

constexpr std::uint64_t kBlockBytes = 2 * kMiB;
constexpr std::uint64_t kWrite = 4096;

EngineShape large_disk(std::uint32_t log_bytes) {
  return {.virtual_size = 64 * kGiB, .block_size = kBlockBytes, .log_bytes = log_bytes};
}

struct Cost {
  std::uint64_t payload = 0;   // bytes
  std::uint64_t log = 0;       // bytes
  std::uint64_t in_place = 0;  // bytes
  std::uint64_t writes = 0;
  std::uint64_t waits = 0;
  std::uint64_t reserves = 0;

  double per_guest_byte() const {
    return static_cast<double>(payload + log + in_place) / static_cast<double>(payload);
  }
};

Cost cost_of(const SimEngine& sim, SimDisk& disk, const EngineShape& shape) {
  Cost out;
  for (const SimDisk::Op& op : disk.ops()) {
    if (op.kind != Kind::write) continue;
    const bool header = op.at < kMiB;
    const bool log = op.at >= kMiB && op.at < kMiB + shape.log_bytes;
    const std::uint64_t bat = bat_offset(shape);
    if (log) {
      out.log += op.bytes.size();
    } else if (!header && op.at >= bat && op.at < bat + kMiB) {
      out.in_place += op.bytes.size();
    } else if (!header) {
      out.payload += op.bytes.size();
    }
  }
  out.writes = sim.count(Kind::write);
  out.waits = sim.waits();
  out.reserves = sim.count(Kind::reserve);
  return out;
}

/// Writes 4 KiB each into `count` new blocks in random order, with a flush after every `flushed`.
Cost allocate(const EngineShape& shape, std::size_t count, std::size_t flushed) {
  SimEngine sim{shape};
  EXPECT_TRUE(sim->write(0, filled(kWrite, 1)));
  EXPECT_TRUE(sim->flush());
  sim.mark();
  std::vector<std::uint64_t> blocks(shape.virtual_size / kBlockBytes - 1);
  std::iota(blocks.begin(), blocks.end(), 1);
  std::shuffle(blocks.begin(), blocks.end(), std::mt19937_64{3});
  const auto data = filled(kWrite, 2);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t within = i * 7 % (kBlockBytes / kWrite) * kWrite;
    EXPECT_EQ(failure_of(sim->write(blocks[i] * kBlockBytes + within, data)), "");
    if (flushed == 0 || (i + 1) % flushed != 0) continue;
    const std::size_t before = sim.waits();
    EXPECT_EQ(failure_of(sim->flush()), "");
    EXPECT_LE(sim.waits() - before, 2u) << "of one flush";
  }
  return cost_of(sim, sim.disk(), shape);
}

void record(const Cost& cost) {
  testing::Test::RecordProperty("writes", static_cast<int>(cost.writes));
  testing::Test::RecordProperty("waits", static_cast<int>(cost.waits));
  testing::Test::RecordProperty("reserves", static_cast<int>(cost.reserves));
  testing::Test::RecordProperty("log_bytes", static_cast<int>(cost.log));
  testing::Test::RecordProperty("in_place_bytes", static_cast<int>(cost.in_place));
  testing::Test::RecordProperty("percent_of_guest", static_cast<int>(100 * cost.per_guest_byte()));
}

TEST(VhdxEngineCost, UnflushedAllocationsAreTheirPayloadAndLargeSteps) {
  const Cost cost = allocate(large_disk(1 << 20), 1000, 0);
  record(cost);
  EXPECT_EQ(cost.writes, 1000u);
  EXPECT_EQ(cost.waits, 0u);
  EXPECT_LE(cost.reserves, 1000 * kBlockBytes / (256 * kMiB) + 4);
}

TEST(VhdxEngineCost, AFlushAfterEachIsOneWaitOnSpaceThatIsDurableAndFewBytes) {
  const Cost cost = allocate(large_disk(1 << 20), 1000, 1);
  record(cost);
  // Two when the space is new to the medium, or half of the log goes in place.
  EXPECT_LE(cost.waits, 1000u + cost.reserves + 20);
  // The payload, a sector of the table with its descriptor, and what goes in place at last.
  EXPECT_LE(cost.per_guest_byte(), 4.5);
}

TEST(VhdxEngineCost, AFlushAfterEvery32WritesAtMostThreeBytesForEachOfTheGuest) {
  const Cost cost = allocate(large_disk(1 << 20), 8192, 32);
  record(cost);
  EXPECT_LE(cost.per_guest_byte(), 3.0);
}

// Each group goes in place because its pages crowd the cache, and asks for no data first: the log
// must be given back all the same.
TEST(VhdxEngineCost, TrimsThatNobodyFlushesDoNotFillTheLog) {
  constexpr std::uint64_t kPages = 10;
  constexpr std::uint64_t kPage = 8192 * kMiB;
  const EngineShape shape{.virtual_size = kPages * kPage, .table_cache_bytes = 0};
  SimEngine sim{shape};
  for (std::uint64_t round = 0; round < 40; ++round) {
    for (std::uint64_t page = 0; page < kPages; ++page)
      ASSERT_TRUE(sim->write(page * kPage + round * kMiB, filled(kWrite, 1)));
  }
  ASSERT_TRUE(sim->flush());
  for (std::uint64_t round = 0; round < 40; ++round) {
    for (std::uint64_t page = 0; page < kPages; ++page)
      ASSERT_TRUE(sim->clear(page * kPage + round * kMiB, kMiB, ClearKind::trim));
  }
  ASSERT_TRUE(sim->close());
}

TEST(VhdxEngineCost, ALargerLogWritesLessInPlace) {
  const Cost small = allocate(large_disk(1 << 20), 4096, 32);
  const Cost large = allocate(large_disk(8 << 20), 4096, 32);
  record(large);
  EXPECT_EQ(small.log, large.log);
  EXPECT_LE(4 * large.in_place, small.in_place);
}

}  // namespace
}  // namespace openvhd::test
