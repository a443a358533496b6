// Several processes that want one image, killed and stopped at any moment: what was flushed is
// there for whoever comes next, and nobody writes beside somebody else (RELIABILITY T09).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <openvhd/check.hpp>
#include <openvhd/create.hpp>
#include <openvhd/disk.hpp>
#include <random>

#include "support/temp_dir.hpp"

namespace openvhd {
namespace {

constexpr std::size_t kSlots = 96;
constexpr std::size_t kSector = 512;
/// Far enough apart for several blocks, close enough that some share one.
constexpr std::uint64_t kApart = 577 * kSector;

/// Shared by all processes; outlives each.
struct Board {
  std::atomic<pid_t> holder;
  std::atomic<std::uint64_t> begun[kSlots];    // the last generation that was on its way
  std::atomic<std::uint64_t> durable[kSlots];  // the last that a flush covered
  std::atomic<std::uint64_t> sessions, writes, flushes;
  std::atomic<bool> wrong;
  char what[200];
};

void tell(Board& board, const char* what, std::uint64_t a = 0, std::uint64_t b = 0) {
  if (board.wrong.exchange(true)) return;
  std::snprintf(board.what, sizeof board.what, "%s (%llu, %llu)", what,
                static_cast<unsigned long long>(a), static_cast<unsigned long long>(b));
}

/// A process that ended holds nothing, also while nobody has waited for it.
bool has_ended(pid_t pid) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/stat", static_cast<int>(pid));
  std::FILE* const file = std::fopen(path, "r");
  if (file == nullptr) return true;
  char text[256] = {};
  const std::size_t got = std::fread(text, 1, sizeof text - 1, file);
  std::fclose(file);
  const char* const end = std::strrchr(text, ')');
  return got == 0 || end == nullptr || end[2] == 'Z' || end[2] == 'X';
}

void take_hold(Board& board) {
  const pid_t before = board.holder.exchange(::getpid());
  if (before == 0 || before == ::getpid()) return;
  // Locks go a moment before a killed process counts as ended.
  for (int tries = 0; tries < 500; ++tries) {
    if (has_ended(before)) return;
    ::usleep(1000);
  }
  tell(board, "two writers", static_cast<std::uint64_t>(before));
}

void fill(std::span<std::byte> sector, std::uint64_t slot, std::uint64_t generation) {
  for (std::size_t at = 0; at < sector.size(); at += 16) {
    const std::uint64_t pair[2] = {slot * 1000003 + 1, generation};
    std::memcpy(sector.data() + at, pair, sizeof pair);
  }
}

void verify(Board& board, Disk& disk) {
  std::array<std::byte, kSector> sector;
  std::array<std::byte, kSector> expected;
  for (std::uint64_t slot = 0; slot < kSlots; ++slot) {
    if (!disk.read({slot * kApart}, sector)) return tell(board, "a read fails", slot);
    std::uint64_t generation = 0;
    std::memcpy(&generation, sector.data() + 8, sizeof generation);
    if (generation != 0)
      fill(expected, slot, generation);
    else
      expected.fill(std::byte{0});
    if (sector != expected) return tell(board, "a sector is mixed, or another's", slot);
    if (generation < board.durable[slot]) return tell(board, "a flushed write is lost", slot);
    if (generation > board.begun[slot]) return tell(board, "a write from nowhere", slot);
  }
}

/// One open: looks at everything, writes for a while, ends in one of three ways.
void session(Board& board, Disk disk, std::mt19937_64& random) {
  take_hold(board);
  ++board.sessions;
  verify(board, disk);
  std::array<std::uint64_t, kSlots> written{};
  const std::uint64_t count = 1 + random() % 40;
  for (std::uint64_t i = 0; i < count && !board.wrong; ++i) {
    const std::uint64_t slot = random() % kSlots;
    const std::uint64_t generation = ++board.begun[slot];
    std::array<std::byte, kSector> sector;
    fill(sector, slot, generation);
    if (!disk.write({slot * kApart}, sector)) return tell(board, "a write fails", slot);
    written[slot] = generation;
    ++board.writes;
    if (random() % 6 != 0) continue;
    if (!disk.flush()) return tell(board, "a flush fails");
    ++board.flushes;
    for (std::size_t s = 0; s < kSlots; ++s)
      if (written[s] != 0) board.durable[s] = written[s];
  }
  // The lock goes with the close, and the next holder may come before it returns.
  pid_t me = ::getpid();
  board.holder.compare_exchange_strong(me, 0);
  if (random() % 3 != 0 && disk.close())
    for (std::size_t s = 0; s < kSlots; ++s)
      if (written[s] > board.durable[s]) board.durable[s] = written[s];
}

[[noreturn]] void work(Board& board, const std::string& path, std::uint64_t seed) {
  std::mt19937_64 random{seed};
  while (!board.wrong) {
    auto disk = Disk::open(path, {.access = Access::read_write, .driver = DriverKind::blocking});
    if (disk)
      session(board, *std::move(disk), random);
    else if (disk.error().code != Errc::busy)
      tell(board, "an open fails", static_cast<std::uint64_t>(disk.error().code));
    ::usleep(static_cast<useconds_t>(random() % 500));
  }
  ::_exit(0);
}

class ProcessKills : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    void* const memory =
        ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    board_ = new (memory) Board{};
    path_ = dir_ / GetParam();
    ASSERT_TRUE(create(
        path_, {.virtual_size = std::uint64_t{32} << 20, .block_size = std::uint64_t{1} << 20}));
  }
  void TearDown() override {
    for (const pid_t pid : workers_) end(pid);
    ::munmap(board_, sizeof(Board));
  }
  pid_t spawn() {
    const std::uint64_t seed = ++seed_;
    const pid_t pid = ::fork();
    if (pid == 0) work(*board_, path_, seed);
    return pid;
  }
  static void end(pid_t pid) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }

  test::TempDir dir_;
  std::string path_;
  Board* board_ = nullptr;
  std::vector<pid_t> workers_;
  std::uint64_t seed_ = 0;
};

std::uint64_t kills_wanted() {
  const char* const text = std::getenv("OPENVHD_KILLS");
  return text == nullptr ? 100 : std::strtoull(text, nullptr, 10);
}

TEST_P(ProcessKills, WhatWasFlushedIsThereAndWritersAreAlone) {
  std::mt19937_64 random{11};
  for (int i = 0; i < 5; ++i) workers_.push_back(spawn());
  std::uint64_t kills = 0;
  std::uint64_t of_holders = 0;
  while (kills < kills_wanted() && !board_->wrong) {
    ::usleep(static_cast<useconds_t>(2000 + random() % 15000));
    std::size_t victim = random() % workers_.size();
    // Mostly whoever holds the image: that is what leaves something behind.
    const bool the_holder = random() % 4 != 0;
    for (int tries = 0; the_holder && board_->holder == 0 && tries < 200; ++tries) ::usleep(100);
    const pid_t holder = board_->holder;
    for (std::size_t i = 0; i < workers_.size() && the_holder; ++i)
      if (workers_[i] == holder) victim = i;
    if (random() % 5 == 0) {  // it comes back late, and must not have been replaced meanwhile
      ::kill(workers_[victim], SIGSTOP);
      ::usleep(static_cast<useconds_t>(random() % 30000));
      ::kill(workers_[victim], SIGCONT);
      continue;
    }
    of_holders += workers_[victim] == holder ? 1u : 0u;
    end(workers_[victim]);
    ++kills;
    workers_[victim] = spawn();
    // Two to eight of them.
    if (workers_.size() < 8 && random() % 10 == 0) workers_.push_back(spawn());
    if (workers_.size() > 2 && random() % 10 == 0) {
      end(workers_.back());
      workers_.pop_back();
      ++kills;
    }
  }
  for (const pid_t pid : workers_) end(pid);
  workers_.clear();
  EXPECT_FALSE(board_->wrong) << board_->what;
  auto disk = Disk::open(path_, {.access = Access::read_write});
  ASSERT_TRUE(disk) << describe(disk.error(), path_);
  verify(*board_, *disk);
  EXPECT_FALSE(board_->wrong) << board_->what;
  ASSERT_TRUE(disk->close());
  const auto report = check(path_, {});
  ASSERT_TRUE(report);
  EXPECT_NE(report->worst(), Severity::error);
  EXPECT_GT(of_holders, kills / 4);
  EXPECT_GT(board_->sessions, kills / 2);
  std::printf(
      "%s: %llu kills, %llu of them of the holder, %llu sessions, %llu writes, %llu flushes\n",
      GetParam(), static_cast<unsigned long long>(kills),
      static_cast<unsigned long long>(of_holders),
      static_cast<unsigned long long>(board_->sessions),
      static_cast<unsigned long long>(board_->writes),
      static_cast<unsigned long long>(board_->flushes));
}

INSTANTIATE_TEST_SUITE_P(, ProcessKills, testing::Values("image.vhdx", "image.vhd"),
                         [](const auto& test) {
                           return std::string{test.param}.ends_with("x") ? "vhdx" : "vhd";
                         });

}  // namespace
}  // namespace openvhd
