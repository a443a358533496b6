#include "console.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "text.hpp"

namespace vhdtool {

std::string json_text(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

Failure failure_of(const openvhd::Error& error, const openvhd::OpenReport& report,
                   const std::string& fallback) {
  return {.error = error,
          .file = error.layer < report.files.size() ? report.files[error.layer] : fallback,
          .notes = report.notes};
}

std::string failure_text(const Failure& failure) {
  std::string about = printable(failure.file);
  if (!failure.asked.empty()) about += ": " + failure.asked;
  return openvhd::describe(failure.error, about);
}

Json failure_json(const Failure& failure) {
  return {{"code", openvhd::to_string(failure.error.code)},
          {"exit_code", static_cast<int>(exit_code(failure.error.code))},
          {"file", failure.file},
          {"layer", failure.error.layer},
          {"offset", failure.error.where.value},
          {"rule", failure.error.what},
          {"errno", failure.error.sys_errno},
          {"message", failure_text(failure)},
          {"notes", failure.notes}};
}

void Console::print(std::string_view text) noexcept {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), out_) == text.size() || failed_ != 0) return;
  failed_ = errno != 0 ? errno : EIO;
}

void Console::note(std::string_view text) {
  if (json_) return;
  std::fflush(out_);
  say("note: " + printable(text));
}

void Console::notes(const std::vector<std::string>& texts) {
  for (const auto& text : texts) note(text);
}

void Console::error_line(const std::string& text) {
  std::fflush(out_);
  say(text);
}

// fmt::print would throw where nobody listens.
void Console::say(const std::string& text) {
  std::fputs(("vhdtool: " + text + '\n').c_str(), err_);
}

ExitCode Console::fail(const Failure& failure) {
  if (json_) print_json(Json{{"schema", kJsonSchema}, {"error", failure_json(failure)}});
  error_line(failure_text(failure));
  return exit_code(failure.error.code);
}

ExitCode Console::usage(const std::string& problem) {
  return fail(problem, "usage", ExitCode::usage);
}

ExitCode Console::fail(const std::string& problem, const char* code, ExitCode exit) {
  if (json_) {
    print_json(Json{
        {"schema", kJsonSchema},
        {"error", {{"code", code}, {"exit_code", static_cast<int>(exit)}, {"message", problem}}}});
  }
  error_line(printable(problem));
  return exit;
}

void Console::flush() noexcept {
  errno = 0;
  if (std::fflush(out_) != 0 && failed_ == 0) failed_ = errno != 0 ? errno : EIO;
}

ExitCode Console::finish(ExitCode code) noexcept {
  flush();
  if (failed_ == 0) return code;
  // A signal while the reader made us wait.
  if (failed_ == EINTR) return ExitCode::cancelled;
  // A reader that has seen enough is no failure of ours worth a line.
  if (failed_ != EPIPE)
    std::fprintf(err_, "vhdtool: standard output: %s\n", std::strerror(failed_));
  return worse(code, ExitCode::io);
}

}  // namespace vhdtool
