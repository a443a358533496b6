// Look-ups and overwrites of other threads, in a file of the host, beside an owner that allocates,
// clears, frees and uses again, flushes, and has memory for next to nothing.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <random>
#include <thread>

#include "io/posix_file.hpp"
#include "io/readers.hpp"
#include "support/bytes.hpp"
#include "support/keeping_reader.hpp"
#include "support/temp_dir.hpp"
#include "vhd/disk.hpp"
#include "vhd/image_bytes.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::uint32_t kBlockBytes = 8192;
constexpr std::uint64_t kSectorsPerBlock = kBlockBytes / kSector;
/// Blocks that one page of the table knows of; four pages fit in memory, and 16 bitmaps.
constexpr std::uint64_t kPage = 1024;
constexpr std::uint64_t kPages = 8;
constexpr unsigned kReaders = 2;

/// What happens to a block: one of each in every page.
enum class Role : std::uint8_t {
  owners,     // the owner writes, clears and frees it
  owners_2,   // the same
  split,      // a reader overwrites its sectors of it, the owner writes and clears the others
  split_2,    // the same
  contested,  // readers overwrite what the owner writes, clears and frees
  last,
};
constexpr std::uint64_t kRoles = static_cast<std::uint64_t>(Role::last);
constexpr std::uint64_t kSectors = kPages * kRoles * kSectorsPerBlock;

/// A sector that is touched, by its number among those.
struct Sector {
  std::uint64_t number = 0;
  std::uint64_t block() const { return number / kSectorsPerBlock; }
  Role role() const { return static_cast<Role>(block() % kRoles); }
  std::uint64_t in_block() const { return number % kSectorsPerBlock; }
  VirtualOffset at() const {
    const std::uint64_t disk_block = block() / kRoles * kPage + block() % kRoles * 3;
    return {disk_block * kBlockBytes + in_block() * kSector};
  }
  /// Readers have two of each four sectors of a split block.
  bool is_readers() const {
    return (role() == Role::split || role() == Role::split_2) && in_block() % 4 < kReaders;
  }
};

/// What a sector holds is counted up with every change: odd versions are data, even ones zeros.
/// Between the one that is done and the one that has begun, a look-up may find any.
struct Versions {
  std::atomic<std::uint32_t> begun{0};
  std::atomic<std::uint32_t> done{0};
};

std::array<std::byte, kSector> stamp(Sector sector, std::uint32_t version) {
  std::array<std::byte, kSector> out;
  const std::uint64_t word = (sector.number + 1) << 32 | version;
  for (std::size_t i = 0; i < out.size(); i += 8) std::memcpy(out.data() + i, &word, 8);
  return out;
}

struct Shape {
  const char* name;
  std::uint32_t type;
  bool clear_bits = false;  // blocks are there, with all bits clear
};

/// A file of the host on which syncs cost nothing.
class QuickFile final : public File {
 public:
  explicit QuickFile(std::unique_ptr<File> file) : file_{std::move(file)} {}
  std::int32_t execute(const IoCommand& command) noexcept override {
    return command.kind == IoCommand::Kind::sync ? 0 : file_->execute(command);
  }
  Result<std::uint64_t> size() noexcept override { return file_->size(); }
  std::uint64_t allocated_bytes() noexcept override { return file_->allocated_bytes(); }
  Result<FileRange> next_data(FileOffset at, FileOffset end) noexcept override {
    return file_->next_data(at, end);
  }
  FileIdentity identity() const noexcept override { return file_->identity(); }
  const std::string& name() const noexcept override { return file_->name(); }
  bool writable() const noexcept override { return file_->writable(); }

 private:
  std::unique_ptr<File> file_;
};

/// A reader, as a queue has it.
struct Look {
  Layer& layer;
  KeepingReader up;
};

class VhdThreads : public testing::TestWithParam<Shape> {
 protected:
  std::unique_ptr<File> host_file(bool writable) {
    auto file = PosixFile::open(directory_ / "disk.vhd", {.writable = writable});
    if (!file) ADD_FAILURE() << file.error().what;
    return *std::move(file);
  }

  void make_image() {
    SparseFields fields{.footer = {.type = GetParam().type, .size = kPages * kPage * kBlockBytes},
                        .block_size = kBlockBytes,
                        .table_at = 4096,
                        .blocks_at = 65536,
                        .bitmap_fill = 0};
    if (GetParam().clear_bits) {
      for (std::uint64_t number = 0; number < kSectors; number += kSectorsPerBlock) {
        fields.blocks.push_back(
            static_cast<std::uint32_t>(Sector{number}.at().value / kBlockBytes));
      }
    }
    SparseImage image = sparse_image(fields);
    if (fields.footer.type == 4)
      put_locator(image.bytes, 0, "W2ru", 512, 2560, utf16le(".\\p.vhd"));
    image.seal_header();
    std::FILE* const out = std::fopen((directory_ / "disk.vhd").c_str(), "wb");
    ASSERT_NE(out, nullptr);
    ASSERT_EQ(std::fwrite(image.bytes.data(), 1, image.bytes.size(), out), image.bytes.size());
    ASSERT_EQ(std::fclose(out), 0);
  }

  /// What is absent reads as zeros, also where a parent is missing.
  Disk open_image(bool writable) {
    FixedHost host;
    auto image = vhd::open(std::make_unique<QuickFile>(host_file(writable)),
                           {.writable = writable, .table_cache_bytes = 0}, host);
    if (!image) ADD_FAILURE() << image.error().what;
    std::vector<OpenedImage> images;
    images.push_back(*std::move(image));
    return Disk{std::move(images)};
  }

  /// Empty: what was found is what may be there.
  std::string judge(Sector sector, std::uint32_t done, std::uint32_t begun,
                    std::span<const std::byte> bytes) const {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof word);
    const auto version = static_cast<std::uint32_t>(word);
    const std::string what = "sector " + std::to_string(sector.number) + " holds version " +
                             std::to_string(version) + " of " + std::to_string((word >> 32)) +
                             ", between " + std::to_string(done) + " and " + std::to_string(begun);
    if (word != 0 && word >> 32 != sector.number + 1) return what;
    if (sector.role() == Role::contested) return {};
    const bool good = word == 0 ? done % 2 == 0 || begun > done
                                : version % 2 == 1 && version >= done && version <= begun;
    return good ? std::string{} : what;
  }

  // A reader's side: what a queue does.
  void read(Readers::Slot& slot, Look& look, File& file, unsigned reader, std::uint64_t random);
  void overwrite(Readers::Slot& slot, Look& look, File& file, unsigned reader,
                 std::uint64_t random);
  void reader(Disk& disk, unsigned number);

  // The owner's.
  void change(Disk& disk, std::uint64_t random);
  void free_block(Disk& disk, std::uint64_t random);
  void serve(Disk& disk);
  void expect_model(Disk& disk);

  TempDir directory_;
  Readers readers_;
  std::array<Versions, kSectors> versions_;
  std::array<std::atomic<std::uint64_t>, kReaders> wanted_{};  // sector number plus one
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> found_{0};
  std::atomic<std::uint64_t> overwritten_{0};
  std::atomic<std::uint64_t> kept_{0};
  std::atomic<std::uint64_t> handed_over_{0};
};

void VhdThreads::read(Readers::Slot& slot, Look& look, File& file, unsigned reader,
                      std::uint64_t random) {
  const Sector first{random % kSectors};
  const std::uint64_t count = 1 + (random >> 32) % (kSectorsPerBlock - first.in_block());
  std::array<std::uint32_t, kSectorsPerBlock> done{};
  for (std::uint64_t i = 0; i < count; ++i) done[i] = versions_[first.number + i].done.load();
  const unsigned side = slot.begin();
  Extent extent;
  const bool found = look.up.find(first.at(), count * kSector, extent);
  slot.end_look_up();
  std::vector<std::byte> bytes(count * kSector);
  if (found) {
    ASSERT_GE(extent.length, kSector);
    ASSERT_LE(extent.length, bytes.size());
    const auto part = std::span{bytes}.first(extent.length);
    if (extent.kind == Extent::Kind::data) {
      ASSERT_TRUE(file.read_exact(extent.at, part, "test"));
    }
  }
  slot.end_transfer(side);
  if (!found) {
    handed_over_.fetch_add(1, std::memory_order_relaxed);
    wanted_[reader].store(first.number + 1);
    return;
  }
  found_.fetch_add(1, std::memory_order_relaxed);
  for (std::uint64_t i = 0; i < extent.length / kSector; ++i) {
    const Sector sector{first.number + i};
    const std::uint32_t begun = versions_[sector.number].begun.load();
    ASSERT_EQ(judge(sector, done[i], begun, std::span{bytes}.subspan(i * kSector, kSector)), "")
        << static_cast<int>(extent.kind);
  }
}

void VhdThreads::overwrite(Readers::Slot& slot, Look& look, File& file, unsigned reader,
                           std::uint64_t random) {
  const Sector sector{random % kSectors};
  const bool contested = sector.role() == Role::contested;
  const bool mine = sector.is_readers() && sector.in_block() % 4 == reader;
  if (!contested && !mine) return;
  Versions& versions = versions_[sector.number];
  const std::uint32_t version = contested ? 1 : (versions.done.load() + 1) | 1;
  if (mine) versions.begun.store(version);
  const unsigned side = slot.begin();
  Extent extent;
  const bool found = look.up.find_writable(sector.at(), kSector, extent);
  slot.end_look_up();
  if (found) {
    ASSERT_EQ(extent.kind, Extent::Kind::data);
    ASSERT_EQ(extent.length, kSector);
    ASSERT_TRUE(file.write_all(extent.at, stamp(sector, version)));
    look.layer.overwritten();
  }
  slot.end_transfer(side);
  if (!found) {
    wanted_[reader].store(sector.number + 1);
    return;
  }
  overwritten_.fetch_add(1, std::memory_order_relaxed);
  if (mine) versions.done.store(version);
}

void VhdThreads::reader(Disk& disk, unsigned number) {
  Readers::Slot* const slot = readers_.join();
  ASSERT_NE(slot, nullptr);
  const auto file = host_file(true);
  Look look{disk.leaf(), KeepingReader{disk.leaf()}};
  std::mt19937_64 random{number + 1};
  while (!stop_.load(std::memory_order_relaxed) && !HasFatalFailure()) {
    read(*slot, look, *file, number, random());
    overwrite(*slot, look, *file, number, random());
  }
  kept_.fetch_add(look.up.kept_answers());
  readers_.leave(*slot);
}

/// Writes or clears some sectors of one block.
void VhdThreads::change(Disk& disk, std::uint64_t random) {
  const Sector first{random % kSectors};
  if (first.is_readers()) return;
  std::uint64_t count = 1 + (random >> 32) % (kSectorsPerBlock - first.in_block());
  if (first.role() == Role::split || first.role() == Role::split_2)
    count = std::min(count, 4 - first.in_block() % 4);
  const bool zero = (random >> 40) % 4 == 0;
  std::vector<std::byte> bytes;
  for (std::uint64_t i = 0; i < count; ++i) {
    Versions& versions = versions_[first.number + i];
    const std::uint32_t done = versions.done.load();
    const std::uint32_t version = zero ? (done + 2) & ~1u : (done + 1) | 1u;
    versions.begun.store(version);
    const auto one = stamp({first.number + i}, version);
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  const Status status = zero ? disk.clear(first.at().value, bytes.size(), ClearKind::zero)
                             : disk.write(first.at().value, bytes);
  ASSERT_TRUE(status) << status.error().what;
  for (std::uint64_t i = 0; i < count; ++i) {
    Versions& versions = versions_[first.number + i];
    versions.done.store(versions.begun.load());
  }
}

void VhdThreads::free_block(Disk& disk, std::uint64_t random) {
  const std::uint64_t begin = random % kSectors / kSectorsPerBlock * kSectorsPerBlock;
  const Role role = Sector{begin}.role();
  if (role == Role::split || role == Role::split_2) return;
  for (std::uint64_t n = begin; n < begin + kSectorsPerBlock; ++n)
    versions_[n].begun.store((versions_[n].done.load() + 2) & ~1u);
  ASSERT_TRUE(disk.clear(Sector{begin}.at().value, kBlockBytes, ClearKind::trim));
  for (std::uint64_t n = begin; n < begin + kSectorsPerBlock; ++n)
    versions_[n].done.store(versions_[n].begun.load());
}

/// What readers could not find is brought into memory, and read there.
void VhdThreads::serve(Disk& disk) {
  for (std::atomic<std::uint64_t>& wanted : wanted_) {
    const std::uint64_t number = wanted.exchange(0);
    if (number == 0) continue;
    const Sector sector{number - 1};
    const std::uint32_t done = versions_[sector.number].done.load();
    std::array<std::byte, kSector> bytes{};
    ASSERT_TRUE(disk.read(sector.at().value, bytes));
    ASSERT_EQ(judge(sector, done, versions_[sector.number].begun.load(), bytes), "");
  }
}

void VhdThreads::expect_model(Disk& disk) {
  for (std::uint64_t number = 0; number < kSectors; ++number) {
    std::array<std::byte, kSector> bytes{};
    ASSERT_TRUE(disk.read(Sector{number}.at().value, bytes));
    const std::uint32_t done = versions_[number].done.load();
    ASSERT_EQ(judge({number}, done, done, bytes), "");
  }
}

INSTANTIATE_TEST_SUITE_P(, VhdThreads,
                         testing::Values(Shape{"Dynamic", 3},
                                         Shape{"DynamicWithClearBits", 3, true},
                                         Shape{"Differencing", 4}),
                         [](const auto& one) { return one.param.name; });

TEST_P(VhdThreads, EveryLookUpFindsWhatWasThereThen) {
  constexpr unsigned kChanges = 6000;
  make_image();
  ASSERT_FALSE(HasFatalFailure());
  {
    Disk disk = open_image(true);
    disk.leaf().share(readers_);
    // Readers overwrite what is mapped: at first everything of theirs is.
    for (std::uint64_t number = 0; number < kSectors; ++number) {
      if (!Sector{number}.is_readers()) continue;
      ASSERT_TRUE(disk.write(Sector{number}.at().value, stamp({number}, 1)));
      versions_[number].begun.store(1);
      versions_[number].done.store(1);
    }
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < kReaders; ++i)
      threads.emplace_back([this, &disk, i] { reader(disk, i); });
    std::mt19937_64 random{99};
    for (unsigned i = 0; i < kChanges && !HasFatalFailure(); ++i) {
      const std::uint64_t chance = random() % 16;
      if (chance < 12) change(disk, random());
      if (chance == 12 || chance == 13) free_block(disk, random());
      if (chance == 14) {
        ASSERT_TRUE(disk.flush());
      }
      serve(disk);
    }
    stop_ = true;
    threads.clear();
    ASSERT_FALSE(HasFatalFailure());
    expect_model(disk);
    ASSERT_TRUE(disk.close());
  }
  RecordProperty("found", std::to_string(found_.load()));
  RecordProperty("handed_over", std::to_string(handed_over_.load()));
  RecordProperty("overwritten", std::to_string(overwritten_.load()));
  EXPECT_GT(found_.load(), 0u);
  EXPECT_GT(handed_over_.load(), 0u);
  EXPECT_GT(overwritten_.load(), 0u);
  EXPECT_GT(kept_.load(), 0u);
  Disk again = open_image(false);
  expect_model(again);
  std::vector<Finding> findings;
  ASSERT_TRUE(vhd::check(*host_file(false), false, findings, 100, nullptr));
  for (const Finding& f : findings) EXPECT_EQ(f.severity, Severity::note) << f.id << f.text;
}

}  // namespace
}  // namespace openvhd::test
