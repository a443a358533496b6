#include "parser.hpp"

#include <gtest/gtest.h>

namespace vhdtool {
namespace {

struct Parsed {
  std::string file;
  std::vector<std::string> files;
  std::vector<std::string> commands;
  std::uint64_t size = 0;
  std::optional<int> type;
  bool flag = false;

  ParseOutcome parse_one(const std::vector<std::string>& words) {
    Arguments arguments;
    arguments.positional({.name = "FILE"}, file_into(file));
    arguments.option({.name = "--command", .letter = 'c', .value = "CMD"}, texts_into(commands));
    arguments.option({.name = "--size", .value = "SIZE"}, size_into(size));
    arguments.option(
        {.name = "--type", .value = "T"},
        choice_into(type, std::vector<std::pair<std::string, int>>{{"a", 1}, {"b", 2}}));
    arguments.option({.name = "--flag"}, flag_into(flag));
    return parse(arguments, words);
  }
  ParseOutcome parse_many(const std::vector<std::string>& words) {
    Arguments arguments;
    arguments.positional({.name = "FILE"}, files_into(files));
    arguments.option({.name = "--flag"}, flag_into(flag));
    return parse(arguments, words);
  }
};

using Words = std::vector<std::string>;

TEST(Parser, TakesWordsInAnyOrder) {
  Parsed p;
  EXPECT_EQ(
      p.parse_one({"-c", "read 0 1", "x.vhd", "--size", "1K", "--type=b", "-c", "flush"}).problem,
      "");
  EXPECT_EQ(p.file, "x.vhd");
  EXPECT_EQ(p.commands, (Words{"read 0 1", "flush"}));
  EXPECT_EQ(p.size, 1024U);
  EXPECT_EQ(p.type, 2);
  EXPECT_FALSE(p.flag);
}

TEST(Parser, TakesNamesOfAnyShape) {
  for (const std::string name : {"-", "[a,b]", "{x}", "a b", "'q'", "\"q\"", "info", "a=b", "%"}) {
    Parsed p;
    EXPECT_EQ(p.parse_one({name, "--flag"}).problem, "") << name;
    EXPECT_EQ(p.file, name);
  }
  Parsed p;
  EXPECT_EQ(p.parse_one({"--", "--flag"}).problem, "");
  EXPECT_EQ(p.file, "--flag");
  Parsed many;
  EXPECT_EQ(many.parse_many({"[a,b]", "c", "--flag", "[d]"}).problem, "");
  EXPECT_EQ(many.files, (Words{"[a,b]", "c", "[d]"}));
}

TEST(Parser, SaysOnOneLineWhatIsWrong) {
  const std::vector<Words> bad = {{},
                                  {"f", "--bogus"},
                                  {"f", "g"},
                                  {"f", "--size"},
                                  {"f", "--size", "10MB"},
                                  {"f", "--size", "1", "--size", "2"},
                                  {"f", "--type", "c"},
                                  {"f", "--flag=3x"},
                                  {"f", "--siz", "1"},
                                  {""},
                                  {"f", "-c"}};
  for (const auto& words : bad) {
    Parsed p;
    const auto outcome = p.parse_one(words);
    EXPECT_NE(outcome.problem, "") << testing::PrintToString(words);
    EXPECT_EQ(outcome.problem.find('\n'), std::string::npos);
    EXPECT_FALSE(outcome.help);
  }
  Parsed p;
  EXPECT_EQ(p.parse_one({"f", "--size", "10MB"}).problem,
            "--size: '10MB' has an ambiguous unit: write KiB, MiB, GiB or TiB");
  EXPECT_EQ(p.parse_one({"f", "--type", "c"}).problem, "--type: 'c' is not one of: a, b");
}

TEST(Parser, HelpWinsOverWhatIsMissing) {
  Parsed p;
  EXPECT_TRUE(p.parse_one({"--help"}).help);
  EXPECT_TRUE(p.parse_one({"-h"}).help);
}

TEST(NearestWord, FindsTypingErrorsOnly) {
  const Words verbs = {"create", "info", "check", "convert"};
  EXPECT_EQ(nearest_word("crate", verbs), "create");
  EXPECT_EQ(nearest_word("inof", verbs), "info");
  EXPECT_EQ(nearest_word("mount", verbs), "");
  EXPECT_EQ(nearest_word(std::string(100000, 'x'), verbs), "");
}

}  // namespace
}  // namespace vhdtool
