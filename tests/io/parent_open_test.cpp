#include "io/parent_open.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "support/deny.hpp"
#include "support/program.hpp"
#include "support/temp_dir.hpp"

namespace openvhd {
namespace {

namespace fs = std::filesystem;

/// Everything is laid out like this: DIR/vm/child, DIR/trusted, DIR/secret.
class ParentOpenTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ::umask(022);
    fs::create_directory(dir_ / "vm");
    fs::create_directory(dir_ / "trusted");
    make("vm/child", "child");
    make("secret", "secret");
    child_ = *PosixFile::open(dir_ / "vm/child", {});
    chain_ = {child_->identity()};
  }

  void make(const std::string& name, const std::string& text) {
    std::ofstream{dir_ / name} << text;
  }

  Result<OpenedParent> open(const std::vector<ParentPath>& proposals) {
    const auto place = place_of(*child_);
    if (!place) return place.error();
    notes_.clear();
    return open_parent({.child = *child_,
                        .place = *place,
                        .proposals = proposals,
                        .chain = chain_,
                        .policy = policy_},
                       notes_);
  }
  Result<OpenedParent> open(const std::string& name) {
    return open({{.kind = ParentPath::Kind::relative, .key = "relative_path", .text = name}});
  }

  /// Refused with this code, for a reason that holds this text.
  void expect_refused(const std::string& name, const char* rule, Errc code = Errc::denied) {
    const auto parent = open(name);
    ASSERT_FALSE(parent) << name;
    EXPECT_EQ(parent.error().code, code) << parent.error().what;
    EXPECT_NE(std::strstr(parent.error().what, rule), nullptr) << parent.error().what;
    EXPECT_FALSE(notes_.empty());
  }

  static std::string text_of(const OpenedParent& parent) {
    std::array<std::byte, 64> bytes{};
    const std::size_t got = *parent.file->read_some({0}, bytes);
    return std::string{reinterpret_cast<const char*>(bytes.data()), got};
  }

  test::TempDir dir_;
  std::unique_ptr<PosixFile> child_;
  std::vector<FileIdentity> chain_;
  ParentPolicy policy_;
  std::vector<std::string> notes_;
};

TEST_F(ParentOpenTest, AFileBesideTheChildIsOpenedReadOnlyAndLocked) {
  make("vm/parent", "good");
  auto parent = open(".\\parent");
  ASSERT_TRUE(parent);
  EXPECT_EQ(text_of(*parent), "good");
  EXPECT_EQ(parent->file->name(), dir_ / "vm/parent");
  EXPECT_FALSE(parent->file->writable());
  EXPECT_EQ(::fcntl(parent->file->descriptor().get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(
      PosixFile::open(dir_ / "vm/parent", {.writable = true, .lock = Lock::writer}).error().code,
      Errc::busy);
  ASSERT_EQ(notes_.size(), 1u);
  EXPECT_NE(notes_[0].find("parent opened"), std::string::npos);
}

TEST_F(ParentOpenTest, TheNextParentIsLookedForBesideTheFirst) {
  make("vm/parent", "one");
  make("vm/grandparent", "two");
  auto parent = open("parent");
  ASSERT_TRUE(parent);
  fs::rename(dir_ / "vm", dir_ / "moved");  // the directory stays the same one
  const std::vector<ParentPath> proposals{
      {.kind = ParentPath::Kind::relative, .key = "W2ru", .text = ".\\grandparent"}};
  const std::vector<FileIdentity> chain{child_->identity(), parent->file->identity()};
  auto next = open_parent({.child = *parent->file,
                           .place = parent->place,
                           .proposals = proposals,
                           .chain = chain,
                           .policy = policy_},
                          notes_);
  ASSERT_TRUE(next);
  EXPECT_EQ(text_of(*next), "two");
}

TEST_F(ParentOpenTest, OnlyRelativePathsAreFollowed) {
  make("vm/parent", "good");
  for (const auto kind :
       {ParentPath::Kind::absolute, ParentPath::Kind::volume, ParentPath::Kind::other}) {
    const auto parent = open({{.kind = kind, .key = "key", .text = "parent"}});
    ASSERT_FALSE(parent);
    EXPECT_EQ(parent.error().code, Errc::denied);
    ASSERT_EQ(notes_.size(), 1u);
    EXPECT_NE(notes_[0].find("ignored: key \"parent\""), std::string::npos) << notes_[0];
  }
  EXPECT_FALSE(open(std::vector<ParentPath>{}));
}

TEST_F(ParentOpenTest, ABadProposalDoesNotHideAGoodOne) {
  make("vm/parent", "good");
  auto parent = open({{.kind = ParentPath::Kind::relative, .key = "a", .text = "..\\secret"},
                      {.kind = ParentPath::Kind::absolute, .key = "b", .text = "C:\\x"},
                      {.kind = ParentPath::Kind::relative, .key = "c", .text = "missing"},
                      {.kind = ParentPath::Kind::relative, .key = "d", .text = "parent"}});
  ASSERT_TRUE(parent);
  EXPECT_EQ(text_of(*parent), "good");
  EXPECT_EQ(notes_.size(), 4u);
}

TEST_F(ParentOpenTest, NamesThatLeaveTheDirectoryAreRefused) {
  expect_refused("..\\secret", "another directory");
  expect_refused("../secret", "another directory");
  expect_refused(dir_ / "secret", "another directory");
  expect_refused("..", "directory");
  expect_refused(std::string(65536, 'x'), "255");
  EXPECT_LT(notes_[0].size(), 1000u);
}

TEST_F(ParentOpenTest, MissingFilesAreNotFound) {
  expect_refused("parent", "open the parent", Errc::not_found);
  make("vm/parent", "good");
  expect_refused("PARENT", "open the parent", Errc::not_found);  // no other case
  expect_refused("parent;1", "open the parent", Errc::not_found);
}

TEST_F(ParentOpenTest, SymbolicLinksOfAllKindsAreRefused) {
  make("vm/parent", "good");
  fs::create_symlink("../secret", dir_ / "vm/up");
  fs::create_symlink(dir_ / "secret", dir_ / "vm/absolute");
  fs::create_symlink("parent", dir_ / "vm/beside");
  fs::create_symlink("nowhere", dir_ / "vm/dangling");
  fs::create_symlink("loop", dir_ / "vm/loop");
  fs::create_directory_symlink("..", dir_ / "vm/directory");
  fs::create_symlink("/proc/self/fd/0", dir_ / "vm/proc");
  fs::create_symlink("/dev/null", dir_ / "vm/device");
  for (const char* name :
       {"up", "absolute", "beside", "dangling", "loop", "directory", "proc", "device"})
    expect_refused(name, "symbolic link");
}

TEST_F(ParentOpenTest, OtherKindsOfFilesAreRefusedAtOnce) {
  ASSERT_EQ(::mkfifo((dir_ / "vm/fifo").c_str(), 0644), 0);
  fs::create_directory(dir_ / "vm/directory");
  const int descriptor = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  const std::string path = dir_ / "vm/socket";
  ASSERT_LT(path.size(), sizeof address.sun_path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  ASSERT_EQ(::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  for (const char* name : {"fifo", "directory", "socket"})
    expect_refused(name, "not a regular file");
  ::close(descriptor);
}

TEST_F(ParentOpenTest, DevicesAreRefused) {
  if (::mknod((dir_ / "vm/zero").c_str(), S_IFCHR | 0644, makedev(1, 5)) != 0 ||
      ::mknod((dir_ / "vm/loop0").c_str(), S_IFBLK | 0644, makedev(7, 0)) != 0)
    GTEST_SKIP() << "device nodes cannot be made here";
  expect_refused("zero", "not a regular file");
  expect_refused("loop0", "not a regular file");
}

TEST_F(ParentOpenTest, FilesOfTheChainAreRefused) {
  fs::create_hard_link(dir_ / "vm/child", dir_ / "vm/other-name");
  expect_refused("child", "already in the chain");
  expect_refused("other-name", "already in the chain");
  make("vm/leaf", "leaf");
  chain_ = {(*PosixFile::open(dir_ / "vm/leaf", {}))->identity(), child_->identity()};
  expect_refused("leaf", "already in the chain");
}

TEST_F(ParentOpenTest, FilesThatEverybodyWritesAreRefused) {
  make("vm/parent", "good");
  fs::permissions(dir_ / "vm/parent", fs::perms{0666});
  expect_refused("parent", "everybody may write");
  fs::permissions(dir_ / "vm/parent", fs::perms{0664});
  EXPECT_TRUE(open("parent"));
}

TEST_F(ParentOpenTest, TheOwnerIsTheChildsOrTrusted) {
  make("vm/parent", "good");
  constexpr uid_t kUser = 12345;
  if (::chown((dir_ / "vm/parent").c_str(), kUser, 0) != 0)
    GTEST_SKIP() << "files cannot be given away here";
  expect_refused("parent", "owner");
  policy_.trusted_owners = {kUser};
  EXPECT_TRUE(open("parent"));
  policy_.trusted_owners = {};
  ASSERT_EQ(::chown((dir_ / "vm/child").c_str(), kUser, 0), 0);
  EXPECT_TRUE(open("parent"));
  ASSERT_EQ(::chown((dir_ / "vm/parent").c_str(), 0, 0), 0);
  EXPECT_TRUE(open("parent"));  // root may own the parents of all
  ASSERT_EQ(::chown((dir_ / "vm/parent").c_str(), kUser + 1, 0), 0);
  expect_refused("parent", "owner");
}

TEST_F(ParentOpenTest, AParentThatIsWrittenIsBusy) {
  make("vm/parent", "good");
  const auto writer = PosixFile::open(dir_ / "vm/parent", {.writable = true, .lock = Lock::writer});
  expect_refused("parent", "open", Errc::busy);
}

TEST_F(ParentOpenTest, TrustedDirectoriesComeAfterTheChilds) {
  fs::create_directory(dir_ / "second");
  make("second/parent", "second");
  policy_.parent_dirs = {dir_ / "trusted", dir_ / "second"};
  EXPECT_EQ(text_of(*open("parent")), "second");
  make("trusted/parent", "trusted");
  EXPECT_EQ(text_of(*open("parent")), "trusted");
  make("vm/parent", "beside");
  EXPECT_EQ(text_of(*open("parent")), "beside");
  expect_refused("..\\secret", "another directory");
  policy_.parent_dirs = {dir_ / "missing"};
  EXPECT_EQ(open("parent").error().code, Errc::not_found);
}

TEST_F(ParentOpenTest, TheRulesHoldInTrustedDirectoriesToo) {
  policy_.parent_dirs = {dir_ / "trusted"};
  fs::create_symlink(dir_ / "secret", dir_ / "trusted/link");
  expect_refused("link", "symbolic link");
  make("trusted/open", "x");
  fs::permissions(dir_ / "trusted/open", fs::perms{0666});
  expect_refused("open", "everybody may write");
}

TEST_F(ParentOpenTest, AGivenChainIsTakenAndNothingElse) {
  make("vm/parent", "proposed");
  make("given", "given");
  fs::create_symlink("given", dir_ / "link");
  policy_.chain = {{.path = dir_ / "link"}};
  auto parent = open("parent");
  ASSERT_TRUE(parent);
  EXPECT_EQ(text_of(*parent), "given");
  EXPECT_EQ(parent->place.path, dir_.path());
  policy_.chain = {{.path = dir_ / "vm/child"}};
  EXPECT_EQ(open("parent").error().code, Errc::denied);
  policy_.chain = {{.path = dir_ / "nothing"}};
  EXPECT_EQ(open("parent").error().code, Errc::not_found);
  policy_.chain = {{.path = dir_ / "given"}};
  chain_ = {FileIdentity{.device = 1, .inode = 1}, child_->identity()};
  EXPECT_EQ(open("parent").error().code, Errc::not_found);  // the list has ended
}

TEST_F(ParentOpenTest, TheDepthIsBounded) {
  make("vm/parent", "good");
  policy_.max_depth = 2;
  EXPECT_TRUE(open("parent"));
  chain_.insert(chain_.begin(), FileIdentity{.device = 1, .inode = 1});
  EXPECT_EQ(open("parent").error().code, Errc::out_of_range);
}

TEST_F(ParentOpenTest, AChildNamedThroughALinkHasItsOwnDirectory) {
  make("vm/parent", "good");
  make("parent", "wrong");
  fs::create_symlink("vm/child", dir_ / "link");
  child_ = *PosixFile::open(dir_ / "link", {});
  EXPECT_EQ(text_of(*open("parent")), "good");
}

TEST_F(ParentOpenTest, AChildWhoseNameMovedOnHasNoDirectory) {
  make("vm/parent", "good");
  fs::rename(dir_ / "vm/child", dir_ / "vm/old");
  EXPECT_EQ(open("parent").error().code, Errc::denied);
  make("vm/child", "another");
  EXPECT_EQ(open("parent").error().code, Errc::denied);
}

TEST_F(ParentOpenTest, AnotherMountIsRefusedUnlessAllowed) {
  enum { kGood, kNotPermitted, kFollowed, kNotFollowed };
  make("vm/parent", "good");
  make("vm/mounted", "below");
  auto process = test::Child::fork([this]() -> int {
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount((dir_ / "secret").c_str(), (dir_ / "vm/mounted").c_str(), nullptr, MS_BIND,
                nullptr) != 0)
      return kNotPermitted;
    const auto refused = open("mounted");
    if (refused || refused.error().code != Errc::denied ||
        std::strstr(refused.error().what, "mount") == nullptr)
      return kFollowed;
    if (!open("parent")) return kNotFollowed;
    policy_.cross_device = true;
    return open("mounted") ? kGood : kNotFollowed;
  });
  const int outcome = process.finish();
  if (outcome == kNotPermitted) GTEST_SKIP() << "mounting is not permitted";
  EXPECT_EQ(outcome, kGood);
}

TEST_F(ParentOpenTest, WithoutOpenat2OnlyTrustedDirectoriesServe) {
  enum { kGood, kNotPermitted, kFollowed, kNotFollowed };
  make("vm/parent", "beside");
  make("trusted/base", "trusted");
  fs::create_symlink(dir_ / "secret", dir_ / "trusted/link");
  auto process = test::Child::fork([this]() -> int {
    if (!test::deny_system_call(SYS_openat2, ENOSYS)) return kNotPermitted;
    const auto refused = open("parent");
    if (refused || std::strstr(refused.error().what, "openat2") == nullptr) return kFollowed;
    policy_.parent_dirs = {dir_ / "trusted"};
    if (open("link")) return kFollowed;
    auto base = open("base");
    return base && text_of(*base) == "trusted" ? kGood : kNotFollowed;
  });
  const int outcome = process.finish();
  if (outcome == kNotPermitted) GTEST_SKIP() << "system call filters are not permitted";
  EXPECT_EQ(outcome, kGood);
}

TEST_F(ParentOpenTest, SwappingDuringTheOpenGainsNothing) {
  make("vm/parent", "good");
  const FileIdentity good = (*PosixFile::open(dir_ / "vm/parent", {}))->identity();
  fs::create_symlink(dir_ / "secret", dir_ / "vm/link");
  ASSERT_EQ(::mkfifo((dir_ / "vm/fifo").c_str(), 0644), 0);
  make("vm/bad", "bad");
  fs::permissions(dir_ / "vm/bad", fs::perms{0666});
  const std::string name = dir_ / "vm/parent";
  std::atomic<bool> stop{false};
  std::thread attacker{[&] {
    const std::array<std::string, 3> others{dir_ / "vm/link", dir_ / "vm/fifo", dir_ / "vm/bad"};
    for (std::size_t i = 0; !stop; ++i)  // each swap is undone by the next one
      ::renameat2(AT_FDCWD, name.c_str(), AT_FDCWD, others[i / 2 % 3].c_str(), RENAME_EXCHANGE);
  }};
  int opened = 0;
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    const auto parent = open("parent");
    if (parent) {
      ++opened;
      EXPECT_EQ(parent->file->identity(), good);
    } else {
      ++refused;
      EXPECT_EQ(parent.error().code, Errc::denied) << parent.error().what;
    }
  }
  stop = true;
  attacker.join();
  std::printf("%d opened, %d refused\n", opened, refused);
  EXPECT_EQ(opened + refused, 3000);
}

}  // namespace
}  // namespace openvhd
