// One image, several processes: who is let in beside whom, what a killed
// process leaves behind, and QEMU as the neighbour.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <openvhd/create.hpp>
#include <openvhd/disk.hpp>
#include <optional>
#include <string>

#include "io/posix_file.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kSize = 16 << 20;

class DiskLock : public testing::TestWithParam<Format> {
 protected:
  DiskLock() {
    std::string pattern = (std::filesystem::temp_directory_path() / "openvhd-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    path_ = folder_ / (std::string{"disk."} + to_string(GetParam()));
    const Status made = create(path_, {.format = GetParam(), .virtual_size = kSize});
    EXPECT_TRUE(made) << describe(made.error(), path_);
  }
  ~DiskLock() override { std::filesystem::remove_all(folder_); }

  Result<Disk> open(Access access) { return Disk::open(path_, {.access = access}); }

  /// Why an open is refused; empty when it is not.
  std::optional<Errc> refusal(Access access) {
    const auto disk = open(access);
    return disk ? std::nullopt : std::optional{disk.error().code};
  }

  const char* qemu_driver() const { return GetParam() == Format::vhd ? "vpc" : "vhdx"; }
  static bool have_qemu() { return std::system("qemu-io --version >/dev/null 2>&1") == 0; }
  /// The exit code of a qemu-io that opens the image, does nothing and leaves.
  int qemu_io(const std::string& options) {
    const std::string command = std::string{"qemu-io "} + options + " -f " + qemu_driver() +
                                " -c length '" + path_ + "' >/dev/null 2>&1";
    return WEXITSTATUS(std::system(command.c_str()));
  }

  std::filesystem::path folder_;
  std::string path_;
};

TEST_P(DiskLock, AWriterIsAlone) {
  auto writer = open(Access::read_write);
  ASSERT_TRUE(writer);
  EXPECT_EQ(refusal(Access::read_write), Errc::busy);
  EXPECT_EQ(refusal(Access::read_only), Errc::busy);
  EXPECT_TRUE(open(Access::inspect));
  ASSERT_TRUE(writer->close());
}

TEST_P(DiskLock, AClosedDiskHoldsNoLockAndAnswersNothing) {
  auto writer = open(Access::read_write);
  ASSERT_TRUE(writer);
  ASSERT_TRUE(writer->close());
  EXPECT_EQ(refusal(Access::read_write), std::nullopt);
  EXPECT_FALSE(writer->flush());
  EXPECT_FALSE(writer->info(false));
  EXPECT_FALSE(writer->map({}, 512));
  EXPECT_EQ(writer->geometry().virtual_size, kSize);
}

TEST_P(DiskLock, ReadersShareAndKeepWritersOut) {
  auto first = open(Access::read_only);
  auto second = open(Access::read_only);
  ASSERT_TRUE(first);
  ASSERT_TRUE(second);
  EXPECT_EQ(refusal(Access::read_write), Errc::busy);
}

// A child process writes, says so, and is killed while it holds the image.
TEST_P(DiskLock, AKilledWriterLeavesNoLock) {
  std::array<int, 2> ready{};
  ASSERT_EQ(::pipe(ready.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto disk = open(Access::read_write);
    const std::array<std::byte, 4096> bytes{std::byte{7}};
    const bool wrote = disk && disk->write({8192}, bytes) && disk->flush();
    const char answer = wrote ? 'y' : 'n';
    if (::write(ready[1], &answer, 1) == 1) ::pause();
    ::_exit(1);
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  EXPECT_EQ(refusal(Access::read_write), Errc::busy);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  auto disk = open(Access::read_write);
  ASSERT_TRUE(disk) << describe(disk.error(), path_);
  std::array<std::byte, 4096> got{};
  ASSERT_TRUE(disk->read({8192}, got));
  EXPECT_EQ(got[0], std::byte{7}) << "what was flushed is there after replay";
}

TEST_P(DiskLock, QemuIsRefusedWhileWeWrite) {
  if (!have_qemu()) GTEST_SKIP() << "qemu-io is not installed";
  {
    auto writer = open(Access::read_write);
    ASSERT_TRUE(writer);
    EXPECT_NE(qemu_io(""), 0) << "read-write";
    EXPECT_NE(qemu_io("-r"), 0) << "read-only";
  }
  EXPECT_EQ(qemu_io(""), 0) << "with the lock gone it opens";
}

TEST_P(DiskLock, QemuMayReadWhileWeRead) {
  if (!have_qemu()) GTEST_SKIP() << "qemu-io is not installed";
  auto reader = open(Access::read_only);
  ASSERT_TRUE(reader);
  EXPECT_EQ(qemu_io("-r"), 0) << "read-only";
  EXPECT_NE(qemu_io(""), 0) << "read-write";
}

TEST_P(DiskLock, WeAreRefusedWhileQemuWrites) {
  if (!have_qemu()) GTEST_SKIP() << "qemu-io is not installed";
  const std::string command =
      std::string{"qemu-io -f "} + qemu_driver() + " '" + path_ + "' >/dev/null 2>&1";
  std::FILE* qemu = ::popen(command.c_str(), "w");
  ASSERT_NE(qemu, nullptr);
  // It may take its time to start; asking takes no lock that would keep it out.
  Holder seen{};
  for (int tries = 0; tries < 600 && seen != Holder::writer; ++tries) {
    ::usleep(50'000);
    const auto file = PosixFile::open(path_, {});
    ASSERT_TRUE(file);
    const auto holder = (*file)->holder();
    ASSERT_TRUE(holder);
    seen = *holder;
  }
  ASSERT_EQ(seen, Holder::writer);
  EXPECT_EQ(refusal(Access::read_only), Errc::busy);
  EXPECT_EQ(refusal(Access::read_write), Errc::busy);
  std::fputs("quit\n", qemu);
  ::pclose(qemu);
  EXPECT_TRUE(open(Access::read_write));
}

INSTANTIATE_TEST_SUITE_P(Formats, DiskLock, testing::Values(Format::vhd, Format::vhdx),
                         [](const auto& format) { return std::string{to_string(format.param)}; });

}  // namespace
}  // namespace openvhd::test
