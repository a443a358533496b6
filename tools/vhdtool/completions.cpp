#include <fmt/format.h>

#include "manual.hpp"

namespace vhdtool {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

std::string verb_names(const std::vector<Declared>& verbs) {
  std::vector<std::string> names;
  for (const auto& verb : verbs) names.push_back(verb.text.name);
  return joined(names);
}

std::vector<std::string> spellings(const Argument& argument) {
  std::vector<std::string> names = {argument.text.name};
  if (argument.text.letter != 0) names.push_back(std::string{"-"} + argument.text.letter);
  return names;
}

// Inside single quotes of a POSIX shell.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

std::string bash_options(const Declared& verb) {
  std::vector<std::string> words = {"--help"};
  for (const auto& argument : verb.arguments.all()) {
    if (!argument.positional) words.push_back(argument.text.name);
  }
  return joined(words);
}

std::string bash_value(const Binding& binding) {
  switch (binding.completes) {
    case Completes::choices:
      return fmt::format("mapfile -t COMPREPLY < <(compgen -W {} -- \"$cur\")",
                         quoted(joined(binding.choices)));
    case Completes::directory:
      return "mapfile -t COMPREPLY < <(compgen -d -- \"$cur\"); compopt -o filenames 2> /dev/null";
    case Completes::file:
      return ":";  // what "complete -o default" offers
    case Completes::nothing:
      break;
  }
  return "compopt +o default 2> /dev/null";
}

std::string bash_values(const Declared& verb) {
  std::string out;
  for (const auto& argument : verb.arguments.all()) {
    if (argument.positional || !argument.binding.takes_value) continue;
    std::string pattern;
    for (const auto& name : spellings(argument))
      pattern += (pattern.empty() ? "" : " | ") + quoted(verb.text.name + " " + name);
    out += fmt::format("    {}) {}; return ;;\n", pattern, bash_value(argument.binding));
  }
  return out;
}

// The text of an _arguments specification: brackets and colons end it early.
std::string zsh_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string zsh_action(const Binding& binding) {
  switch (binding.completes) {
    case Completes::choices:
      return "(" + joined(binding.choices) + ")";
    case Completes::directory:
      return "_files -/";
    case Completes::file:
      return "_files";
    case Completes::nothing:
      break;
  }
  return " ";
}

std::string zsh_argument(const Argument& argument) {
  const auto action = zsh_action(argument.binding);
  if (argument.positional) {
    return quoted(fmt::format("{}:{}:{}", argument.binding.repeats ? "*" : "",
                              zsh_text(argument.text.name), action));
  }
  auto tail = "[" + zsh_text(first_sentence(argument.text.help)) + "]";
  if (argument.binding.takes_value) tail += ":" + zsh_text(argument.text.value) + ":" + action;
  std::string out;
  for (const auto& name : spellings(argument)) {
    if (!out.empty()) out += " \\\n        ";
    out += quoted((argument.binding.repeats ? "*" : "") + name + tail);
  }
  return out;
}

std::string fish_value(const Binding& binding) {
  if (!binding.takes_value) return "";
  switch (binding.completes) {
    case Completes::choices:
      return " -x -a " + quoted(joined(binding.choices));
    case Completes::directory:
      return " -x -a '(__fish_complete_directories)'";
    case Completes::file:
      return " -r -F";
    case Completes::nothing:
      break;
  }
  return " -x";
}

}  // namespace

std::string bash_completion(const std::vector<Declared>& verbs) {
  std::string out = fmt::format(
      R"(# bash completion for vhdtool; made from the program's own declarations.
_vhdtool() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}}
  local verb=${{COMP_WORDS[1]}}
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W '{} --help --version' -- "$cur")
    return
  fi
  # "--name=value" comes as three words.
  if [[ $cur == = ]]; then
    cur=
  elif [[ $prev == = ]]; then
    prev=${{COMP_WORDS[COMP_CWORD - 2]}}
  fi
  case "$verb $prev" in
)",
      verb_names(verbs));
  for (const auto& verb : verbs) out += bash_values(verb);
  out += "  esac\n  [[ $cur == -* ]] || return\n  case $verb in\n";
  for (const auto& verb : verbs) {
    out += fmt::format("    {}) mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$cur\") ;;\n",
                       verb.text.name, bash_options(verb));
  }
  return out + "  esac\n}\ncomplete -o default -F _vhdtool vhdtool\n";
}

std::string zsh_completion(const std::vector<Declared>& verbs) {
  std::string out =
      "#compdef vhdtool\n# zsh completion for vhdtool; made from the program's own declarations.\n"
      "_vhdtool() {\n  local -a verbs=(\n";
  for (const auto& verb : verbs)
    out += "    " + quoted(verb.text.name + ":" + first_sentence(verb.text.summary)) + '\n';
  out +=
      "  )\n  if (( CURRENT == 2 )); then\n    _describe -t verbs verb verbs\n    return\n  fi\n"
      "  shift words\n  (( CURRENT-- ))\n  case $words[1] in\n";
  for (const auto& verb : verbs) {
    out += "    " + verb.text.name +
           ")\n      _arguments \\\n        '(- *)'{-h,--help}'[Prints help]'";
    for (const auto& argument : verb.arguments.all())
      out += " \\\n        " + zsh_argument(argument);
    out += "\n      ;;\n";
  }
  return out + "  esac\n}\n_vhdtool \"$@\"\n";
}

std::string fish_completion(const std::vector<Declared>& verbs) {
  std::string out =
      "# fish completion for vhdtool; made from the program's own declarations.\n"
      "complete -c vhdtool -f\n";
  for (const auto& verb : verbs) {
    out += fmt::format("complete -c vhdtool -n __fish_use_subcommand -a {} -d {}\n", verb.text.name,
                       quoted(first_sentence(verb.text.summary)));
    const auto when =
        fmt::format("complete -c vhdtool -n '__fish_seen_subcommand_from {}'", verb.text.name);
    out += when + " -F\n" + when + " -s h -l help -d 'Prints help'\n";
    for (const auto& argument : verb.arguments.all()) {
      if (argument.positional) continue;
      const auto letter =
          argument.text.letter == 0 ? std::string{} : fmt::format(" -s {}", argument.text.letter);
      out += fmt::format("{}{} -l {}{} -d {}\n", when, letter, argument.text.name.substr(2),
                         fish_value(argument.binding), quoted(first_sentence(argument.text.help)));
    }
  }
  return out;
}

}  // namespace vhdtool
