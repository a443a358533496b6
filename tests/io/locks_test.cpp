#include "io/locks.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "io/posix_file.hpp"
#include "support/program.hpp"
#include "support/temp_dir.hpp"

namespace openvhd {
namespace {

using test::Child;
using test::run_program;

class LocksTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ofstream{path_};
    ASSERT_EQ(::truncate(path_.c_str(), 1 << 20), 0);
  }

  Result<std::unique_ptr<PosixFile>> open(Lock lock) const {
    return PosixFile::open(path_, {.writable = lock == Lock::writer, .lock = lock});
  }
  Holder holder() const { return *(*open(Lock::none))->holder(); }

  /// Another process that holds `lock` until it is killed or told to end.
  Child other_process(Lock lock) const {
    return Child::fork([this, lock] {
      const auto file = open(lock);
      const char answer = file ? 'y' : 'n';
      char end{};
      if (::write(1, &answer, 1) != 1) return 3;
      return ::read(0, &end, 1) == 0 && file ? 0 : 3;
    });
  }

  test::TempDir dir_;
  std::string path_ = dir_ / "image";
};

TEST_F(LocksTest, AWriterIsAlone) {
  const auto writer = open(Lock::writer);
  ASSERT_TRUE(writer);
  EXPECT_EQ(open(Lock::writer).error().code, Errc::busy);
  EXPECT_EQ(open(Lock::reader).error().code, Errc::busy);
  EXPECT_EQ(holder(), Holder::writer);
}

TEST_F(LocksTest, ReadersShareAndKeepWritersOut) {
  {
    const auto a = open(Lock::reader);
    const auto b = open(Lock::reader);
    ASSERT_TRUE(a && b);
    EXPECT_EQ(holder(), Holder::readers);
    EXPECT_EQ(open(Lock::writer).error().code, Errc::busy);
  }
  EXPECT_EQ(holder(), Holder::nobody);
  EXPECT_TRUE(open(Lock::writer));
}

TEST_F(LocksTest, ClosingAnotherDescriptorDropsNothing) {
  const auto writer = open(Lock::writer);
  {
    const auto look = open(Lock::none);
  }
  EXPECT_EQ(holder(), Holder::writer);
}

TEST_F(LocksTest, ARefusedReaderLeavesNothingBehind) {
  auto writer = open(Lock::writer);
  const auto other = open(Lock::none);
  EXPECT_EQ(take_lock((*other)->descriptor(), Lock::reader).error().code, Errc::busy);
  writer = Error{};
  EXPECT_TRUE(open(Lock::writer));
}

TEST_F(LocksTest, ADescriptorForReadingTakesNoWriterLock) {
  EXPECT_FALSE(PosixFile::open(path_, {.writable = false, .lock = Lock::writer}));
}

TEST_F(LocksTest, AnotherProcessIsRefusedAndDeathReleases) {
  for (const Lock lock : {Lock::writer, Lock::reader}) {
    Child other = other_process(lock);
    ASSERT_TRUE(other.wait_for("y"));
    EXPECT_EQ(open(Lock::writer).error().code, Errc::busy);
    EXPECT_EQ(holder(), lock == Lock::writer ? Holder::writer : Holder::readers);
    other.kill();
    EXPECT_EQ(holder(), Holder::nobody);
    EXPECT_TRUE(open(Lock::writer));
  }
}

TEST_F(LocksTest, OneOfTwoProcessesGetsIt) {
  const auto writer = open(Lock::writer);
  Child other = other_process(Lock::writer);
  EXPECT_TRUE(other.wait_for("n"));
}

class QemuLocksTest : public LocksTest {
 protected:
  void SetUp() override {
    LocksTest::SetUp();
    if (!test::have_program("qemu-io")) GTEST_SKIP() << "qemu-io is not installed";
  }

  bool qemu_opens(bool read_only) const {
    std::vector<std::string> arguments{"qemu-io", "-f", "raw", "-c", "read 0 512", path_};
    if (read_only) arguments.insert(arguments.begin() + 1, "-r");
    const auto ran = run_program(arguments);
    if (ran.exit_code != 0) {
      EXPECT_NE(ran.output.find("lock"), std::string::npos) << ran.output;
    }
    return ran.exit_code == 0;
  }

  /// A qemu-io that has the image open.
  Child qemu(bool read_only) const {
    std::vector<std::string> arguments{"qemu-io", "-f", "raw", path_};
    if (read_only) arguments.insert(arguments.begin() + 1, "-r");
    Child child = Child::start(arguments);
    child.send("length\n");
    EXPECT_TRUE(child.wait_for("1 MiB"));
    return child;
  }
};

TEST_F(QemuLocksTest, QemuIsRefusedWhileWeWrite) {
  const auto writer = open(Lock::writer);
  EXPECT_FALSE(qemu_opens(false));
  EXPECT_FALSE(qemu_opens(true));
}

TEST_F(QemuLocksTest, QemuMayReadButNotWriteWhileWeRead) {
  const auto reader = open(Lock::reader);
  EXPECT_FALSE(qemu_opens(false));
  EXPECT_TRUE(qemu_opens(true));
}

TEST_F(QemuLocksTest, WeAreRefusedWhileQemuWrites) {
  Child child = qemu(false);
  EXPECT_EQ(open(Lock::writer).error().code, Errc::busy);
  EXPECT_EQ(open(Lock::reader).error().code, Errc::busy);
  EXPECT_EQ(holder(), Holder::writer);
  child.kill();
  EXPECT_TRUE(open(Lock::writer));
}

TEST_F(QemuLocksTest, WeReadButDoNotWriteWhileQemuReads) {
  Child child = qemu(true);
  EXPECT_EQ(open(Lock::writer).error().code, Errc::busy);
  EXPECT_TRUE(open(Lock::reader));
  EXPECT_EQ(holder(), Holder::readers);
  EXPECT_EQ(child.finish(), 0);
}

TEST_F(QemuLocksTest, QemuImgIsRefusedWhileWeWrite) {
  if (!test::have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  const auto copy = [this] {
    return run_program({"qemu-img", "convert", "-f", "raw", "-O", "raw", path_, dir_ / "copy"});
  };
  {
    const auto writer = open(Lock::writer);
    EXPECT_NE(copy().exit_code, 0);
  }
  EXPECT_EQ(copy().exit_code, 0);
}

}  // namespace
}  // namespace openvhd
