#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "support/program.hpp"
#include "support/temp_dir.hpp"

namespace openvhd {
namespace {

bool holds(const std::string& line, const std::string& text) {
  return line.find(text) != std::string::npos;
}

/// Runs the tests of refused parents under strace: what counts is what was asked of the kernel,
/// not what was returned.
TEST(ParentOpenTrace, WhatIsRefusedIsLookedAtBeneathTheDirectoryAndNeverOpened) {
  if (!test::have_program("strace")) GTEST_SKIP() << "strace is not installed";
  const test::TempDir dir;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  // Leaks cannot be looked for by a process that is traced.
  const auto ran = test::run_program({"env", "ASAN_OPTIONS=detect_leaks=0", "strace", "-f", "-e",
                                      "trace=openat2", "-o", dir / "trace", self,
                                      "--gtest_filter=ParentOpenTest.*Refused*-*Mount*"});
  if (holds(ran.output, "ptrace")) GTEST_SKIP() << "tracing is not permitted: " << ran.output;
  ASSERT_EQ(ran.exit_code, 0) << ran.output;
  std::ifstream trace{dir / "trace"};
  unsigned looks = 0;
  for (std::string line; std::getline(trace, line);) {
    if (!holds(line, "openat2(")) continue;
    const std::size_t quote = line.find('"') + 1;
    const std::string name = line.substr(quote, line.find('"', quote) - quote);
    EXPECT_EQ(name.find('/'), std::string::npos) << line;
    EXPECT_TRUE(holds(line, "RESOLVE_BENEATH") && holds(line, "RESOLVE_NO_SYMLINKS") &&
                holds(line, "O_NOFOLLOW"))
        << line;
    if (holds(line, "O_PATH"))
      ++looks;
    else
      EXPECT_EQ(name, "parent") << line;  // the one that is allowed once its mode is mended
  }
  EXPECT_GE(looks, 15u);
}

}  // namespace
}  // namespace openvhd
