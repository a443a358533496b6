#include "text.hpp"

#include <gtest/gtest.h>

#include "hex_dump.hpp"
#include "progress_bar.hpp"

namespace vhdtool {
namespace {

TEST(Printable, KeepsTextAndDisarmsTheRest) {
  EXPECT_EQ(printable("disk 1.vhdx"), "disk 1.vhdx");
  EXPECT_EQ(printable("Größe 日本 😀"), "Größe 日本 😀");
  EXPECT_EQ(printable("a\nb\x1b[31m"), "a\\x0ab\\x1b[31m");
  EXPECT_EQ(printable("\x7f"), "\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");                    // C1: another ESC [
  EXPECT_EQ(printable("\xe2\x80\xae"), "\\xe2\\x80\\xae");           // right-to-left override
  EXPECT_EQ(printable("\xff\xc0\x80"), "\\xff\\xc0\\x80");           // never UTF-8, overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // a surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // past U+10FFFF
  EXPECT_EQ(printable("\xe6\x97"), "\\xe6\\x97");                    // cut short
  EXPECT_EQ(printable(std::string_view{"\0x", 2}), "\\x00x");
}

TEST(XmlText, EscapesMarkup) {
  EXPECT_EQ(xml_text("<a & \"b\">\n"), "&lt;a &amp; &quot;b&quot;&gt;\\x0a");
}

TEST(Wrapped, BreaksAtSpaces) {
  const std::vector<std::string> expected = {"one two", "three", "fourteenletters", "x"};
  EXPECT_EQ(wrapped("one two three  fourteenletters x", 8), expected);
  EXPECT_TRUE(wrapped("", 8).empty());
}

TEST(TableText, AlignsByCodePoints) {
  Table table{{Table::Align::left, Table::Align::right, Table::Align::left}};
  table.row({"é", "1", "a"});
  table.row({"bcd", "100", ""});
  table.row({"only"});
  EXPECT_EQ(table.text("> "), "> é       1  a\n> bcd   100\n> only\n");
}

TEST(HexDumpText, CollapsesRepeatedLines) {
  std::vector<std::byte> bytes(100, std::byte{0});
  bytes[96] = std::byte{'A'};
  HexDump dump{0x1000};
  auto text = dump.add(std::span{bytes}.first(10));
  text += dump.add(std::span{bytes}.subspan(10));
  text += dump.finish();
  EXPECT_EQ(text,
            "000000001000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n"
            "*\n"
            "000000001060  41 00 00 00                                       |A...|\n"
            "000000001064\n");
}

TEST(ProgressText, FitsTheTerminal) {
  const std::uint64_t gib = std::uint64_t{1} << 30;
  ProgressLine line{.title = "convert",
                    .done = gib,
                    .total = 2 * gib,
                    .elapsed = std::chrono::milliseconds{2000},
                    .columns = 80};
  const auto text = progress_text(line);
  EXPECT_LT(text.size(), 80U);
  EXPECT_NE(text.find("#"), std::string::npos);
  EXPECT_NE(text.find(" 50%  1 GiB of 2 GiB  512 MiB/s  0:02 left"), std::string::npos) << text;
  for (unsigned columns = 1; columns < 200; ++columns) {
    line.columns = columns;
    EXPECT_LT(progress_text(line).size(), columns) << columns;
  }
}

TEST(ProgressText, StandsOddNumbers) {
  EXPECT_NE(progress_text({.title = "x", .done = 5, .total = 0}).find("100%"), std::string::npos);
  EXPECT_NE(progress_text({.title = "x", .done = 9, .total = 3}).find("100%"), std::string::npos);
  EXPECT_NE(progress_text({.title = "x", .done = 0, .total = 3}).find("  0%"), std::string::npos);
}

}  // namespace
}  // namespace vhdtool
