// Power cuts and failing hosts: rule V08 and promises D2, D4, D5, D6, at every command.
#include <gtest/gtest.h>

#include <cerrno>

#include "support/bytes.hpp"
#include "vhd/history.hpp"
#include "vhd/image_bytes.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint32_t kBlock = 16 * 1024;
constexpr std::uint64_t kSectors = kBlock / 512;
constexpr std::uint64_t kBlocks = 10;

struct Scenario {
  const char* name;
  DiskType type = DiskType::dynamic;
  /// Bytes that the host has; few make growth steps as small as they get.
  std::uint64_t capacity = MemoryStore::kMaxBytes;
  void (*run)(History&);
  /// Where the first block may begin, and so where the old footer is; 0: as create() lays it out.
  std::uint64_t first_block = 0;
  /// The last block is in the file as far as the disk reaches, the footer right behind it.
  bool short_last_block = false;
  bool good_copy = true;
};

/// What the disk lacks of its last block, for short_last_block.
constexpr std::uint64_t kLackingSectors = 8;

Store short_last_block_image(const Scenario& scenario) {
  SparseImage image = sparse_image({.footer = {.size = kBlocks * kBlock - kLackingSectors * 512},
                                    .block_size = kBlock,
                                    .blocks = {kBlocks - 1}});
  const auto footer = image.bytes.end() - 512;
  std::fill(footer - kBlock, footer, std::byte{0});
  image.bytes.erase(footer - kLackingSectors * 512, footer);
  if (!scenario.good_copy) std::fill_n(image.bytes.begin(), 512, std::byte{0});
  const Store store = store_of(image.bytes);
  store->capacity = scenario.capacity;
  return store;
}

Store base_image(const Scenario& scenario) {
  if (scenario.short_last_block) return short_last_block_image(scenario);
  if (scenario.first_block != 0) {
    SparseImage image = sparse_image(
        {.footer = {.type = scenario.type == DiskType::dynamic ? 3u : 4u, .size = kBlocks * kBlock},
         .block_size = kBlock,
         .table_at = scenario.first_block - 512,
         .blocks_at = scenario.first_block});
    put_locator(image.bytes, 0, "W2ru", 512, 2048, utf16le(".\\p.vhd"));
    image.seal_header();
    const Store store = store_of(image.bytes);
    store->capacity = scenario.capacity;
    return store;
  }
  auto store = std::make_shared<MemoryStore>();
  MemoryFile file{store};
  FixedHost host{5};
  vhd::CreateSpec spec{.type = scenario.type,
                       .geometry = {.virtual_size = kBlocks * kBlock, .block_size = kBlock}};
  spec.parent_name = "p.vhd";
  spec.parent_relative = ".\\p.vhd";
  EXPECT_TRUE(vhd::create(file, spec, host));
  store->capacity = scenario.capacity;
  return store;
}

/// Each sector of it is of History::kParent; shorter than the child.
Store parent_image() {
  Bytes bytes;
  for (std::uint64_t s = 0; s < (kBlocks - 2) * kSectors; ++s) {
    const auto sector = History::sector_of(History::kParent, s);
    bytes.insert(bytes.end(), sector.begin(), sector.end());
  }
  const Bytes footer = footer_bytes({.type = 2, .size = bytes.size()});
  bytes.insert(bytes.end(), footer.begin(), footer.end());
  return store_of(bytes);
}

History history_of(const Scenario& scenario) {
  return {base_image(scenario), scenario.type == DiskType::differencing ? parent_image() : nullptr};
}

void allocate_and_flush(History& h) {
  (void)h.write(3, 4);
  (void)h.write(5 * kSectors, kSectors);
  (void)h.flush();
  (void)h.write(4, 2);
  (void)h.write(kSectors + 30, 6);
  (void)h.write(8 * kSectors, 1);
  (void)h.flush();
  (void)h.write(9 * kSectors, 1);
  (void)h.close();
}

void never_flushed(History& h) {
  for (std::uint64_t block = 0; block < kBlocks; ++block) (void)h.write(block * kSectors + 2, 3);
  (void)h.write(1, 5);
  (void)h.close();
}

void free_and_reuse(History& h) {
  for (std::uint64_t block = 0; block < 5; ++block) (void)h.write(block * kSectors, kSectors);
  (void)h.flush();
  (void)h.clear(kSectors, 3 * kSectors, ClearKind::trim);
  (void)h.write(7 * kSectors, 2);
  (void)h.flush();
  (void)h.write(8 * kSectors + 4, 2);
  (void)h.write(kSectors + 1, 1);
  (void)h.clear(4 * kSectors, kSectors, ClearKind::zero);
  (void)h.flush();
  (void)h.write(9 * kSectors + 1, 1);
  (void)h.clear(0, 3, ClearKind::zero);
  (void)h.close();
}

void zero_over_a_parent(History& h) {
  (void)h.write(2, 3);
  (void)h.flush();
  (void)h.clear(kSectors, 2 * kSectors, ClearKind::zero);
  (void)h.clear(4, 8, ClearKind::trim);
  (void)h.flush();
  (void)h.write(kSectors + 3, 2);
  (void)h.write(4 * kSectors + 7, 20);
  (void)h.flush();
  (void)h.close();
}

void clear_a_short_last_block(History& h) {
  constexpr std::uint64_t kLast = (kBlocks - 1) * kSectors;
  constexpr std::uint64_t kRest = kSectors - kLackingSectors;
  (void)h.write(kLast, 4);
  (void)h.flush();
  (void)h.clear(kLast, kRest, ClearKind::trim);
  (void)h.flush();
  (void)h.write(kLast + 2, kRest - 2);
  (void)h.flush();
  (void)h.clear(kLast, kRest, ClearKind::zero);
  (void)h.write(1, 3);  // the footer moves, and with it room for the whole block
  (void)h.flush();
  (void)h.write(kLast, 5);
  (void)h.clear(kLast, kRest, ClearKind::trim);
  (void)h.flush();
  (void)h.write(2 * kSectors, kSectors);
  (void)h.write(3 * kSectors, 2);
  (void)h.close();
}

constexpr std::uint64_t kNarrow = 512 * 1024;
const Scenario kScenarios[] = {
    {"dynamic_allocate", DiskType::dynamic, MemoryStore::kMaxBytes, allocate_and_flush},
    {"dynamic_allocate_narrow", DiskType::dynamic, kNarrow, allocate_and_flush},
    {"dynamic_never_flushed", DiskType::dynamic, MemoryStore::kMaxBytes, never_flushed},
    {"dynamic_never_flushed_narrow", DiskType::dynamic, kNarrow, never_flushed},
    {"dynamic_free", DiskType::dynamic, MemoryStore::kMaxBytes, free_and_reuse},
    {"dynamic_free_narrow", DiskType::dynamic, kNarrow, free_and_reuse},
    {"differencing_allocate", DiskType::differencing, MemoryStore::kMaxBytes, allocate_and_flush},
    {"differencing_zero", DiskType::differencing, MemoryStore::kMaxBytes, zero_over_a_parent},
    {"differencing_zero_narrow", DiskType::differencing, kNarrow, zero_over_a_parent},
    {"differencing_footer_in_bitmap", DiskType::differencing, kNarrow, allocate_and_flush, 7680},
    {"dynamic_footer_in_bitmap", DiskType::dynamic, kNarrow, allocate_and_flush, 7680},
    {"short_last_block", DiskType::dynamic, kNarrow, clear_a_short_last_block, 0, true},
    {"short_last_block_bad_copy", DiskType::dynamic, kNarrow, clear_a_short_last_block, 0, true,
     false},
};

class VhdCrash : public testing::TestWithParam<Scenario> {};
std::string name_of(const testing::TestParamInfo<Scenario>& info) { return info.param.name; }

TEST_P(VhdCrash, EveryCutLeavesOldOrNewSectorsAndAnImageThatOpens) {
  History history = history_of(GetParam());
  history.open();
  GetParam().run(history);
  ASSERT_EQ(history.judge(std::make_shared<MemoryStore>(*history.now()), history.log().size()), "");
  std::size_t states = 0;
  std::size_t failures = 0;
  for_each_crash(history.before(), history.log(), 7, [&](Store state, std::size_t end) {
    ++states;
    if (failures >= 3) return;
    const std::string wrong = history.judge(state, end);
    if (wrong.empty()) return;
    ++failures;
    ADD_FAILURE() << "state " << states << ", cut after " << end << " of " << history.log().size()
                  << ": " << wrong;
  });
  EXPECT_GT(states, 100u);
  RecordProperty("states", std::to_string(states));
}

// One command fails, once: what was flushed before stays, and nothing is written that was not
// asked for. A failed sync is never retried.
TEST_P(VhdCrash, EveryFailingCommandIsReportedAndLosesNothingFlushed) {
  std::uint64_t commands = 0;
  {
    History history = history_of(GetParam());
    history.open();
    GetParam().run(history);
    commands = history.file().commands();
  }
  for (std::uint64_t at = 0; at < commands; ++at) {
    for (const std::int32_t code : {EIO, ENOSPC}) {
      History history = history_of(GetParam());
      bool sync_failed = false;
      bool touched_after = false;
      history.open([&](const IoCommand& command, std::uint64_t number) {
        if (sync_failed) touched_after = true;
        if (number != at) return 0;
        sync_failed = command.kind == IoCommand::Kind::sync;
        return -code;
      });
      GetParam().run(history);
      EXPECT_FALSE(touched_after) << "command " << at;
      const auto left = std::make_shared<MemoryStore>(*history.now());
      left->capacity = MemoryStore::kMaxBytes;
      ASSERT_EQ(history.judge(left, history.log().size()), "") << "command " << at << ", " << code;
    }
  }
}

bool is_footer(const RecordedOp& op) {
  static const Bytes kCookie = bytes_of("conectix");
  return op.kind == IoCommand::Kind::write && op.at != 0 && op.length == 512 &&
         std::equal(kCookie.begin(), kCookie.end(), op.data.begin());
}

// V08 by the letter: with a good copy at 0 no cut shows the difference, with a bad one it would.
TEST_P(VhdCrash, NoFooterIsOverwrittenOrCutOffBeforeTheNextOneIsDurable) {
  History history = history_of(GetParam());
  std::uint64_t footer = history.before().size - 512;
  history.open();
  GetParam().run(history);
  std::optional<std::uint64_t> next;
  unsigned moved = 0;
  for (const RecordedOp& op : history.log()) {
    if (is_footer(op)) {
      next = op.at;
      ++moved;
    } else if (op.kind == IoCommand::Kind::sync) {
      footer = next.value_or(footer);
    } else if (op.kind == IoCommand::Kind::set_size) {
      EXPECT_EQ(op.at, footer + 512);
    } else if (op.kind != IoCommand::Kind::reserve) {
      EXPECT_FALSE(op.at < footer + 512 && footer < op.at + op.length) << op.at;
    }
  }
  EXPECT_GE(moved, 2u);
}

INSTANTIATE_TEST_SUITE_P(Scenarios, VhdCrash, testing::ValuesIn(kScenarios), name_of);

TEST(VhdPoison, AFailedSyncEndsAllWriting) {
  const Scenario scenario{"", DiskType::dynamic, MemoryStore::kMaxBytes, nullptr};
  History history = history_of(scenario);
  bool armed = false;
  history.open([&](const IoCommand& command, std::uint64_t) {
    return armed && command.kind == IoCommand::Kind::sync ? -EIO : 0;
  });
  ASSERT_TRUE(history.write(0, 4));
  armed = true;
  EXPECT_EQ(error_of(history.flush()).code, Errc::io);
  armed = false;
  EXPECT_EQ(error_of(history.flush()).code, Errc::poisoned);
  EXPECT_EQ(error_of(history.write(0, 1)).code, Errc::poisoned);
  EXPECT_EQ(error_of(history.clear(0, kSectors, ClearKind::trim)).code, Errc::poisoned);
  Bytes out(512);
  EXPECT_TRUE(history.disk().read(0, out));
  const std::uint64_t commands = history.file().commands();
  EXPECT_EQ(error_of(history.close()).code, Errc::poisoned);
  EXPECT_EQ(history.file().commands(), commands);
}

TEST(VhdPoison, AFixedDiskIsPoisonedToo) {
  std::vector<RecordedOp> log;
  auto file = std::make_unique<RecordingFile>(store_of(fixed_image(kBlock)), log);
  file->fault = [](const IoCommand& command, std::uint64_t) {
    return command.kind == IoCommand::Kind::sync ? -EIO : 0;
  };
  auto disk = open_disk(std::move(file), {.writable = true});
  ASSERT_TRUE(disk->write(0, Bytes(512)));
  EXPECT_EQ(error_of(disk->flush()).code, Errc::io);
  EXPECT_EQ(error_of(disk->write(0, Bytes(512))).code, Errc::poisoned);
  EXPECT_EQ(error_of(disk->close()).code, Errc::poisoned);
}

}  // namespace
}  // namespace openvhd::test
