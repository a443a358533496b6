#include "io/driver.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "base/checked.hpp"
#include "io/posix_file.hpp"
#include "io/uring_driver.hpp"
#include "support/bytes.hpp"
#include "support/deny.hpp"
#include "support/memory_file.hpp"
#include "support/program.hpp"
#include "support/script_op.hpp"
#include "support/temp_dir.hpp"

namespace openvhd {
namespace {

using test::filled;
using test::pattern;
using test::read_command;
using test::ScriptOp;
using test::write_command;
using Kind = IoCommand::Kind;

std::unique_ptr<PosixFile> new_file(const std::string& path, bool direct = false) {
  std::ofstream{path};
  auto file = PosixFile::open(path, {.writable = true, .direct = direct});
  EXPECT_TRUE(file);
  return *std::move(file);
}

class DriverTest : public ::testing::TestWithParam<DriverKind> {
 protected:
  void SetUp() override {
    if (GetParam() == DriverKind::blocking) return;
    const auto support = UringDriver::probe();
    if (!support.available) GTEST_SKIP() << support.reason;
  }

  std::unique_ptr<Driver> make(std::uint32_t depth) {
    auto driver = make_driver(GetParam(), depth);
    EXPECT_TRUE(driver);
    return *std::move(driver);
  }

  test::TempDir dir_;
};

INSTANTIATE_TEST_SUITE_P(, DriverTest,
                         ::testing::Values(DriverKind::blocking, DriverKind::io_uring),
                         [](const auto& one) {
                           return one.param == DriverKind::blocking ? "Blocking" : "Uring";
                         });

/// Page-sized buffers, aligned as direct transfers want them.
struct alignas(4096) Page {
  std::array<std::byte, 4096> bytes;
};

/// Writes pages in random order through a driver, `depth` operations at once, then reads them.
void write_and_read_pages(Driver& driver, File& file, std::uint32_t depth) {
  constexpr std::size_t kPages = 300;
  std::vector<Page> pages(kPages);
  std::vector<iovec> pieces;
  for (std::size_t i = 0; i < kPages; ++i) {
    const auto bytes = pattern(4096, i);
    std::copy(bytes.begin(), bytes.end(), pages[i].bytes.begin());
    pieces.push_back({pages[i].bytes.data(), 4096});
  }
  File* const files[] = {&file};
  for (const Kind kind : {Kind::write, Kind::read}) {
    std::vector<std::size_t> order(kPages);
    for (std::size_t i = 0; i < kPages; ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), std::mt19937{1});
    std::deque<ScriptOp> operations;
    std::set<Operation*> expected;
    const auto take = [&](Operation* done) {
      ASSERT_EQ(expected.erase(done), 1u);
      ASSERT_TRUE(*done->finished());
      EXPECT_EQ(static_cast<ScriptOp*>(done)->results()[0], 4096);
    };
    for (const std::size_t i : order) {
      auto command = kind == Kind::write ? write_command(i * 4096, pieces[i])
                                         : read_command(i * 4096, pieces[i]);
      command.durable = kind == Kind::write && i % 50 == 0;
      auto& operation = operations.emplace_back(std::vector{command});
      if (driver.under_way() == depth) take(driver.wait());
      ASSERT_TRUE(driver.start(operation, files));
      expected.insert(&operation);
    }
    while (Operation* done = driver.wait()) take(done);
    EXPECT_TRUE(expected.empty());
    if (kind == Kind::write)
      for (Page& page : pages) page.bytes.fill(std::byte{0});
  }
  for (std::size_t i = 0; i < kPages; ++i) {
    const auto bytes = pattern(4096, i);
    ASSERT_TRUE(std::equal(bytes.begin(), bytes.end(), pages[i].bytes.begin())) << i;
  }
}

TEST_P(DriverTest, ManyOperationsMoveTheirOwnBytes) {
  for (const bool direct : {false, true}) {
    const auto file = new_file(dir_ / "a", direct);
    const auto driver = make(16);
    write_and_read_pages(*driver, *file, 16);
  }
}

TEST_P(DriverTest, FilesWithoutADescriptorWorkToo) {
  test::MemoryFile file;
  const auto driver = make(4);
  write_and_read_pages(*driver, file, 4);
}

TEST_P(DriverTest, EveryKindOfCommandDoesWhatExecuteDoes) {
  const auto file = new_file(dir_ / "a");
  test::MemoryFile model;
  auto data = pattern(100'000, 1);
  const iovec pieces[] = {{data.data(), 60'000}, {data.data() + 60'000, 40'000}};
  const std::vector<IoCommand> commands{
      {.kind = Kind::write, .at = {5}, .length = 100'000, .buffers = pieces},
      {.kind = Kind::reserve, .at = {0}, .length = 200'000},
      {.kind = Kind::zero, .at = {50'000}, .length = 70'000},
      {.kind = Kind::punch, .at = {10'000}, .length = 20'000},
      {.kind = Kind::zero, .at = {0}, .length = 0},
      {.kind = Kind::punch, .at = {0}, .length = 0},
      {.kind = Kind::set_size, .at = {150'000}},
      {.kind = Kind::sync},
  };
  for (File* const one : {static_cast<File*>(file.get()), static_cast<File*>(&model)}) {
    ScriptOp operation{commands};
    File* const files[] = {one};
    const auto driver = make(1);
    ASSERT_TRUE(run(*driver, operation, files));
  }
  EXPECT_TRUE(test::read_all(*file) == test::read_all(model));
}

TEST_P(DriverTest, KindsThatAFileSystemLacksAreDoneByHand) {
  // tmpfs has no way to zero a range.
  std::error_code none;
  if (!std::filesystem::is_directory("/dev/shm", none)) GTEST_SKIP() << "no /dev/shm";
  const std::string path = "/dev/shm/openvhd-driver-test-" + std::to_string(::getpid());
  const auto file = new_file(path);
  std::filesystem::remove(path);
  test::patch(*file, 0, filled(100'000, 1));
  ScriptOp operation{{{.kind = Kind::zero, .at = {10}, .length = 300'000}, {.kind = Kind::sync}}};
  File* const files[] = {file.get()};
  ASSERT_TRUE(run(*make(1), operation, files));
  auto expected = filled(100'000, 0);
  std::fill_n(expected.begin(), 10, std::byte{1});
  EXPECT_EQ(test::read_all(*file), expected);
}

TEST_P(DriverTest, FailuresReachTheOperation) {
  new_file(dir_ / "a");
  const auto file = *PosixFile::open(dir_ / "a", {});
  auto data = filled(512, 1);
  const iovec piece{data.data(), data.size()};
  ScriptOp operation{{write_command(0, piece)}};
  File* const files[] = {file.get()};
  const auto status = run(*make(1), operation, files);
  EXPECT_EQ(status.error().sys_errno, EBADF);
  ScriptOp read{{read_command(0, piece)}};
  EXPECT_TRUE(run(*make(1), read, files));
  EXPECT_EQ(read.results()[0], 0);
}

TEST_P(DriverTest, OperationsThatWaitForEachOtherAreAskedAgain) {
  const auto file = new_file(dir_ / "a");
  auto data = filled(512, 1);
  const iovec piece{data.data(), data.size()};
  File* const files[] = {file.get()};
  ScriptOp second{{write_command(512, piece)}};
  ScriptOp first{{write_command(0, piece), {.kind = Kind::sync}}};
  second.gate = [&first] { return first.completed() == 2; };
  const auto driver = make(2);
  ASSERT_TRUE(driver->start(second, files));
  ASSERT_TRUE(driver->start(first, files));
  EXPECT_EQ(driver->wait(), &first);
  EXPECT_EQ(driver->wait(), &second);
  EXPECT_EQ(driver->wait(), nullptr);
}

TEST_P(DriverTest, OperationsAreAskedInTheOrderInWhichTheyStarted) {
  test::MemoryFile file;
  File* const files[] = {&file};
  const auto driver = make(4);
  std::string asked;
  bool open = false;
  std::deque<ScriptOp> operations;
  const auto start = [&](char label, bool at_once) {
    auto& operation = operations.emplace_back(std::vector{IoCommand{.kind = Kind::sync}});
    operation.gate = [&asked, &open, label, at_once] {
      asked += label;
      return open || at_once;
    };
    EXPECT_TRUE(driver->start(operation, files));
  };
  start('a', false);
  start('b', true);
  start('c', false);
  EXPECT_EQ(driver->wait(), &operations[1]);
  start('d', false);  // in the place that b had
  asked.clear();
  open = true;
  for (const std::size_t expected : {0u, 2u, 3u}) EXPECT_EQ(driver->wait(), &operations[expected]);
  EXPECT_EQ(asked, "acd");
}

TEST_P(DriverTest, TheDepthIsABound) {
  test::MemoryFile file;
  File* const files[] = {&file};
  ScriptOp a{{{.kind = Kind::sync}}};
  ScriptOp b{{{.kind = Kind::sync}}};
  const auto driver = make(1);
  ASSERT_TRUE(driver->start(a, files));
  EXPECT_EQ(driver->start(b, files).error().code, Errc::busy);
  EXPECT_EQ(driver->wait(), &a);
  EXPECT_TRUE(driver->start(b, files));
  EXPECT_EQ(driver->wait(), &b);
  EXPECT_FALSE(make_driver(GetParam(), 0));
  EXPECT_FALSE(make_driver(GetParam(), kMaxDriverDepth + 1));
}

TEST_P(DriverTest, MoreCommandsThanTheRingHolds) {
  const auto file = new_file(dir_ / "a");
  auto data = pattern(1000 * 16, 3);
  std::vector<iovec> pieces;
  std::vector<IoCommand> commands;
  for (std::size_t i = 0; i < 1000; ++i) pieces.push_back({data.data() + i * 16, 16});
  for (std::size_t i = 0; i < 1000; ++i) commands.push_back(write_command(i * 16, pieces[i]));
  ScriptOp operation{commands, 1000};
  File* const files[] = {file.get()};
  ASSERT_TRUE(run(*make(1), operation, files));
  EXPECT_TRUE(test::read_all(*file) == data);
}

TEST_P(DriverTest, TheThreadMayChangeBetweenOperations) {
  const auto file = new_file(dir_ / "a");
  const auto driver = make(4);
  write_and_read_pages(*driver, *file, 4);
  std::thread{[&] { write_and_read_pages(*driver, *file, 4); }}.join();
  write_and_read_pages(*driver, *file, 4);
}

TEST_P(DriverTest, TheDescriptorTellsWhenToReap) {
  const auto file = new_file(dir_ / "a", true);
  const auto driver = make(8);
  std::vector<Page> pages(8);
  std::vector<iovec> pieces;
  std::deque<ScriptOp> operations;
  File* const files[] = {file.get()};
  for (Page& page : pages) pieces.push_back({page.bytes.data(), 4096});
  for (unsigned round = 0; round < 20; ++round) {
    operations.clear();
    for (std::size_t i = 0; i < 8; ++i)
      ASSERT_TRUE(
          driver->start(operations.emplace_back(std::vector{write_command(i * 4096, pieces[i]),
                                                            IoCommand{.kind = Kind::sync}}),
                        files));
    std::size_t done = 0;
    while (done < 8) {
      while (driver->reap() != nullptr) ++done;
      if (done == 8) break;
      pollfd ready{.fd = driver->descriptor(), .events = POLLIN, .revents = 0};
      ASSERT_GE(ready.fd, 0);
      ASSERT_EQ(::poll(&ready, 1, 10'000), 1) << "round " << round << ", " << done << " done";
    }
  }
}

class UringDriverTest : public DriverTest {};
INSTANTIATE_TEST_SUITE_P(, UringDriverTest, ::testing::Values(DriverKind::io_uring),
                         [](const auto&) { return "Uring"; });

TEST_P(UringDriverTest, ManyStartsAreOneSubmission) {
  const auto file = new_file(dir_ / "a");
  auto driver = *UringDriver::create(64);
  std::vector<Page> pages(64);
  std::vector<iovec> pieces;
  std::deque<ScriptOp> operations;
  File* const files[] = {file.get()};
  for (Page& page : pages) pieces.push_back({page.bytes.data(), 4096});
  for (std::size_t i = 0; i < 64; ++i)
    ASSERT_TRUE(driver->start(
        operations.emplace_back(std::vector{write_command(i * 4096, pieces[i])}), files));
  EXPECT_EQ(driver->counts().submissions, 0u);
  unsigned done = 0;
  while (driver->wait() != nullptr) ++done;
  EXPECT_EQ(done, 64u);
  EXPECT_EQ(driver->counts().submissions, 1u);
  EXPECT_EQ(driver->counts().requests, 64u);
  EXPECT_EQ(driver->counts().executed, 0u);
}

TEST_P(UringDriverTest, TeardownWaitsForWhatIsInFlight) {
  const auto file = new_file(dir_ / "a", true);
  std::vector<Page> pages(64);
  std::vector<iovec> pieces;
  std::vector<IoCommand> commands;
  for (Page& page : pages) pieces.push_back({page.bytes.data(), 4096});
  for (std::size_t i = 0; i < 64; ++i) commands.push_back(write_command(i * 4096, pieces[i]));
  ScriptOp operation{commands, 32};
  File* const files[] = {file.get()};
  {
    auto driver = *UringDriver::create(16);
    ASSERT_TRUE(driver->start(operation, files));
    static_cast<void>(driver->reap());
  }
  // What was in flight has come back, and nothing more was asked for.
  EXPECT_GE(operation.completed(), 32u);
  for (std::size_t i = 0; i < operation.completed(); ++i) EXPECT_EQ(operation.results()[i], 4096);
}

TEST(Driver, WithoutIoUringBlockingServesUnlessItIsNamed) {
  enum { kGood, kNotPermitted, kBad };
  for (const int error : {EPERM, ENOSYS}) {
    auto process = test::Child::fork([error]() -> int {
      if (!test::deny_system_call(SYS_io_uring_setup, error)) return kNotPermitted;
      const auto support = UringDriver::probe();
      const auto named = make_driver(DriverKind::io_uring, 4);
      const auto automatic = make_driver(DriverKind::automatic, 4);
      const bool refused = !named && named.error().code == Errc::unsupported &&
                           named.error().sys_errno == error &&
                           std::string{named.error().what} == support.reason;
      const bool serves = automatic && std::string{(*automatic)->name()} == "blocking";
      return !support.available && refused && serves ? kGood : kBad;
    });
    const int outcome = process.finish();
    if (outcome == kNotPermitted) GTEST_SKIP() << "system call filters are not permitted";
    EXPECT_EQ(outcome, kGood);
  }
}

TEST(DriverDeathTest, StuckOperationsEndTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const DriverKind kind : {DriverKind::automatic, DriverKind::blocking}) {
    test::MemoryFile file;
    File* const files[] = {&file};
    ScriptOp stuck{{{.kind = Kind::sync}}};
    stuck.gate = [] { return false; };
    auto driver = *make_driver(kind, 2);
    ASSERT_TRUE(driver->start(stuck, files));
    EXPECT_DEATH(static_cast<void>(driver->wait()), "");
    EXPECT_DEATH(static_cast<void>(driver->reap()), "");
  }
}

}  // namespace
}  // namespace openvhd
