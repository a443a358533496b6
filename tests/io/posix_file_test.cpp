#include "io/posix_file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/checked.hpp"
#include "support/bytes.hpp"
#include "support/memory_file.hpp"
#include "support/program.hpp"
#include "support/temp_dir.hpp"

namespace openvhd {
namespace {

using test::filled;
using test::patch;
using test::pattern;
using test::read_all;
using test::read_at;

std::unique_ptr<PosixFile> open_new(const std::string& path, PosixFile::Options options = {}) {
  options.writable = true;
  std::ofstream{path};
  auto file = PosixFile::open(path, options);
  EXPECT_TRUE(file);
  return *std::move(file);
}

class PosixFileTest : public ::testing::Test {
 protected:
  test::TempDir dir_;
};

TEST_F(PosixFileTest, BytesSurviveReopening) {
  const auto data = pattern(300'000, 1);
  {
    auto file = open_new(dir_ / "a");
    patch(*file, 12345, data);
    EXPECT_TRUE(file->sync());
    EXPECT_EQ(*file->size(), 12345 + data.size());
    EXPECT_TRUE(file->writable());
  }
  auto file = PosixFile::open(dir_ / "a", {});
  ASSERT_TRUE(file);
  EXPECT_EQ(read_at(**file, 12345, data.size()), data);
  EXPECT_FALSE((*file)->writable());
  EXPECT_EQ((*file)->write_all({0}, data).error().sys_errno, EBADF);
  EXPECT_EQ((*file)->set_size(0).error().sys_errno, EBADF);
}

TEST_F(PosixFileTest, TwoOpensHaveOneIdentity) {
  auto a = open_new(dir_ / "a");
  auto b = open_new(dir_ / "b");
  std::filesystem::create_hard_link(dir_ / "a", dir_ / "c");
  auto c = PosixFile::open(dir_ / "c", {});
  EXPECT_EQ(a->identity(), (*c)->identity());
  EXPECT_NE(a->identity(), b->identity());
}

TEST_F(PosixFileTest, KindsThatAreNoImagesAreRefused) {
  ASSERT_EQ(::mkfifo((dir_ / "fifo").c_str(), 0600), 0);
  for (const std::string& path : {dir_ / "fifo", dir_ / ".", std::string{"/dev/null"}}) {
    for (const bool writable : {false, true}) {
      const auto file = PosixFile::open(path, {.writable = writable});
      ASSERT_FALSE(file) << path;
      EXPECT_EQ(file.error().code, Errc::denied) << path;
    }
  }
  EXPECT_EQ(PosixFile::open(dir_ / "nothing", {}).error().code, Errc::not_found);
  EXPECT_EQ(PosixFile::open(std::string("a\0b", 3), {}).error().code, Errc::invalid);
}

TEST_F(PosixFileTest, SymbolicLinksOfTheOperatorAreFollowed) {
  open_new(dir_ / "a");
  std::filesystem::create_symlink("a", dir_ / "link");
  EXPECT_TRUE(PosixFile::open(dir_ / "link", {}));
}

TEST_F(PosixFileTest, DescriptorsBlockAgain) {
  // io_uring answers EAGAIN on descriptors that are set not to block.
  auto file = open_new(dir_ / "a", {.direct = true});
  std::array<std::byte, 16> odd{};
  const iovec piece{odd.data(), odd.size()};
  const IoCommand read{.kind = IoCommand::Kind::read, .length = 16, .buffers = {&piece, 1}};
  EXPECT_EQ(::fcntl(file->async_descriptor(read), F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(PosixFileTest, ReserveKeepsBytesAndExtends) {
  auto file = open_new(dir_ / "a");
  const auto data = pattern(100'000, 2);
  patch(*file, 0, data);
  ASSERT_TRUE(file->reserve({50'000}, 1'000'000));
  EXPECT_EQ(*file->size(), 1'050'000u);
  EXPECT_GE(file->allocated_bytes(), 1'050'000u);
  EXPECT_EQ(read_at(*file, 0, data.size()), data);
  EXPECT_EQ(read_at(*file, data.size(), 950'000), filled(950'000, 0));
  ASSERT_TRUE(file->reserve({0}, 10));
  EXPECT_EQ(*file->size(), 1'050'000u);
}

TEST_F(PosixFileTest, ReserveBeyondAllSpaceChangesNothing) {
  auto file = open_new(dir_ / "a");
  patch(*file, 0, filled(5000, 1));
  const std::uint64_t before = file->allocated_bytes();
  const auto space = std::filesystem::space(dir_.path());
  EXPECT_EQ(file->reserve({0}, space.capacity * 2 + kGiB).error().code, Errc::no_space);
  EXPECT_EQ(*file->size(), 5000u);
  EXPECT_EQ(file->allocated_bytes(), before);
}

/// A file system of 1 MiB, seen by this process alone; false where that is not permitted.
bool mount_small_file_system(const std::string& at) {
  return ::unshare(CLONE_NEWNS) == 0 &&
         ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("tmpfs", at.c_str(), "tmpfs", 0, "size=1m") == 0;
}

TEST_F(PosixFileTest, RunningOutOfSpaceOnTheWayChangesNothing) {
  enum { kGood, kNotPermitted, kReserved, kChanged };
  auto child = test::Child::fork([this] {
    if (!mount_small_file_system(dir_.path().string())) return kNotPermitted;
    auto file = open_new(dir_ / "a");
    patch(*file, 0, filled(100'000, 7));
    if (!file->set_size(4 * kMiB)) return kChanged;
    // The holes inside are more than there is, what lies past the end is not.
    const auto status = file->reserve({0}, 4 * kMiB + 4096);
    if (status || status.error().code != Errc::no_space) return kReserved;
    if (file->reserve({4 * kMiB}, 2 * kMiB)) return kReserved;
    auto expected = filled(4 * kMiB, 0);
    std::fill_n(expected.begin(), 100'000, std::byte{7});
    return *file->size() == 4 * kMiB && read_all(*file) == expected ? kGood : kChanged;
  });
  const int outcome = child.finish();
  if (outcome == kNotPermitted) GTEST_SKIP() << "mounting is not permitted";
  EXPECT_EQ(outcome, kGood);
}

TEST_F(PosixFileTest, ZeroAndPunchKeepTheSize) {
  auto file = open_new(dir_ / "a");
  patch(*file, 0, filled(1'000'000, 0xee));
  const std::uint64_t full = file->allocated_bytes();
  ASSERT_TRUE(file->zero({10'001}, 100'001));
  EXPECT_EQ(file->allocated_bytes(), full);
  ASSERT_TRUE(file->punch({500'003}, 900'000));
  EXPECT_EQ(*file->size(), 1'000'000u);
  EXPECT_LT(file->allocated_bytes(), full);
  auto expected = filled(1'000'000, 0xee);
  std::fill_n(expected.begin() + 10'001, 100'001, std::byte{0});
  std::fill(expected.begin() + 500'003, expected.end(), std::byte{0});
  EXPECT_TRUE(read_all(*file) == expected);
  EXPECT_TRUE(file->zero({0}, 0));
  EXPECT_TRUE(file->punch({0}, 0));
}

TEST_F(PosixFileTest, DurableWritesMoveAllBytes) {
  auto file = open_new(dir_ / "a");
  auto first = pattern(4096, 3);
  auto second = pattern(512, 4);
  const iovec pieces[] = {{first.data(), first.size()}, {second.data(), second.size()}};
  EXPECT_EQ(file->execute({.kind = IoCommand::Kind::write,
                           .durable = true,
                           .at = {7},
                           .length = 4608,
                           .buffers = pieces}),
            4608);
  EXPECT_EQ(read_at(*file, 7, 4096), first);
  EXPECT_EQ(read_at(*file, 4103, 512), second);
}

TEST_F(PosixFileTest, NextDataSkipsHoles) {
  auto file = open_new(dir_ / "a");
  ASSERT_TRUE(file->set_size(4 * kMiB));
  patch(*file, kMiB, filled(65536, 1));
  ASSERT_TRUE(file->sync());
  const auto run = file->next_data({0}, {8 * kMiB});
  ASSERT_TRUE(run);
  // A host that cannot tell answers everything.
  EXPECT_LE(run->at.value, kMiB);
  EXPECT_GE(run->at.value + run->length, kMiB + 65536);
  if (run->at.value == kMiB) {
    EXPECT_EQ(file->next_data({2 * kMiB}, {4 * kMiB})->length, 0u);
  }
  EXPECT_EQ(file->next_data({4 * kMiB}, {8 * kMiB})->length, 0u);
  EXPECT_EQ(file->next_data({~std::uint64_t{0} - 5}, {~std::uint64_t{0}})->length, 0u);
}

TEST_F(PosixFileTest, ARunOfDataIsLookedUpOnceInAFileThatIsOnlyRead) {
  auto writer = open_new(dir_ / "a");
  patch(*writer, 0, filled(8 * kMiB, 1));
  ASSERT_TRUE(writer->sync());
  auto opened = PosixFile::open(dir_ / "a", {});
  ASSERT_TRUE(opened);
  PosixFile* const reader = opened->get();
  ASSERT_EQ(reader->next_data({0}, {kMiB})->length, kMiB);
  ASSERT_EQ(writer->next_data({0}, {kMiB})->length, kMiB);
  ASSERT_TRUE(writer->punch({4 * kMiB}, 2 * kMiB));
  if (writer->next_data({4 * kMiB}, {8 * kMiB})->at.value != 6 * kMiB) {
    GTEST_SKIP() << "no holes here";
  }
  // Asked of the host again, this would be the hole.
  const auto run = reader->next_data({4 * kMiB}, {5 * kMiB});
  EXPECT_EQ(run->at.value, 4 * kMiB);
  EXPECT_EQ(run->length, kMiB);
}

TEST_F(PosixFileTest, OffsetsBeyondOffTAreRefused) {
  auto file = open_new(dir_ / "a");
  const std::uint64_t far = std::uint64_t{1} << 63;
  EXPECT_EQ(file->write_all({far}, filled(1, 1)).error().sys_errno, EFBIG);
  EXPECT_EQ(file->reserve({far - 2}, 5).error().sys_errno, EFBIG);
  EXPECT_EQ(file->zero({5}, ~std::uint64_t{0}).error().sys_errno, EFBIG);
  EXPECT_EQ(file->set_size(far).error().sys_errno, EFBIG);
}

TEST_F(PosixFileTest, CloneSharesOrChangesNothing) {
  auto from = open_new(dir_ / "from");
  auto to = open_new(dir_ / "to");
  const auto data = pattern(2 * kMiB, 5);
  patch(*from, 0, data);
  patch(*to, 0, filled(3 * kMiB, 9));
  auto expected = read_all(*to);
  const auto status = to->clone_from(*from, {kMiB}, {0}, kMiB);
  if (status) {
    std::copy_n(data.begin() + kMiB, kMiB, expected.begin());
  } else {
    EXPECT_EQ(status.error().code, Errc::unsupported);
    std::printf("the file system shares no extents\n");
  }
  EXPECT_TRUE(read_all(*to) == expected);
  test::MemoryFile memory;
  EXPECT_EQ(to->clone_from(memory, {0}, {0}, kMiB).error().code, Errc::unsupported);
  EXPECT_TRUE(to->clone_from(*from, {0}, {0}, 0));
  EXPECT_TRUE(read_all(*to) == expected);
}

class DirectFileTest : public PosixFileTest {
 protected:
  void SetUp() override {
    file_ = open_new(dir_ / "a", {.direct = true});
    if (file_->direct_alignment() == 1) GTEST_SKIP() << "no direct I/O on " << dir_.path();
  }
  std::unique_ptr<PosixFile> file_;
  alignas(4096) std::array<std::byte, 16384> buffer_{};
};

TEST_F(DirectFileTest, OnlyAlignedTransfersGoDirect) {
  EXPECT_EQ(file_->direct_alignment(), 4096u);
  const auto flags = [this](std::uint64_t at, std::size_t skip, std::size_t length) {
    const iovec piece{buffer_.data() + skip, length};
    const int fd = file_->async_descriptor(
        {.kind = IoCommand::Kind::write, .at = {at}, .length = length, .buffers = {&piece, 1}});
    return ::fcntl(fd, F_GETFL);
  };
  EXPECT_NE(flags(8192, 0, 4096) & O_DIRECT, 0);
  EXPECT_EQ(flags(512, 0, 4096) & O_DIRECT, 0);
  EXPECT_EQ(flags(0, 512, 4096) & O_DIRECT, 0);
  EXPECT_EQ(flags(0, 0, 4608) & O_DIRECT, 0);
  EXPECT_EQ(flags(0, 0, 4096) & O_NONBLOCK, 0);
}

TEST_F(DirectFileTest, BothViewsAgree) {
  const auto transfer = [this](IoCommand::Kind kind, std::uint64_t at, std::size_t length) {
    const iovec piece{buffer_.data(), length};
    return file_->execute({.kind = kind, .at = {at}, .length = length, .buffers = {&piece, 1}});
  };
  std::vector<std::byte> model(64 * 1024);
  for (unsigned step = 0; step < 200; ++step) {
    const bool whole_pages = step % 2 == 0;
    const std::size_t at = whole_pages ? step % 12 * 4096 : step * 211 % 40'000;
    const std::size_t length = whole_pages ? 8192 : step * 37 % 9000 + 1;
    const auto data = pattern(length, step);
    std::copy(data.begin(), data.end(), buffer_.begin());
    std::copy(data.begin(), data.end(), model.begin() + static_cast<std::ptrdiff_t>(at));
    ASSERT_EQ(transfer(IoCommand::Kind::write, at, length), static_cast<int>(length));
  }
  ASSERT_TRUE(file_->set_size(model.size()));
  for (std::size_t at = 0; at < model.size(); at += 16384) {
    ASSERT_EQ(transfer(IoCommand::Kind::read, at, 16384), 16384);
    ASSERT_TRUE(std::equal(buffer_.begin(), buffer_.end(),
                           model.begin() + static_cast<std::ptrdiff_t>(at)));
  }
  EXPECT_TRUE(read_all(*file_) == model);
}

TEST_F(DirectFileTest, ReadsAcrossTheEndAreShort) {
  patch(*file_, 0, filled(5000, 1));
  const iovec piece{buffer_.data(), 8192};
  EXPECT_EQ(file_->execute({.kind = IoCommand::Kind::read, .length = 8192, .buffers = {&piece, 1}}),
            5000);
}

}  // namespace
}  // namespace openvhd
