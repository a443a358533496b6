#include "exit_code.hpp"

#include <gtest/gtest.h>

#include <set>

namespace vhdtool {
namespace {

using openvhd::Errc;

TEST(ExitCodes, RefusedImagesAreTwo) {
  for (const auto code : {Errc::corrupt, Errc::unsupported, Errc::mismatch, Errc::denied})
    EXPECT_EQ(static_cast<int>(exit_code(code)), 2) << openvhd::to_string(code);
}

TEST(ExitCodes, EveryErrorHasOneAndNoneIsSuccess) {
  for (int i = 0; i <= static_cast<int>(Errc::cancelled); ++i) {
    const auto code = exit_code(static_cast<Errc>(i));
    EXPECT_NE(code, ExitCode::ok) << i;
    EXPECT_NE(code, ExitCode::different) << i;
    bool listed = false;
    for (const auto& row : kExitCodes) listed = listed || row.code == code;
    EXPECT_TRUE(listed) << i;
  }
}

TEST(ExitCodes, TheTableListsEachOnceInOrder) {
  int last = -1;
  for (const auto& row : kExitCodes) {
    EXPECT_GT(static_cast<int>(row.code), last);
    last = static_cast<int>(row.code);
    EXPECT_STRNE(row.text, "");
  }
  EXPECT_EQ(worse(ExitCode::different, ExitCode::refused), ExitCode::refused);
  EXPECT_EQ(worse(ExitCode::cancelled, ExitCode::ok), ExitCode::cancelled);
}

}  // namespace
}  // namespace vhdtool
