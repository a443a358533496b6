#include <fmt/format.h>

#include "manual.hpp"
#include "text.hpp"

namespace vhdtool {
namespace {

constexpr std::size_t kWidth = 96;
constexpr std::size_t kHelpColumn = 28;

std::string paragraph(const std::string& text, std::size_t indent) {
  std::string out;
  for (const auto& line : wrapped(text, kWidth - indent))
    out += std::string(indent, ' ') + line + '\n';
  return out;
}

// The title, and the help beside it or, where the title is long, below.
std::string entry(const std::string& title, const std::string& help) {
  auto body = paragraph(help, kHelpColumn);
  const auto head = "  " + title;
  if (columns(head) + 2 > kHelpColumn) return head + '\n' + body;
  body.replace(0, head.size(), head);
  return body;
}

std::string entries(const Declared& verb, bool positional) {
  std::string out;
  for (const auto& argument : verb.arguments.all()) {
    if (argument.positional == positional) out += entry(option_title(argument), argument.text.help);
  }
  return out;
}

}  // namespace

std::vector<Declared> declared(const std::vector<std::unique_ptr<Verb>>& verbs) {
  std::vector<Declared> out;
  for (const auto& verb : verbs) {
    out.push_back({.text = verb->text(), .arguments = {}});
    verb->declare(out.back().arguments);
  }
  return out;
}

std::string first_sentence(const std::string& text) {
  const auto end = text.find(". ");
  auto sentence = text.substr(0, end);
  if (!sentence.empty() && sentence.back() == '.') sentence.pop_back();
  return sentence;
}

std::string help_text(const std::vector<Declared>& verbs) {
  std::string out =
      "usage: vhdtool VERB ...\n\nMakes, reads, checks and converts VHD and VHDX disk "
      "images.\n\nVerbs:\n";
  for (const auto& verb : verbs)
    out += fmt::format("  {:<12}{}\n", verb.text.name, verb.text.summary);
  out +=
      "\n'vhdtool VERB --help' tells more; so does 'man vhdtool-VERB'.\n"
      "'vhdtool --version' prints the version.\n";
  return out;
}

std::string help_text(const Declared& verb) {
  std::string out = "usage: ";
  bool first = true;
  for (const auto& line :
       wrapped("vhdtool " + usage_line(verb.text.name, verb.arguments), kWidth - 9)) {
    out += (first ? "" : "         ") + line + '\n';
    first = false;
  }
  for (const auto& text : verb.text.description) out += '\n' + paragraph(text, 0);
  out += "\nArguments:\n" + entries(verb, true);
  out += "\nOptions:\n" + entries(verb, false) + entry("-h, --help", "Prints this text.");
  if (!verb.text.examples.empty()) out += "\nExamples:\n";
  for (const auto& example : verb.text.examples)
    out += paragraph(example.what, 2) + "    " + example.command + '\n';
  return out;
}

}  // namespace vhdtool
