/// Other programs, run from a test.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace openvhd::test {

/// True when the shell would find this program.
bool have_program(const std::string& name);

struct Ran {
  int exit_code = -1;  ///< 128 + n when signal n ended it.
  std::string output;  ///< Of both streams.
};

/// Runs a program with these arguments and an empty standard input, and waits for it.
Ran run_program(const std::vector<std::string>& arguments);

/// A program or a function in a process of its own, with a pipe to its standard input and one
/// from its standard output. Killed and waited for when this goes away.
class Child {
 public:
  static Child start(const std::vector<std::string>& arguments);
  /// Runs `body` in a fork; its result is the exit code. `body` reads and writes descriptors 0, 1.
  static Child fork(const std::function<int()>& body);
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  ~Child();

  void send(const std::string& text);
  /// Waits until `text` has come out; false when the other side ended before that.
  bool wait_for(const std::string& text);
  void kill();
  /// Closes its input and waits for its end.
  int finish();
  pid_t pid() const { return pid_; }

 private:
  Child(pid_t pid, int input, int output) : pid_{pid}, input_{input}, output_{output} {}
  int reap();
  pid_t pid_ = -1;
  int input_ = -1;
  int output_ = -1;
  std::string seen_;
};

}  // namespace openvhd::test
