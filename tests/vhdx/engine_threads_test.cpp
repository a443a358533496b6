// One owner changes an image while other threads read it, and overwrite it, by what they find
// themselves. Every word of a sector says whose it is and which change wrote it.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "base/checked.hpp"
#include "io/readers.hpp"
#include "support/keeping_reader.hpp"
#include "vhdx/engine_fixture.hpp"

namespace openvhd::test {
namespace {

/// A file whose bytes may be moved by many threads: words are atomics, so that only what the
/// engine does beside them can be a data race. It never shrinks below its capacity in memory.
class WordFile final : public File {
 public:
  static constexpr std::uint64_t kCapacity = 768 * kMiB;

  explicit WordFile(const MemoryStore& contents) : words_{map_zeros()}, size_{contents.size} {
    contents.read(0, std::as_writable_bytes(std::span{words_.get(), contents.size / 8}));
  }

  std::atomic_ref<std::uint64_t> word(FileOffset at) {
    if (at.value >= kCapacity) std::abort();
    return std::atomic_ref{words_.get()[at.value / 8]};
  }
  /// Of the last sync that began: a reading of clock.
  std::uint64_t synced_at() const { return synced_at_; }
  std::atomic<std::uint64_t> clock{1};

  std::int32_t execute(const IoCommand& command) noexcept override {
    switch (command.kind) {
      case IoCommand::Kind::read:
      case IoCommand::Kind::write:
        return transfer(command);
      case IoCommand::Kind::sync:
        synced_at_ = clock.fetch_add(1);
        return 0;
      case IoCommand::Kind::reserve:
        if (command.at.value + command.length > kCapacity) return -ENOSPC;
        size_ = std::max(size_, command.at.value + command.length);
        return 0;
      case IoCommand::Kind::zero:
      case IoCommand::Kind::punch:
        for (std::uint64_t at = 0; at < command.length; at += 8) {
          word(command.at + at).store(0, std::memory_order_relaxed);
        }
        return 0;
      case IoCommand::Kind::set_size:
        size_ = command.at.value;
        return 0;
    }
    return -EINVAL;
  }
  Result<std::uint64_t> size() noexcept override { return size_; }
  std::uint64_t allocated_bytes() noexcept override { return 0; }
  Result<FileRange> next_data(FileOffset, FileOffset end) noexcept override {
    return FileRange{end, 0};
  }
  FileIdentity identity() const noexcept override { return {}; }
  const std::string& name() const noexcept override { return name_; }
  bool writable() const noexcept override { return true; }

 private:
  std::int32_t transfer(const IoCommand& command) {
    FileOffset at = command.at;
    for (const iovec& piece : command.buffers) {
      auto* bytes = static_cast<std::byte*>(piece.iov_base);
      for (std::size_t done = 0; done < piece.iov_len;) {
        const std::size_t skip = at.value % 8;
        const std::size_t part = std::min(8 - skip, piece.iov_len - done);
        std::uint64_t value = word(at).load(std::memory_order_relaxed);
        std::byte* const there = reinterpret_cast<std::byte*>(&value) + skip;
        if (command.kind == IoCommand::Kind::read) {
          std::memcpy(bytes + done, there, part);
        } else {
          std::memcpy(there, bytes + done, part);
          word(at).store(value, std::memory_order_relaxed);
        }
        done += part;
        at = at + part;
      }
    }
    return static_cast<std::int32_t>(at - command.at);
  }

  /// Takes memory only where it is touched.
  static std::uint64_t* map_zeros() {
    void* const at = ::mmap(nullptr, kCapacity, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) std::abort();
    return static_cast<std::uint64_t*>(at);
  }
  struct Unmap {
    void operator()(std::uint64_t* at) const noexcept { ::munmap(at, kCapacity); }
  };

  std::unique_ptr<std::uint64_t, Unmap> words_;
  std::uint64_t size_;  // the owner's
  std::uint64_t synced_at_ = 0;
  std::string name_ = "words";
};

// Blocks so far apart that each has a page of the table, and of bitmaps, of its own.
constexpr std::uint64_t kBlocks = 28;
constexpr std::uint64_t kBlockBytes = kMiB;
constexpr std::uint64_t kSectorBytes = 512;
constexpr std::uint64_t kSectors = 64;  // of each block that are looked at, spread over it
constexpr std::uint64_t kStride = kBlockBytes / kSectors;
constexpr std::uint64_t kPageOfBlocks = 8192 * kMiB;

// Blocks that other threads overwrite: the first ones for good, the last ones while the owner
// clears and replaces them, so that nobody knows what they hold, but whose it is.
constexpr std::uint64_t kStable = 4;
constexpr std::uint64_t kContested = kBlocks - 4;

std::uint64_t place_of(std::uint64_t block, std::uint64_t sector) {
  return block * kPageOfBlocks + sector * kStride;
}

/// Changes of a sector have numbers; those that zero it are multiples of kZeroing. 0: never.
constexpr std::uint32_t kZeroing = 4;
struct Sector {
  std::atomic<std::uint32_t> begun{0};
  std::atomic<std::uint32_t> done{0};
};

std::uint64_t stamp(std::uint64_t block, std::uint64_t sector, std::uint32_t change) {
  return (block * kSectors + sector + 1) << 32 | change;
}

class Race {
 public:
  Race(bool has_parent, std::uint64_t seed)
      : shape_{.virtual_size = kBlocks * kPageOfBlocks,
               .has_parent = has_parent,
               .table_cache_bytes = 0},
        image_{nullptr, shape_, true,
               [&](std::unique_ptr<File>) {
                 auto file = std::make_unique<WordFile>(*make_image(shape_));
                 file_ = file.get();
                 return file;
               }},
        random_{seed} {
    image_.layer().share(readers_);
    for (std::uint64_t block = 0; block < kStable; ++block) fill(block);
    EXPECT_EQ(failure_of(image_.flush()), "");
  }

  void run(int steps, int threads) {
    std::vector<std::jthread> others;
    others.reserve(static_cast<std::size_t>(threads));
    for (int i = 0; i < threads; ++i) {
      others.emplace_back([this, i] { look(static_cast<std::uint64_t>(i)); });
    }
    for (int i = 0; i < steps; ++i) {
      step();
      if (failed_.load()) break;
    }
    stop_ = true;
    others.clear();
    EXPECT_EQ(failure_of(image_.close()), "");
    EXPECT_FALSE(failed_.load());
    testing::Test::RecordProperty("found", static_cast<int>(found_.load()));
    testing::Test::RecordProperty("overwritten", static_cast<int>(overwritten_.load()));
    EXPECT_GT(found_.load(), 100u) << "nothing was raced";
    EXPECT_GT(overwritten_.load(), 10u);
    EXPECT_GT(kept_.load(), 100u);
  }

 private:
  Sector& sector(std::uint64_t block, std::uint64_t number) {
    return sectors_[block * kSectors + number];
  }

  // The owner's.

  void step() {
    const std::uint64_t block = kStable + random_() % (kBlocks - kStable);
    switch (random_() % 16) {
      case 0:
        return clear(block, 0, kBlockBytes);
      case 1:
        return clear(block, random_() % kSectors * kStride, kStride);
      case 2:
        return fill(block);
      case 3:
      case 4:
        return flush();
      case 5:
        // A neighbour: brings the table page back, and takes another one out.
        EXPECT_TRUE(image_.locate(place_of(block, 0) + kBlockBytes, 512));
        return;
      case 6:
        return write_late(block, random_() % kSectors);
      case 7:
        return clear(block, 0, kBlockBytes);
      case 8:
      case 9:
        return replace(block);
      case 10:
      case 11:
        EXPECT_TRUE(image_.locate(place_of(block, 0), 512));
        return;
      default:
        return write(block, random_() % kSectors);
    }
  }

  std::uint32_t begin(std::uint64_t block, std::uint64_t number, bool zeroing) {
    Sector& which = sector(block, number);
    std::uint32_t change = which.begun.load() + 1;
    while ((change % kZeroing == 0) != zeroing) ++change;
    which.begun.store(change);
    return change;
  }
  void end(std::uint64_t block, std::uint64_t number) {
    Sector& which = sector(block, number);
    which.done.store(which.begun.load());
  }

  void write(std::uint64_t block, std::uint64_t number) {
    const std::uint32_t change = begin(block, number, false);
    const std::vector<std::uint64_t> bytes(kSectorBytes / 8, stamp(block, number, change));
    EXPECT_EQ(failure_of(image_.write(place_of(block, number), std::as_bytes(std::span{bytes}))),
              "");
    end(block, number);
  }

  /// The pages that are to note a write leave memory while it is on its way.
  void write_late(std::uint64_t block, std::uint64_t number) {
    const VirtualOffset at{place_of(block, number)};
    const std::uint32_t change = begin(block, number, false);
    OperationTicket ticket;
    image_.layer().enter(ticket);
    const auto placed = image_.place(at.value, kSectorBytes);
    ASSERT_TRUE(placed);
    for (std::uint64_t other = 0; other < kBlocks; ++other) {
      if (other == block) continue;
      EXPECT_TRUE(image_.locate(place_of(other, 0) + kBlockBytes, 512));
    }
    for (std::uint64_t i = 0; i < kSectorBytes; i += 8) {
      file_->word(placed->at + i).store(stamp(block, number, change), std::memory_order_relaxed);
    }
    image_.layer().wrote(at, *placed);
    image_.layer().leave(ticket);
    end(block, number);
    EXPECT_TRUE(image_.locate(at.value, kSectorBytes));
  }

  void fill(std::uint64_t block) {
    std::vector<std::uint64_t> bytes(kBlockBytes / 8);
    for (std::uint64_t i = 0; i < kSectors; ++i) {
      const auto first = bytes.begin() + static_cast<std::ptrdiff_t>(i * kStride / 8);
      std::fill_n(first, kSectorBytes / 8, stamp(block, i, begin(block, i, false)));
    }
    EXPECT_EQ(failure_of(image_.write(place_of(block, 0), std::as_bytes(std::span{bytes}))), "");
    for (std::uint64_t i = 0; i < kSectors; ++i) end(block, i);
  }

  void clear(std::uint64_t block, std::uint64_t offset, std::uint64_t length) {
    const auto kind = random_() % 2 == 0 ? ClearKind::zero : ClearKind::trim;
    const std::uint64_t first = offset / kStride;
    const std::uint64_t last = (offset + length) / kStride;
    for (std::uint64_t i = first; i < last; ++i) begin(block, i, true);
    EXPECT_EQ(failure_of(image_.clear(place_of(block, 0) + offset, length, kind)), "");
    for (std::uint64_t i = first; i < last; ++i) end(block, i);
  }

  /// What one block gives up goes to another at once, as far as it may.
  void replace(std::uint64_t block) {
    const std::uint64_t other = kStable + random_() % (kContested - kStable);
    clear(block, 0, kBlockBytes);
    clear(other, 0, kBlockBytes);
    flush();
    fill(other);
  }

  /// What was overwritten before a flush began is on the host before one of its syncs.
  void flush() {
    const std::uint64_t last = last_overwrite_.load();
    EXPECT_EQ(failure_of(image_.flush()), "");
    EXPECT_GT(file_->synced_at(), last);
  }

  // Everybody else's.

  void look(std::uint64_t seed) {
    Readers::Slot* const slot = readers_.join();
    KeepingReader layer{image_.layer()};
    std::mt19937_64 random{seed * 7919 + 1};
    while (!stop_.load(std::memory_order_relaxed)) {
      const std::uint64_t block = random() % kBlocks;
      const std::uint64_t number = random() % kSectors;
      const unsigned side = slot->begin();
      if (block < kStable || block >= kContested) {
        overwrite(*slot, layer, random, block, number);
      } else {
        read(*slot, layer, random, block, number);
      }
      slot->end_transfer(side);
    }
    kept_.fetch_add(layer.kept_answers());
    readers_.leave(*slot);
  }

  /// A transfer takes time, in which much may happen.
  static void linger(std::mt19937_64& random) {
    if (random() % 64 != 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 20));
  }

  void read(Readers::Slot& slot, KeepingReader& layer, std::mt19937_64& random, std::uint64_t block,
            std::uint64_t number) {
    const Sector& which = sector(block, number);
    const std::uint32_t least = which.done.load();
    Extent extent;
    const bool found = layer.find({place_of(block, number)}, kSectorBytes, extent);
    slot.end_look_up();
    if (!found) return;
    found_.fetch_add(1, std::memory_order_relaxed);
    linger(random);
    std::array<std::uint64_t, kSectorBytes / 8> words{};
    if (extent.kind == Extent::Kind::data) {
      for (std::size_t i = 0; i < words.size(); ++i) {
        words[i] = file_->word(extent.at + i * 8).load(std::memory_order_relaxed);
      }
    }
    const std::uint32_t most = which.begun.load();
    const bool parents = extent.kind == Extent::Kind::absent && shape_.has_parent;
    for (const std::uint64_t word : words) {
      const auto change = static_cast<std::uint32_t>(word);
      bool good = false;
      if (parents) {
        good = least == 0;
      } else if (word == 0) {
        // Without a parent, sectors that were never written are zeros too.
        good = most / kZeroing * kZeroing >= least && (most >= kZeroing || !shape_.has_parent);
      } else {
        good = word == stamp(block, number, change) && change >= least && change <= most;
      }
      if (good) continue;
      if (failed_.exchange(true)) return;
      ADD_FAILURE() << "block " << block << " sector " << number << ": " << std::hex << word
                    << std::dec << " as " << static_cast<int>(extent.kind) << ", changes " << least
                    << " to " << most;
      return;
    }
  }

  void overwrite(Readers::Slot& slot, KeepingReader& layer, std::mt19937_64& random,
                 std::uint64_t block, std::uint64_t number) {
    const auto change = static_cast<std::uint32_t>(random() % 1000);
    Extent extent;
    const bool found = layer.find_writable({place_of(block, number)}, kSectorBytes, extent);
    slot.end_look_up();
    if (!found) return;
    linger(random);
    for (std::uint64_t i = 0; i < kSectorBytes; i += 8) {
      const auto word = file_->word(extent.at + i);
      const std::uint64_t before = word.load(std::memory_order_relaxed);
      const bool ours = before == 0 || before >> 32 == stamp(block, number, 0) >> 32;
      if (!ours && !failed_.exchange(true)) {
        ADD_FAILURE() << "overwriting " << std::hex << before << " of another sector";
      }
      word.store(stamp(block, number, change), std::memory_order_relaxed);
    }
    const std::uint64_t now = file_->clock.fetch_add(1);
    image_.layer().overwritten();
    overwritten_.fetch_add(1, std::memory_order_relaxed);
    std::uint64_t last = last_overwrite_.load();
    while (last < now && !last_overwrite_.compare_exchange_weak(last, now)) {
    }
  }

  EngineShape shape_;
  WordFile* file_ = nullptr;
  OpenEngine image_;
  Readers readers_;
  std::mt19937_64 random_;
  std::array<Sector, kBlocks * kSectors> sectors_{};
  std::atomic<std::uint64_t> last_overwrite_{0};  // clock
  std::atomic<std::uint64_t> found_{0};
  std::atomic<std::uint64_t> overwritten_{0};
  std::atomic<std::uint64_t> kept_{0};
  std::atomic<bool> stop_{false};
  std::atomic<bool> failed_{false};
};

class VhdxEngineThreads : public testing::TestWithParam<bool> {};

TEST_P(VhdxEngineThreads, FindNothingButOldOrNewWhileTheOwnerChangesEverything) {
  Race race{GetParam(), 1};
  race.run(1500, 3);
}

INSTANTIATE_TEST_SUITE_P(Kinds, VhdxEngineThreads, testing::Bool(),
                         [](const auto& kind) { return kind.param ? "Differencing" : "Dynamic"; });

}  // namespace
}  // namespace openvhd::test
