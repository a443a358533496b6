/// Another program, run beside this one.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace vhdtool {

/// Where the shell would find a program; empty where it would not.
std::string program_path(const std::string& name);

/// A running program. Its standard error comes here, its standard input is empty.
class Child {
 public:
  /// `arguments` begin with a path. Empty where it could not be started: errno says why.
  static std::optional<Child> start(const std::vector<std::string>& arguments);
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  /// Ends it and waits, where it still runs.
  ~Child();

  pid_t pid() const noexcept { return pid_; }
  /// Waits for output, for its end or for a signal to us, so long at most. False once it has ended
  /// and all it said was taken.
  bool wait(std::chrono::milliseconds at_most) noexcept;
  /// What it said since the last call.
  std::string take_errors();
  void send(int signal) const noexcept;
  /// Once it has ended: its exit code, or 128 and the number of the signal.
  int exit_code() const noexcept { return exit_code_; }

 private:
  Child(pid_t pid, int errors) noexcept : pid_{pid}, errors_{errors} {}
  void reap(bool block) noexcept;

  pid_t pid_;
  int errors_;
  bool ended_ = false;
  int exit_code_ = -1;
  std::string said_;
};

struct Ran {
  int exit_code = -1;  ///< 128 + n: by signal n. 127: it could not be started.
  std::string output;  ///< Of both streams, without the last newline.
};

/// Runs a program with no input and waits for its end.
Ran run_program(const std::vector<std::string>& arguments);

}  // namespace vhdtool
