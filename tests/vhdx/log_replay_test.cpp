// Dirty logs of all shapes: what is replayed, into memory and into the file, and what is refused.
#include "vhdx/log_replay.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "support/bytes.hpp"
#include "vhdx/expect_judged.hpp"
#include "vhdx/image_builder.hpp"
#include "vhdx/load_support.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kSector = 4096;
constexpr std::uint64_t kTarget = 4 * kMegabyte;  // the payload of the built image: 0xa5

std::vector<std::byte> empty_log(std::uint64_t length = kMegabyte) {
  return std::vector<std::byte>(length);
}

BuiltWrite write_of(unsigned sector, int value) {
  return {.at = kTarget + sector * kSector, .sector = sector_of(value)};
}

std::shared_ptr<MemoryStore> dirty(std::vector<std::byte> log) {
  Image image;
  image.make_dirty(std::move(log));
  return image.build();
}

int first_byte(File& file, unsigned sector) {
  const auto bytes = read_at(file, kTarget + sector * kSector, kSector);
  const bool same = std::ranges::all_of(bytes, [&](std::byte b) { return b == bytes[0]; });
  return same ? std::to_integer<int>(bytes[0]) : -1;
}

std::uint64_t header_field(File& file, unsigned copy, std::uint64_t at, unsigned width) {
  std::uint64_t out = 0;
  const auto bytes = read_at(file, (copy == 0 ? 65536u : 131072u) + at, width);
  while (width-- > 0) out = out << 8 | std::to_integer<std::uint64_t>(bytes[width]);
  return out;
}

// Opens a dirty image both ways and compares the first sectors of its payload with `expected`.
void expect_replayed(const std::shared_ptr<MemoryStore>& store, const std::vector<int>& expected,
                     std::uint64_t entries) {
  MemoryFile file{store};
  const auto before = read_all(file);
  {
    const auto loaded = load(store);
    ASSERT_TRUE(loaded) << loaded.error().what;
    EXPECT_EQ(loaded->image.log_summary.replayed_entries, entries);
    for (unsigned i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(first_byte(*loaded->file, i), expected[i]) << "overlay, sector " << i;
    }
  }
  EXPECT_EQ(read_all(file), before) << "a read-only open changed the file";

  const auto loaded = load(store, true);
  ASSERT_TRUE(loaded) << loaded.error().what;
  EXPECT_EQ(loaded->image.log_summary.replayed_entries, entries);
  EXPECT_TRUE(loaded->image.header.log_guid.value().is_nil());
  for (unsigned i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(first_byte(file, i), expected[i]) << "file, sector " << i;
  }
  const auto again = load(store, true);
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->image.log_summary.was_dirty);
}

TEST(VhdxReplay, OneEntry) {
  auto log = empty_log();
  put_entry(log, 0, {.writes = {write_of(0, 1), write_of(2, 3)}});
  expect_replayed(dirty(log), {1, 0xa5, 3, 0xa5}, 1);
}

TEST(VhdxReplay, EntryMayStartAnywhereAndTailMayBeItself) {
  auto log = empty_log();
  put_entry(log, 40960, {.sequence = 77, .tail = 40960, .writes = {write_of(1, 9)}});
  expect_replayed(dirty(log), {0xa5, 9}, 1);
}

TEST(VhdxReplay, EntryWrapsAroundTheEnd) {
  auto log = empty_log();
  const std::uint32_t at = kMegabyte - 2 * kSector;
  put_entry(log, at, {.tail = at, .writes = {write_of(0, 1), write_of(1, 2), write_of(2, 3)}});
  expect_replayed(dirty(log), {1, 2, 3}, 1);
}

TEST(VhdxReplay, SequenceWrapsAroundTheEnd) {
  auto log = empty_log();
  const std::uint32_t tail = kMegabyte - 4 * kSector;
  std::size_t at = tail;
  for (unsigned i = 0; i < 5; ++i) {
    at = put_entry(log, at, {.sequence = 10 + i, .tail = tail, .writes = {write_of(i, int(i))}});
  }
  expect_replayed(dirty(log), {0, 1, 2, 3, 4, 0xa5}, 5);
}

TEST(VhdxReplay, LaterEntriesWin) {
  auto log = empty_log();
  std::size_t at = put_entry(log, 0, {.sequence = 1, .writes = {write_of(0, 1), write_of(0, 2)}});
  put_entry(log, at, {.sequence = 2, .writes = {write_of(0, 3)}});
  expect_replayed(dirty(log), {3}, 2);
}

TEST(VhdxReplay, EntriesBeforeTheTailAreNotReplayed) {
  auto log = empty_log();
  std::size_t at = put_entry(log, 0, {.sequence = 1, .writes = {write_of(0, 1)}});
  const auto tail = static_cast<std::uint32_t>(at);
  at = put_entry(log, at, {.sequence = 2, .tail = tail, .writes = {write_of(1, 2)}});
  put_entry(log, at, {.sequence = 3, .tail = tail, .writes = {write_of(2, 3)}});
  expect_replayed(dirty(log), {0xa5, 2, 3}, 2);
}

TEST(VhdxReplay, TheSequenceWithTheGreatestHeadWins) {
  auto log = empty_log();
  put_entry(log, 0, {.sequence = 50, .writes = {write_of(0, 1)}});
  put_entry(log, 65536, {.sequence = 51, .tail = 65536, .writes = {write_of(1, 2)}});
  put_entry(log, 131072, {.sequence = 7, .tail = 131072, .writes = {write_of(2, 3)}});
  expect_replayed(dirty(log), {0xa5, 2, 0xa5}, 1);
}

TEST(VhdxReplay, AGapInNumbersEndsASequence) {
  auto log = empty_log();
  std::size_t at = put_entry(log, 0, {.sequence = 1, .writes = {write_of(0, 1)}});
  const auto second = static_cast<std::uint32_t>(at);
  put_entry(log, at, {.sequence = 3, .tail = second, .writes = {write_of(1, 2)}});
  expect_replayed(dirty(log), {0xa5, 2}, 1);
}

TEST(VhdxReplay, AHeadWhoseTailIsOutsideItsRunDoesNotCount) {
  auto log = empty_log();
  put_entry(log, 0, {.sequence = 1, .writes = {write_of(0, 1)}});
  put_entry(log, 65536, {.sequence = 9, .tail = 0, .writes = {write_of(1, 2)}});
  expect_replayed(dirty(log), {1, 0xa5}, 1);
}

TEST(VhdxReplay, ATornHeadFallsBackToTheEntryBefore) {
  auto log = empty_log();
  std::size_t at = put_entry(log, 0, {.sequence = 1, .writes = {write_of(0, 1)}});
  const std::size_t head = at;
  at = put_entry(log, at, {.sequence = 2, .writes = {write_of(1, 2), write_of(2, 3)}});
  std::ranges::fill(log.begin() + std::ptrdiff_t(at - kSector), log.begin() + std::ptrdiff_t(at),
                    std::byte{0});
  ASSERT_EQ(at, head + 3 * kSector);
  expect_replayed(dirty(log), {1, 0xa5, 0xa5}, 1);
}

TEST(VhdxReplay, EntriesOfAnotherLogAreForeign) {
  auto log = empty_log();
  std::size_t at = put_entry(log, 0, {.sequence = 1, .writes = {write_of(0, 1)}});
  put_entry(
      log, at,
      {.sequence = 2, .guid = "99999999-2222-4333-8444-555555555555", .writes = {write_of(1, 2)}});
  expect_replayed(dirty(log), {1, 0xa5}, 1);
}

TEST(VhdxReplay, AnOldEntryUnderATornOneStillCounts) {
  auto log = empty_log();
  put_entry(log, 2 * kSector, {.sequence = 4, .tail = 2 * kSector, .writes = {write_of(0, 4)}});
  // Only the first sector of a longer entry reached the disk.
  const auto torn = log_entry(
      {.sequence = 5, .tail = 0, .writes = {write_of(0, 5), write_of(1, 5), write_of(2, 5)}});
  std::copy_n(torn.begin(), kSector, log.begin());
  expect_replayed(dirty(log), {4, 0xa5}, 1);
}

TEST(VhdxReplay, DescriptorsFillSeveralSectors) {
  auto log = empty_log();
  BuiltEntry entry;
  std::vector<int> expected;
  for (unsigned i = 0; i < 151; ++i) {
    entry.writes.push_back(write_of(i, int(i)));
    expected.push_back(int(i));
  }
  put_entry(log, 0, entry);
  expect_replayed(dirty(log), expected, 1);
}

TEST(VhdxReplay, SequenceNumbersHave64Bits) {
  auto log = empty_log();
  std::size_t at = put_entry(log, 0, {.sequence = 0xffffffff, .writes = {write_of(0, 1)}});
  put_entry(log, at, {.sequence = 0x100000000, .writes = {write_of(1, 2)}});
  expect_replayed(dirty(log), {1, 2}, 2);
}

TEST(VhdxReplay, AnEmptyEntryIsFine) {
  auto log = empty_log();
  put_entry(log, 0, {});
  expect_replayed(dirty(log), {0xa5}, 1);
}

TEST(VhdxReplay, ZeroDescriptorsZero) {
  auto log = empty_log();
  std::size_t at =
      put_entry(log, 0,
                {.sequence = 1,
                 .writes = {write_of(1, 1),
                            {.at = kTarget, .sector = {}, .zero_length = 3 * kSector},
                            {.at = kTarget + 8 * kSector, .sector = {}, .zero_length = 0}}});
  put_entry(log, at, {.sequence = 2, .writes = {write_of(2, 7)}});
  expect_replayed(dirty(log), {0, 0, 7, 0xa5}, 2);
}

TEST(VhdxReplay, WithoutSequenceNumbersToEndItNothingIsReplayedIntoTheFile) {
  Image image;
  for (std::uint64_t left = 0; left < 8; ++left) {
    image.headers[1].sequence = ~left;
    auto log = empty_log();
    put_entry(log, 0, {.writes = {write_of(0, 1)}});
    image.make_dirty(log);
    const auto store = image.build();
    MemoryFile file{store};
    const auto before = read_all(file);
    EXPECT_TRUE(load(store));
    EXPECT_NE(refusal(store, true).find("X04"), std::string::npos) << left;
    EXPECT_EQ(read_all(file), before);
  }
}

TEST(VhdxReplay, ZerosTakeNoSpaceFromTheHost) {
  const std::uint64_t last = 4096 * kMegabyte;
  auto log = empty_log();
  std::size_t at =
      put_entry(log, 0,
                {.sequence = 1,
                 .last = last,
                 .writes = {write_of(0, 1),
                            {.at = kTarget, .sector = {}, .zero_length = last - kTarget},
                            // Behind the end of the file as it is, written and zeroed again.
                            {.at = 9 * kMegabyte, .sector = sector_of(5)},
                            {.at = 9 * kMegabyte + kSector, .sector = sector_of(6)},
                            {.at = 9 * kMegabyte, .sector = {}, .zero_length = kSector}}});
  put_entry(log, at, {.sequence = 2, .last = last, .writes = {write_of(2, 7)}});
  const auto store = dirty(log);
  const std::uint64_t before = store->allocated_bytes();
  ASSERT_TRUE(load(store, true));
  EXPECT_LE(store->allocated_bytes(), before + 2 * MemoryStore::kPageBytes);
  MemoryFile file{store};
  EXPECT_EQ(store->size, last);
  EXPECT_EQ(first_byte(file, 0), 0);
  EXPECT_EQ(first_byte(file, 2), 7);
  EXPECT_EQ(first_byte(file, 255), 0);
  EXPECT_EQ(read_at(file, 9 * kMegabyte, kSector), sector_of(0));
  EXPECT_EQ(read_at(file, 9 * kMegabyte + kSector, kSector), sector_of(6));
}

TEST(VhdxReplay, TheFileIsExtendedToItsLastOffset) {
  for (const std::uint64_t last : {9 * kMegabyte, 9 * kMegabyte + 4096}) {
    auto log = empty_log();
    put_entry(log, 0, {.last = last, .writes = {write_of(0, 1)}});
    const auto store = dirty(log);
    const auto read_only = load(store);
    ASSERT_TRUE(read_only) << read_only.error().what;
    EXPECT_EQ(*read_only->file->size(), last);
    EXPECT_EQ(read_only->image.file_bytes, last);
    EXPECT_EQ(store->size, 5 * kMegabyte);
    ASSERT_TRUE(load(store, true));
    EXPECT_EQ(store->size, last);
  }
}

TEST(VhdxReplay, TargetsPastTheEndOfTheFileExtendIt) {
  auto log = empty_log();
  put_entry(
      log, 0,
      {.last = 7 * kMegabyte, .writes = {{.at = 7 * kMegabyte - kSector, .sector = sector_of(6)}}});
  const auto store = dirty(log);
  const auto loaded = load(store);
  ASSERT_TRUE(loaded) << loaded.error().what;
  EXPECT_EQ(read_at(*loaded->file, 7 * kMegabyte - kSector, kSector), sector_of(6));
  EXPECT_EQ(read_at(*loaded->file, 6 * kMegabyte, kSector), sector_of(0));
  ASSERT_TRUE(load(store, true));
  MemoryFile file{store};
  EXPECT_EQ(read_at(file, 7 * kMegabyte - kSector, kSector), sector_of(6));
}

TEST(VhdxReplay, ReplayMayRewriteTablesAndMetadata) {
  Image image;
  // The metadata table in the file is broken; the log has the good one.
  MemoryFile good{image.build()};
  auto log = empty_log();
  std::vector<BuiltWrite> writes;
  for (unsigned i = 0; i < 18; ++i) {
    const std::uint64_t at = image.metadata_at + i * kSector;
    writes.push_back({.at = at, .sector = read_at(good, at, kSector)});
  }
  put_entry(log, 0, {.writes = writes});
  image.make_dirty(log);
  image.extra.emplace_back(image.metadata_at, std::vector<std::byte>(65536 + 4096));
  expect_replayed(image.build(), {0xa5}, 1);
}

TEST(VhdxReplay, GuidsChangeAsTheyMust) {
  auto log = empty_log();
  put_entry(log, 0, {.writes = {write_of(0, 1)}});
  const auto store = dirty(log);
  MemoryFile file{store};
  const auto data_write = read_at(file, 131072 + 32, 16);
  const auto file_write = read_at(file, 131072 + 16, 16);
  ASSERT_TRUE(load(store, true));
  for (unsigned copy = 0; copy < 2; ++copy) {
    const std::uint64_t at = copy == 0 ? 65536 : 131072;
    EXPECT_EQ(read_at(file, at + 32, 16), data_write) << copy;
    EXPECT_NE(read_at(file, at + 16, 16), file_write) << copy;
    EXPECT_EQ(header_field(file, copy, 48, 8), 0u) << copy;
    EXPECT_EQ(header_field(file, copy, 56, 8), 0u) << copy;
  }
}

struct Refused {
  const char* name;
  const char* id;
  void (*change)(Image&);
};

void with_entry(Image& image, const BuiltEntry& entry) {
  auto log = empty_log();
  put_entry(log, 0, entry);
  image.make_dirty(std::move(log));
}

// The entry with bytes of it changed and its checksum made right again.
void with_patched(Image& image, const BuiltEntry& entry, std::size_t at, unsigned width,
                  std::uint64_t value) {
  Bytes bytes;
  bytes.data = log_entry(entry);
  bytes.put(at, width, value).seal(4);
  bytes.data.resize(kMegabyte);
  image.make_dirty(bytes.data);
}

const BuiltEntry kOne{.writes = {write_of(0, 1)}};
const BuiltEntry kZero{.writes = {{.at = kTarget, .sector = {}, .zero_length = 4096}}};

const Refused kRefused[] = {
    {"NoEntry", "L01", [](Image& i) { i.make_dirty(empty_log()); }},
    {"OtherGuidOnly", "L01",
     [](Image& i) { with_entry(i, {.guid = "99999999-2222-4333-8444-555555555555"}); }},
    {"Checksum", "L01",
     [](Image& i) {
       with_entry(i, kOne);
       i.extra.back().second[5000] ^= std::byte{1};
     }},
    {"SequenceZero", "L01", [](Image& i) { with_entry(i, {.sequence = 0}); }},
    {"TailElsewhere", "L01", [](Image& i) { with_entry(i, {.tail = 8192}); }},
    {"TailUnaligned", "L01", [](Image& i) { with_entry(i, {.tail = 512}); }},
    {"TailOutside", "L01", [](Image& i) { with_entry(i, {.tail = kMegabyte}); }},
    {"LengthHuge", "L01", [](Image& i) { with_patched(i, kOne, 8, 4, 0xfffff000); }},
    {"LengthShort", "L01",
     [](Image& i) {
       Bytes bytes;
       bytes.data = log_entry(kOne);
       bytes.data.resize(4096);
       bytes.put(8, 4, 4096).seal(4);
       bytes.data.resize(kMegabyte);
       i.make_dirty(bytes.data);
     }},
    {"LengthZero", "L01", [](Image& i) { with_patched(i, kOne, 8, 4, 0); }},
    {"CountHuge", "L01", [](Image& i) { with_patched(i, kOne, 24, 4, 0xffffffff); }},
    {"CountOneTooMany", "L01", [](Image& i) { with_patched(i, kOne, 24, 4, 2); }},
    {"DescriptorSequence", "L01", [](Image& i) { with_patched(i, kOne, 64 + 24, 8, 2); }},
    {"DescriptorUnaligned", "L01",
     [](Image& i) { with_patched(i, kOne, 64 + 16, 8, kTarget + 512); }},
    {"DescriptorOverflows", "L01",
     [](Image& i) { with_patched(i, kOne, 64 + 16, 8, ~std::uint64_t{4095}); }},
    {"ZeroLengthUnaligned", "L01", [](Image& i) { with_patched(i, kZero, 64 + 8, 8, 100); }},
    {"DataSignature", "L01", [](Image& i) { with_patched(i, kOne, 4096, 4, 0); }},
    {"DataSequenceHigh", "L01", [](Image& i) { with_patched(i, kOne, 4100, 4, 1); }},
    {"DataSequenceLow", "L01", [](Image& i) { with_patched(i, kOne, 8188, 4, 0); }},
    {"TargetIsTheIdentifier", "L05",
     [](Image& i) { with_entry(i, {.writes = {{.at = 0, .sector = sector_of(0)}}}); }},
    {"TargetIsAHeader", "L05",
     [](Image& i) { with_entry(i, {.writes = {{.at = 131072, .sector = sector_of(0)}}}); }},
    {"ZeroesOverTheHeaders", "L05",
     [](Image& i) {
       with_entry(i, {.writes = {{.at = 4096, .sector = {}, .zero_length = kMegabyte}}});
     }},
    {"TargetIsTheLog", "L05",
     [](Image& i) {
       with_entry(i, {.writes = {{.at = 2 * kMegabyte - 4096, .sector = sector_of(0)}}});
     }},
    {"TargetPastLastOffset", "L05",
     [](Image& i) { with_entry(i, {.writes = {{.at = 5 * kMegabyte, .sector = sector_of(0)}}}); }},
    {"LastOffsetAbsurd", "L06", [](Image& i) { with_entry(i, {.last = std::uint64_t{1} << 60}); }},
    {"FileTruncated", "L06", [](Image& i) { with_entry(i, {.flushed = 5 * kMegabyte + 1}); }},
    {"LogVersion7", "X03",
     [](Image& i) {
       with_entry(i, kOne);
       for (auto& header : i.headers) header.log_version = 7;
     }},
    {"LogOfLengthZero", "X03",
     [](Image& i) {
       with_entry(i, kOne);
       for (auto& header : i.headers) header.log_length = 0;
     }},
    {"TablesAreBadAfterwards", "X05",
     [](Image& i) {
       with_entry(i, {.writes = {{.at = 196608, .sector = sector_of(0)},
                                 {.at = 262144, .sector = sector_of(0)}}});
     }},
    {"MetadataIsBadAfterwards", "X08",
     [](Image& i) {
       with_entry(i, {.writes = {{.at = 2 * kMegabyte, .sector = {}, .zero_length = 4096}}});
     }},
};

class VhdxReplayRule : public ::testing::TestWithParam<Refused> {};

TEST_P(VhdxReplayRule, RefusesAndWritesNothing) {
  Image image;
  GetParam().change(image);
  expect_judged(image.build(), GetParam().id);
}

INSTANTIATE_TEST_SUITE_P(All, VhdxReplayRule, ::testing::ValuesIn(kRefused),
                         [](const auto& param) { return std::string{param.param.name}; });

/// Executes `left` changes, then nothing any more: the process has died.
class DyingFile : public MemoryFile {
 public:
  DyingFile(std::shared_ptr<MemoryStore> store, unsigned left)
      : MemoryFile{std::move(store)}, left_{left} {}
  std::int32_t execute(const IoCommand& command) noexcept override {
    if (command.kind == IoCommand::Kind::read) return MemoryFile::execute(command);
    if (left_ == 0) return -EIO;
    --left_;
    return MemoryFile::execute(command);
  }

 private:
  unsigned left_;
};

TEST(VhdxReplay, CutOffAnywhereItIsDoneAgainWithTheSameOutcome) {
  auto log = empty_log();
  std::size_t at = put_entry(log, 0,
                             {.sequence = 1,
                              .last = 7 * kMegabyte,
                              .writes = {write_of(0, 1),
                                         {.at = kTarget + 4096, .sector = {}, .zero_length = 8192},
                                         write_of(2, 3)}});
  put_entry(log, at, {.sequence = 2, .last = 8 * kMegabyte, .writes = {write_of(0, 9)}});
  Image image;
  image.make_dirty(log);
  bool finished = false;
  unsigned cuts = 0;
  while (!finished) {
    ASSERT_LT(cuts, 40u);
    const auto store = image.build();
    FixedHost host;
    finished = bool{vhdx::load_image(std::make_unique<DyingFile>(store, cuts++), true, host)};
    const auto loaded = load(store, true);
    ASSERT_TRUE(loaded) << "cut " << cuts << ": " << loaded.error().what;
    EXPECT_EQ(first_byte(*loaded->file, 0), 9) << cuts;
    EXPECT_EQ(first_byte(*loaded->file, 1), 0) << cuts;
    EXPECT_EQ(first_byte(*loaded->file, 2), 3) << cuts;
    EXPECT_EQ(store->size, 8 * kMegabyte) << cuts;
  }
  EXPECT_GT(cuts, 10u);
}

TEST(VhdxReplay, ALogOver256MegabytesIsRefusedUnread) {
  Image image;
  for (auto& header : image.headers) {
    header.log_guid = kLogGuid;
    header.log_at = 5 * kMegabyte;
    header.log_length = 257 * kMegabyte;
  }
  image.file_bytes = 300 * kMegabyte;
  const auto loaded = load(image.build());
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Errc::unsupported);
}

// An image of 40 MiB whose log of 16 MiB replaces more sectors than are kept in memory: 3000, some
// of them twice, and zeroes others. Sector n of the payload then holds n % 251, n % 7 == 0: zeros.
constexpr unsigned kLongSectors = 3000;

Image long_log() {
  Image image;
  image.file_bytes = 40 * kMegabyte;
  for (BuiltHeader& header : image.headers) {
    header.log_at = 24 * kMegabyte;
    header.log_length = 16 * kMegabyte;
  }
  auto log = empty_log(16 * kMegabyte);
  const auto at_end = [](BuiltEntry entry) {
    entry.flushed = entry.last = 40 * kMegabyte;
    return entry;
  };
  std::size_t at = 0;
  std::uint64_t sequence = 1;
  for (unsigned n = 0; n < kLongSectors; n += 500) {
    BuiltEntry entry{.sequence = sequence++};
    for (unsigned i = n; i < n + 500; ++i) {
      if (i % 3 == 0) entry.writes.push_back(write_of(i, 255));
      entry.writes.push_back(write_of(i, int(i % 251)));
    }
    at = put_entry(log, at, at_end(entry));
  }
  BuiltEntry zeros{.sequence = sequence};
  for (unsigned n = 0; n < kLongSectors; n += 7) {
    zeros.writes.push_back({.at = kTarget + n * kSector, .sector = {}, .zero_length = kSector});
  }
  put_entry(log, at, at_end(zeros));
  image.make_dirty(std::move(log));
  return image;
}

TEST(VhdxReplay, OfALongLogTheSectorsThatAreNotKeptAreReadAgain) {
  static_assert(kLongSectors > vhdx::LogChanges::kKeptSectors);
  const auto store = long_log().build();
  std::vector<int> expected;
  for (unsigned n = 0; n < kLongSectors; ++n) expected.push_back(n % 7 == 0 ? 0 : int(n % 251));
  expect_replayed(store, expected, kLongSectors / 500 + 1);
}

/// Damages the log once it has been read `after` MiB of it.
class TurningFile : public MemoryFile {
 public:
  TurningFile(std::shared_ptr<MemoryStore> store, unsigned after)
      : MemoryFile{std::move(store)}, left_{after} {}
  std::int32_t execute(const IoCommand& command) noexcept override {
    const bool log = command.kind == IoCommand::Kind::read && command.length == kMegabyte;
    if (log && left_ != 0 && --left_ == 0) {
      for (std::uint64_t at = 24 * kMegabyte; at < 40 * kMegabyte; at += kSector)
        patch(*this, at + 50, {0x99});
    }
    return MemoryFile::execute(command);
  }

 private:
  unsigned left_;
};

TEST(VhdxReplay, ALogThatChangesAfterItWasReadIsNotUsed) {
  // The scan reads 16 MiB, and the plan again those with entries.
  for (const unsigned after : {3u, 18u, 30u}) {
    const auto store = long_log().build();
    MemoryFile before{store};
    const auto payload = read_at(before, kTarget, kLongSectors * kSector);
    auto file = std::make_unique<TurningFile>(store, after);
    FixedHost host;
    const auto loaded = vhdx::load_image(std::move(file), true, host);
    ASSERT_FALSE(loaded) << after;
    EXPECT_NE(std::string{loaded.error().what}.find('L'), std::string::npos);
    EXPECT_EQ(read_at(before, kTarget, kLongSectors * kSector), payload) << after;
  }
}

// Every sector claims to start an entry as long as the log: the scan must not look at each of
// them to its end.
TEST(VhdxLogScan, HostileLogsTakeLinearTime) {
  constexpr std::uint64_t kLength = 64 * kMegabyte;
  const auto first = log_entry({.writes = {write_of(0, 1)}});
  Bytes sector;
  sector.data.assign(first.begin(), first.begin() + 4096);
  sector.put(8, 4, kLength);
  std::vector<std::byte> log(kLength);
  for (std::size_t at = 0; at < kLength; at += kSector) {
    std::ranges::copy(sector.data, log.begin() + std::ptrdiff_t(at));
  }
  MemoryFile file{log};
  const auto scan = vhdx::scan_log(file, {.at = {0}, .length = kLength}, *parse_guid(kLogGuid));
  ASSERT_TRUE(scan);
  EXPECT_TRUE(scan->entries.empty());
  EXPECT_EQ(scan->bad.size(), vhdx::kMaxBadEntries);
  // 64 pieces of 1 MiB, and the beginning once more for what wraps.
  EXPECT_LE(file.executed(IoCommand::Kind::read), 66u);
}

TEST(VhdxLogScan, TellsValidBadAndForeignEntriesApart) {
  auto log = empty_log();
  std::size_t at = put_entry(log, 0, {.sequence = 5, .writes = {write_of(0, 1)}});
  const std::size_t bad = at;
  at = put_entry(log, at, {.sequence = 6, .writes = {write_of(0, 1)}});
  log[bad + 5000] ^= std::byte{1};
  put_entry(log, at, {.guid = "99999999-2222-4333-8444-555555555555"});
  MemoryFile file{log};
  const auto scan = vhdx::scan_log(file, {.at = {0}, .length = kMegabyte}, *parse_guid(kLogGuid));
  ASSERT_TRUE(scan);
  ASSERT_EQ(scan->entries.size(), 1u);
  EXPECT_EQ(scan->entries[0].sequence, 5u);
  ASSERT_EQ(scan->bad.size(), 1u);
  EXPECT_EQ(scan->bad[0].at, bad);
  EXPECT_EQ(scan->foreign, 1u);
}

}  // namespace
}  // namespace openvhd::test
