#include <gtest/gtest.h>

#include <cstring>

#include "io/parent_open.hpp"

namespace openvhd {
namespace {

using namespace std::string_literals;

struct NameCase {
  const char* label;
  std::string proposed;
  const char* rule;  // a part of the reason
};

const std::vector<NameCase>& refused_names() {
  static const std::vector<NameCase> cases{
      {"Empty", "", "no file name"},
      {"OnlyDotBackslash", ".\\", "no file name"},
      {"Dot", ".", "directory"},
      {"DotDot", "..", "directory"},
      {"DotBackslashDot", ".\\.", "directory"},
      {"DotBackslashDotDot", ".\\..", "directory"},
      {"UpOne", "..\\parent.vhdx", "another directory"},
      {"UpTwo", "..\\..\\parent.vhdx", "another directory"},
      {"UpAfterDot", ".\\..\\parent.vhdx", "another directory"},
      {"UpInTheMiddle", "a\\..\\parent.vhdx", "another directory"},
      {"UpAtTheEnd", "a\\..", "another directory"},
      {"UpWithSlashes", "../parent.vhdx", "another directory"},
      {"UpToSecrets", "../../../../etc/shadow", "another directory"},
      {"UpMixed", "..\\../parent.vhdx", "another directory"},
      {"Subdirectory", "base\\parent.vhdx", "another directory"},
      {"SubdirectorySlash", "base/parent.vhdx", "another directory"},
      {"SubdirectoryAfterDot", ".\\base\\parent.vhdx", "another directory"},
      {"DotSlash", "./parent.vhdx", "another directory"},
      {"DotBackslashTwice", ".\\.\\parent.vhdx", "another directory"},
      {"DotBackslashBackslash", ".\\\\parent.vhdx", "another directory"},
      {"TrailingBackslash", "parent.vhdx\\", "another directory"},
      {"TrailingSlash", "parent.vhdx/", "another directory"},
      {"Absolute", "/etc/passwd", "another directory"},
      {"AbsoluteBackslash", "\\etc\\passwd", "another directory"},
      {"Proc", "/proc/self/root/etc/passwd", "another directory"},
      {"ProcDescriptor", "/proc/self/fd/3", "another directory"},
      {"Device", "/dev/sda", "another directory"},
      {"Unc", "\\\\server\\share\\parent.vhdx", "another directory"},
      {"UncSlashes", "//server/share/parent.vhdx", "another directory"},
      {"UncLong", "\\\\?\\UNC\\server\\share\\parent.vhdx", "another directory"},
      {"Win32Device", "\\\\.\\PhysicalDrive0", "another directory"},
      {"Win32LongPath", "\\\\?\\C:\\parent.vhdx", "another directory"},
      {"Volume", "\\\\?\\Volume{26a21bda-a627-11d7-9931-806e6f6e6963}\\p.vhdx",
       "another directory"},
      {"NtPath", "\\??\\C:\\parent.vhdx", "another directory"},
      {"Drive", "C:\\parent.vhdx", "another directory"},
      {"DriveRelative", "C:parent.vhdx", "colon"},
      {"DriveAlone", "C:", "colon"},
      {"AlternateStream", "parent.vhdx:secret", "colon"},
      {"StreamType", "parent.vhdx::$DATA", "colon"},
      {"Json", "json:{\"driver\":\"raw\"}", "colon"},
      {"FileUrl", "file:parent.vhdx", "colon"},
      {"NbdUrl", "nbd:localhost:10809", "colon"},
      {"HttpUrl", "http://host/parent.vhdx", "another directory"},
      {"NulInside", "parent.vhdx\0.txt"s, "control"},
      {"NulAtTheEnd", "parent.vhdx\0"s, "control"},
      {"NulAlone", "\0"s, "control"},
      {"NewLine", "parent\n.vhdx", "control"},
      {"CarriageReturn", "parent.vhdx\r", "control"},
      {"Tab", "parent\t.vhdx", "control"},
      {"Escape", "\x1b[2Jparent.vhdx", "control"},
      {"Delete", "parent\x7f.vhdx", "control"},
      {"C1", "parent\xc2\x9b.vhdx", "control"},
      {"TrailingDot", "parent.vhdx.", "dot or a space"},
      {"TrailingDots", "parent.vhdx...", "dot or a space"},
      {"ThreeDots", "...", "dot or a space"},
      {"TrailingSpace", "parent.vhdx ", "dot or a space"},
      {"OnlySpace", " ", "dot or a space"},
      {"DotSpace", "parent. ", "dot or a space"},
      {"DotDotSpace", ".. ", "dot or a space"},
      {"TooLong", std::string(256, 'a'), "255"},
      {"TooLongInBytes", std::string(128, 'a') + std::string(64, '\xc3') + std::string(64, '\xa4'),
       "255"},
      {"SixtyFourKiB", std::string(65536, 'a'), "255"},
      {"SixtyFourKiBUp",
       [] {
         std::string up;
         while (up.size() < 65536) up += "..\\";
         return up;
       }(),
       "255"},
      {"StrayContinuation", "parent\x80.vhdx", "Unicode"},
      {"Truncated", "parent.vhd\xc3", "Unicode"},
      {"OverlongSlash",
       "..\xc0\xaf"
       "etc",
       "Unicode"},
      {"OverlongDot", "\xc0\xae\xc0\xae", "Unicode"},
      {"EncodedSurrogate", "parent\xed\xa0\x80.vhdx", "Unicode"},
      {"PastUnicode", "parent\xf4\x90\x80\x80.vhdx", "Unicode"},
      {"ReplacedSurrogate", "parent\xef\xbf\xbd.vhdx", "Unicode"},
      {"Latin1", "p\xe4rent.vhdx", "Unicode"},
  };
  return cases;
}

class RefusedName : public ::testing::TestWithParam<NameCase> {};

TEST_P(RefusedName, IsRefusedByItsRule) {
  const auto name = plain_parent_name(GetParam().proposed);
  ASSERT_FALSE(name);
  EXPECT_EQ(name.error().code, Errc::denied);
  EXPECT_NE(std::strstr(name.error().what, GetParam().rule), nullptr) << name.error().what;
}

INSTANTIATE_TEST_SUITE_P(, RefusedName, ::testing::ValuesIn(refused_names()),
                         [](const auto& one) { return one.param.label; });

TEST(ParentName, PlainNamesAreTaken) {
  const auto plain = [](std::string_view text) { return *plain_parent_name(text); };
  EXPECT_EQ(plain("parent.vhdx"), "parent.vhdx");
  EXPECT_EQ(plain(".\\parent.vhdx"), "parent.vhdx");
  EXPECT_EQ(plain("base disk (1).vhd"), "base disk (1).vhd");
  EXPECT_EQ(plain(".hidden"), ".hidden");
  EXPECT_EQ(plain("..vhdx"), "..vhdx");
  EXPECT_EQ(plain("\xe3\x83\x87\xe3\x82\xa3.vhdx"), "\xe3\x83\x87\xe3\x82\xa3.vhdx");
  EXPECT_EQ(plain("$(reboot);`id`.vhdx"), "$(reboot);`id`.vhdx");
  EXPECT_EQ(plain(std::string(255, 'a')).size(), 255u);
}

TEST(ParentName, QuotedTextIsSafeToShow) {
  EXPECT_EQ(quote_for_display("parent.vhdx"), "\"parent.vhdx\"");
  EXPECT_EQ(quote_for_display("a\n\x1b[2J\"\\"), "\"a\\x0a\\x1b[2J\\x22\\x5c\"");
  EXPECT_EQ(quote_for_display("\xc3\xa4\xff"), "\"\xc3\xa4\\xff\"");
  EXPECT_EQ(quote_for_display("\xc2\x9b"), "\"\\xc2\\x9b\"");
  EXPECT_LT(quote_for_display(std::string(65536, '\x01')).size(), 1000u);
}

}  // namespace
}  // namespace openvhd
