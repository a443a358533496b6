/// What a verb takes on its command line. Declared once; the parser, the help text, the manual and
/// the shell completions all come from here.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace vhdtool {

/// What a shell offers for a value.
enum class Completes : std::uint8_t { nothing, file, directory, choices };

/// Takes one value as typed. Returns what is wrong with it, empty when nothing is.
using Assign = std::function<std::string(const std::string& text)>;

/// Where a value goes. The variable is borrowed and must outlive the parse.
struct Binding {
  Assign assign = {};
  bool takes_value = true;
  bool repeats = false;
  Completes completes = Completes::nothing;
  std::vector<std::string> choices = {};
};

struct ArgumentText {
  std::string name = {};   ///< "--size"; for a positional "FILE".
  char letter = 0;         ///< 'c' for "-c"; 0: none.
  std::string value = {};  ///< "SIZE"; empty for flags and positionals.
  std::string help = {};   ///< A sentence or two.
};

struct Argument {
  ArgumentText text = {};
  Binding binding = {};
  bool positional = false;
  bool required = false;
};

class Arguments {
 public:
  /// Positionals are required and come in the order of declaration; only the last may repeat.
  void positional(ArgumentText text, Binding binding);
  /// Behind those that are required: it may be left out.
  void optional_positional(ArgumentText text, Binding binding);
  void option(ArgumentText text, Binding binding);
  void required_option(ArgumentText text, Binding binding);

  const std::vector<Argument>& all() const noexcept { return all_; }

 private:
  std::vector<Argument> all_;
};

/// "create FILE [--size SIZE] ...", as the head of help and manual shows it.
std::string usage_line(const std::string& verb, const Arguments& arguments);

/// "-c, --command CMD".
std::string option_title(const Argument& argument);

Binding flag_into(bool& target);
/// Sets `target` to false.
Binding flag_clears(bool& target);
Binding text_into(std::string& target);
Binding texts_into(std::vector<std::string>& target);
Binding file_into(std::string& target);
Binding files_into(std::vector<std::string>& target);
Binding directories_into(std::vector<std::string>& target);
/// Bytes, as parse_size() reads them.
Binding size_into(std::uint64_t& target);
/// Likewise, but not 0: where the option is left out, something else than 0 is meant.
Binding amount_into(std::uint64_t& target);
Binding amount_into(std::optional<std::uint64_t>& target);
Binding number_into(std::optional<std::uint64_t>& target);

/// One of a few words.
template <class Target, class Value>
Binding choice_into(Target& target, std::vector<std::pair<std::string, Value>> table) {
  Binding binding;
  binding.completes = Completes::choices;
  std::string words;
  for (const auto& [word, value] : table) {
    binding.choices.push_back(word);
    words += (words.empty() ? "" : ", ") + word;
  }
  binding.assign = [&target, table = std::move(table), words](const std::string& text) {
    for (const auto& [word, value] : table) {
      if (word != text) continue;
      target = value;
      return std::string{};
    }
    return "'" + text + "' is not one of: " + words;
  };
  return binding;
}

}  // namespace vhdtool
