/// From a command line to the members of a verb.
#pragma once

#include <string>
#include <vector>

#include "arguments.hpp"

namespace vhdtool {

struct ParseOutcome {
  bool help = false;         ///< --help was asked for; nothing else counts.
  std::string problem = {};  ///< One line; empty when the arguments are good.
};

/// Reads the words after the verb into what `arguments` binds.
ParseOutcome parse(const Arguments& arguments, const std::vector<std::string>& words);

/// The known word that `word` most likely means; empty when none is near.
std::string nearest_word(const std::string& word, const std::vector<std::string>& known);

}  // namespace vhdtool
