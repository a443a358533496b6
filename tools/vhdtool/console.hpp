/// Where a verb puts its words: reports to standard output, failures and notes to standard error.
#pragma once

#include <cstdio>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "exit_code.hpp"
#include "json.hpp"

namespace vhdtool {

/// An error and the file that it speaks of.
struct Failure {
  openvhd::Error error = {};
  std::string file = {};
  std::vector<std::string> notes = {};  ///< What an open saw before it failed.
  std::string asked = {};               ///< What was asked of it, where the error does not say.
};

/// The file is `report.files[error.layer]`, and `fallback` where that is not known.
Failure failure_of(const openvhd::Error& error, const openvhd::OpenReport& report,
                   const std::string& fallback);

/// "FILE: 0x30000: structure and rule", or "FILE: what was asked: rule": one line, also when names
/// hold newlines.
std::string failure_text(const Failure& failure);
Json failure_json(const Failure& failure);

class Console {
 public:
  /// The streams are borrowed.
  Console(std::FILE* out, std::FILE* err) noexcept : out_{out}, err_{err} {}

  /// --json was given: failures also go to standard output, as {"error": ...}.
  void use_json() noexcept { json_ = true; }
  bool json() const noexcept { return json_; }
  /// Standard output carries a disk: reports go to standard error.
  void keep_output_clear() noexcept { out_ = err_; }

  void print(std::string_view text) noexcept;
  void print_json(const Json& json) { print(json_text(json)); }
  /// One line on standard error, for people; silent under --json.
  void note(std::string_view text);
  void notes(const std::vector<std::string>& texts);
  /// One line on standard error, and the exit code that goes with it.
  ExitCode fail(const Failure& failure);
  ExitCode usage(const std::string& problem);
  /// Of something else than an image: another program, a mount. `code` is the one in the JSON.
  ExitCode fail(const std::string& problem, const char* code, ExitCode exit);
  void error_line(const std::string& text);

  /// Writes out what is buffered: somebody waits for it while the work goes on.
  void flush() noexcept;
  /// Writes out what is buffered; `code`, or ExitCode::io where a report did not get through.
  ExitCode finish(ExitCode code) noexcept;

 private:
  void say(const std::string& text);

  std::FILE* out_;
  std::FILE* err_;
  bool json_ = false;
  int failed_ = 0;  ///< errno of the first write that did not get through.
};

}  // namespace vhdtool
