/// What is written out of the declarations of the verbs: help, manual pages, shell completions.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "verb.hpp"

namespace vhdtool {

/// A verb with its declared arguments. Only to be described: its bindings are not to be used after
/// the verb is gone.
struct Declared {
  VerbText text;
  Arguments arguments;
};

std::vector<Declared> declared(const std::vector<std::unique_ptr<Verb>>& verbs);

/// One sentence each: the first of a help text, without its period.
std::string first_sentence(const std::string& text);

std::string help_text(const std::vector<Declared>& verbs);
std::string help_text(const Declared& verb);

/// roff for man(7); `version` goes into the footer. No date: builds are reproducible.
std::string man_page(const std::vector<Declared>& verbs, const std::string& version);
std::string man_page(const Declared& verb, const std::string& version);

std::string bash_completion(const std::vector<Declared>& verbs);
std::string zsh_completion(const std::vector<Declared>& verbs);
std::string fish_completion(const std::vector<Declared>& verbs);

}  // namespace vhdtool
