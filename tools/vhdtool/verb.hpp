/// One thing that vhdtool does: its words, its arguments, and the work.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "exit_code.hpp"

namespace vhdtool {

class Console;

struct Example {
  std::string command;
  std::string what;
};

struct VerbText {
  std::string name;
  std::string summary;                   ///< One line, for lists.
  std::vector<std::string> description;  ///< Paragraphs.
  std::vector<Example> examples;
};

class Verb {
 public:
  virtual ~Verb() = default;
  virtual VerbText text() const = 0;
  /// Binds members: the verb must stay where it is until it has run.
  virtual void declare(Arguments& arguments) = 0;
  /// Once, after a parse.
  virtual ExitCode run(Console& console) = 0;
};

std::unique_ptr<Verb> create_verb();
std::unique_ptr<Verb> info_verb();
std::unique_ptr<Verb> check_verb();
std::unique_ptr<Verb> convert_verb();
std::unique_ptr<Verb> map_verb();
std::unique_ptr<Verb> compare_verb();
std::unique_ptr<Verb> dump_verb();
std::unique_ptr<Verb> replay_verb();
std::unique_ptr<Verb> resize_verb();
std::unique_ptr<Verb> compact_verb();
std::unique_ptr<Verb> io_verb();
std::unique_ptr<Verb> bench_verb();
std::unique_ptr<Verb> mount_verb();
std::unique_ptr<Verb> umount_verb();
std::unique_ptr<Verb> serve_verb();
std::unique_ptr<Verb> merge_verb();
std::unique_ptr<Verb> rebase_verb();
std::unique_ptr<Verb> checkpoint_verb();

/// In the order in which the manual lists them.
std::vector<std::unique_ptr<Verb>> all_verbs();

}  // namespace vhdtool
