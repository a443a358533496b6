#include <gtest/gtest.h>

#include <cerrno>
#include <openvhd/error.hpp>
#include <type_traits>

#include "base/try.hpp"

namespace openvhd {
namespace {

static_assert(std::is_trivially_copyable_v<Error>);

Result<int> half(int v) {
  if (v % 2 != 0) return Error{.code = Errc::invalid, .what = "odd"};
  return v / 2;
}

Result<int> quarter(int v) {
  OVHD_TRY(const int h, half(v));
  return half(h);
}

TEST(Result, ErrorsTravelUp) {
  EXPECT_EQ(*quarter(12), 3);
  EXPECT_EQ(quarter(6).error().code, Errc::invalid);
  EXPECT_EQ(quarter(3).error().code, Errc::invalid);
}

TEST(Describe, IsOneLineThatNamesFileOffsetAndRule) {
  const Error error{.code = Errc::corrupt, .where = {0x10000}, .what = "header signature (2.2.2)"};
  EXPECT_EQ(describe(error, "a\nb.vhdx"), "a\\x0ab.vhdx: 0x10000: header signature (2.2.2)");
  const Error io{.code = Errc::io, .sys_errno = EIO, .where = {512}, .what = "read"};
  EXPECT_EQ(describe(io, "x"), "x: 0x200: read: Input/output error");
}

TEST(Describe, LeavesOutAnOffsetThatSaysNothing) {
  const Error gone{.code = Errc::not_found, .sys_errno = ENOENT, .what = "open"};
  EXPECT_EQ(describe(gone, "x"), "x: open: No such file or directory");
  EXPECT_EQ(describe({.code = Errc::invalid, .what = "a size is needed"}, "x"),
            "x: a size is needed");
  EXPECT_EQ(describe({.code = Errc::corrupt, .what = "footer"}, "x"), "x: 0x0: footer");
  EXPECT_EQ(describe({.code = Errc::unsupported, .what = "version"}, "x"), "x: 0x0: version");
}

}  // namespace
}  // namespace openvhd
