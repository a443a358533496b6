#include "arguments.hpp"

#include <limits>

#include "size.hpp"

namespace vhdtool {
namespace {

Binding string_into(std::string& target, Completes completes) {
  return {.assign =
              [&target](const std::string& text) {
                target = text;
                return std::string{text.empty() ? "must not be empty" : ""};
              },
          .completes = completes};
}

Binding strings_into(std::vector<std::string>& target, Completes completes) {
  return {.assign =
              [&target](const std::string& text) {
                target.push_back(text);
                return std::string{text.empty() ? "must not be empty" : ""};
              },
          .repeats = true,
          .completes = completes};
}

Binding set_flag(bool& target, bool value) {
  return {.assign =
              [&target, value](const std::string&) {
                target = value;
                return std::string{};
              },
          .takes_value = false};
}

template <class Target>
Assign assign_size(Target& target, std::uint64_t least) {
  return [&target, least](const std::string& text) {
    const auto parsed = parse_size(text);
    if (!parsed.bytes) return "'" + text + "' " + parsed.problem;
    if (*parsed.bytes < least) return "'" + text + "' is too small: leave it out for the default";
    target = *parsed.bytes;
    return std::string{};
  };
}

std::string placeholder(const Argument& argument) {
  if (!argument.positional)
    return argument.text.name + (argument.text.value.empty() ? "" : " ") + argument.text.value;
  return argument.text.name;
}

}  // namespace

void Arguments::positional(ArgumentText text, Binding binding) {
  all_.push_back({.text = std::move(text),
                  .binding = std::move(binding),
                  .positional = true,
                  .required = true});
}

void Arguments::optional_positional(ArgumentText text, Binding binding) {
  all_.push_back({.text = std::move(text), .binding = std::move(binding), .positional = true});
}

void Arguments::option(ArgumentText text, Binding binding) {
  all_.push_back({.text = std::move(text), .binding = std::move(binding)});
}

void Arguments::required_option(ArgumentText text, Binding binding) {
  all_.push_back({.text = std::move(text), .binding = std::move(binding), .required = true});
}

std::string usage_line(const std::string& verb, const Arguments& arguments) {
  std::string line = verb;
  for (const bool positional : {true, false}) {
    for (const auto& argument : arguments.all()) {
      if (argument.positional != positional) continue;
      auto word = placeholder(argument) + (argument.binding.repeats ? "..." : "");
      if (!positional && argument.binding.repeats) word = placeholder(argument) + " ...";
      line += argument.required ? " " + word : " [" + word + "]";
    }
  }
  return line;
}

std::string option_title(const Argument& argument) {
  if (argument.positional) return argument.text.name;
  std::string title;
  if (argument.text.letter != 0) title = std::string{"-"} + argument.text.letter + ", ";
  return title + placeholder(argument);
}

Binding flag_into(bool& target) { return set_flag(target, true); }
Binding flag_clears(bool& target) { return set_flag(target, false); }
Binding text_into(std::string& target) { return string_into(target, Completes::nothing); }
Binding texts_into(std::vector<std::string>& target) {
  return strings_into(target, Completes::nothing);
}
Binding file_into(std::string& target) { return string_into(target, Completes::file); }
Binding files_into(std::vector<std::string>& target) {
  return strings_into(target, Completes::file);
}
Binding directories_into(std::vector<std::string>& target) {
  return strings_into(target, Completes::directory);
}
Binding size_into(std::uint64_t& target) { return {.assign = assign_size(target, 0)}; }
Binding amount_into(std::uint64_t& target) { return {.assign = assign_size(target, 1)}; }
Binding amount_into(std::optional<std::uint64_t>& target) {
  return {.assign = assign_size(target, 1)};
}

Binding number_into(std::optional<std::uint64_t>& target) {
  return {.assign = [&target](const std::string& text) {
    target = parse_number(text, std::numeric_limits<std::uint64_t>::max());
    return target ? std::string{} : "'" + text + "' is not a number";
  }};
}

}  // namespace vhdtool
