#include "parser.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>
#include <numeric>

namespace vhdtool {
namespace {

constexpr int kMaxRepeats = CLI::detail::expected_max_vector_size;

// The message of a thrown error is prefixed with the name, as CLI11 does for its own.
void assign_all(const Argument& argument, const std::vector<std::string>& values) {
  for (const auto& value : values) {
    const auto problem = argument.binding.assign(value);
    if (!problem.empty()) throw CLI::ValidationError(argument.text.name, problem);
  }
}

std::string cli_name(const Argument& argument) {
  if (argument.positional || argument.text.letter == 0) return argument.text.name;
  return std::string{"-"} + argument.text.letter + "," + argument.text.name;
}

void bind(CLI::App& app, const Argument& argument) {
  const auto name = cli_name(argument);
  if (!argument.binding.takes_value) {
    app.add_flag_callback(name, [&argument] { assign_all(argument, {""}); })
        ->disable_flag_override();
    return;
  }
  auto* const option = app.add_option(name, [&argument](const CLI::results_t& values) {
    assign_all(argument, values);
    return true;
  });
  // One word each: "-c CMD FILE" must not swallow FILE, and "[a,b]" is a file name, not a list.
  // A positional takes words only up to its least number: that of one that repeats is without end.
  const bool repeats = argument.binding.repeats;
  option->type_size(1)->expected(repeats && argument.positional ? kMaxRepeats : 1,
                                 repeats ? kMaxRepeats : 1);
  option->allow_extra_args(false);
  if (repeats) option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  option->required(argument.required);
}

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

}  // namespace

ParseOutcome parse(const Arguments& arguments, const std::vector<std::string>& words) {
  CLI::App app;
  app.set_help_flag("-h,--help");
  try {
    for (const auto& argument : arguments.all()) bind(app, argument);
    app.parse(std::vector<std::string>{words.rbegin(), words.rend()});  // CLI11 wants them reversed
  } catch (const CLI::CallForHelp&) {
    return {.help = true};
  } catch (const CLI::ExtrasError&) {
    // CLI11's own message has them backwards.
    std::string problem = "The following arguments were not expected:";
    for (const auto& word : app.remaining()) problem += ' ' + word;
    std::replace(problem.begin(), problem.end(), '\n', ' ');
    return {.problem = problem};
  } catch (const CLI::ParseError& error) {
    std::string problem = error.what();
    std::replace(problem.begin(), problem.end(), '\n', ' ');
    return {.problem = problem.empty() ? "wrong arguments" : problem};
  }
  return {};
}

std::string nearest_word(const std::string& word, const std::vector<std::string>& known) {
  if (word.size() > 64) return {};
  std::string best;
  std::size_t best_distance = 3;  // two slips are a typing error, three are another word
  for (const auto& candidate : known) {
    const auto distance = edit_distance(word, candidate);
    if (distance >= best_distance) continue;
    best_distance = distance;
    best = candidate;
  }
  return best;
}

}  // namespace vhdtool
