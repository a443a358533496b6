#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>

#include "console.hpp"
#include "manual.hpp"
#include "parser.hpp"
#include "signals.hpp"
#include "text.hpp"
#include "verb.hpp"

namespace vhdtool {
namespace {

// A standard stream that the caller has closed would be the first file opened here: an image that
// our reports are written into. What takes its place fails whoever uses it.
void occupy_standard_streams() noexcept {
  for (const int stream : {0, 1, 2}) {
    if (::fcntl(stream, F_GETFD) >= 0) continue;
    // The lowest number that is free: this one. There for as long as the process is.
    static_cast<void>(::open("/dev/null", stream == 0 ? O_WRONLY : O_RDONLY));
  }
}

ExitCode unknown_verb(Console& console, const std::string& word,
                      const std::vector<std::unique_ptr<Verb>>& verbs) {
  std::vector<std::string> names;
  for (const auto& verb : verbs) names.push_back(verb->text().name);
  const auto near = nearest_word(word, names);
  const auto hint = near.empty() ? std::string{"see vhdtool --help"} : "did you mean " + near + "?";
  return console.usage(fmt::format("no verb '{}': {}", word, hint));
}

ExitCode run(Console& console, const std::vector<std::string>& words) {
  const auto verbs = all_verbs();
  if (words.empty()) return console.usage("a verb is missing: see vhdtool --help");
  if (words[0] == "--help" || words[0] == "-h") {
    console.print(help_text(declared(verbs)));
    return ExitCode::ok;
  }
  if (words[0] == "--version") {
    console.print("vhdtool " OPENVHD_VERSION "\n");
    return ExitCode::ok;
  }
  const auto found = std::find_if(verbs.begin(), verbs.end(),
                                  [&](const auto& verb) { return verb->text().name == words[0]; });
  if (found == verbs.end()) return unknown_verb(console, words[0], verbs);
  auto& verb = **found;
  Declared self{.text = verb.text(), .arguments = {}};
  verb.declare(self.arguments);
  const auto parsed = parse(self.arguments, {words.begin() + 1, words.end()});
  if (parsed.help) {
    console.print(help_text(self));
    return ExitCode::ok;
  }
  if (!parsed.problem.empty())
    return console.usage(fmt::format("{}: {}", self.text.name, parsed.problem));
  return verb.run(console);
}

}  // namespace
}  // namespace vhdtool

int main(int argc, char** argv) {
  vhdtool::occupy_standard_streams();
  vhdtool::catch_interrupts();
  vhdtool::survive_size_limits();
  vhdtool::Console console{stdout, stderr};
  auto code = vhdtool::ExitCode::io;
  try {
    // Past the name of the program; argc is 0 where a careless caller passed nothing.
    code = vhdtool::run(console, {argv + std::min(argc, 1), argv + argc});
  } catch (const std::exception& error) {
    console.error_line(vhdtool::printable(error.what()));  // out of memory, most likely
  }
  return static_cast<int>(console.finish(code));
}
