#include "support/program.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <utility>

namespace openvhd::test {
namespace {

constexpr int kTooLongMs = 30'000;

[[noreturn]] void give_up(const char* what) {
  std::perror(what);
  std::abort();
}

struct Pipe {
  int read_end = -1;
  int write_end = -1;
};

Pipe make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) give_up("pipe2");
  return {ends[0], ends[1]};
}

[[noreturn]] void exec(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

int exit_code(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

bool have_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream directories{path != nullptr ? path : "/usr/bin:/bin"};
  for (std::string directory; std::getline(directories, directory, ':');)
    if (::access((std::filesystem::path{directory} / name).c_str(), X_OK) == 0) return true;
  return false;
}

Ran run_program(const std::vector<std::string>& arguments) {
  const Pipe out = make_pipe();
  const pid_t pid = ::fork();
  if (pid < 0) give_up("fork");
  if (pid == 0) {
    ::dup2(::open("/dev/null", O_RDONLY), 0);
    ::dup2(out.write_end, 1);
    ::dup2(out.write_end, 2);
    exec(arguments);
  }
  ::close(out.write_end);
  Ran ran;
  std::array<char, 4096> buffer;
  for (ssize_t got; (got = ::read(out.read_end, buffer.data(), buffer.size())) != 0;) {
    if (got > 0) ran.output.append(buffer.data(), static_cast<std::size_t>(got));
    if (got < 0 && errno != EINTR) break;
  }
  ::close(out.read_end);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  ran.exit_code = exit_code(status);
  return ran;
}

Child Child::start(const std::vector<std::string>& arguments) {
  return fork([&arguments]() -> int {
    ::dup2(1, 2);
    exec(arguments);
  });
}

Child Child::fork(const std::function<int()>& body) {
  const Pipe in = make_pipe();
  const Pipe out = make_pipe();
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) give_up("fork");
  if (pid == 0) {
    ::dup2(in.read_end, 0);
    ::dup2(out.write_end, 1);
    ::close(in.write_end);
    ::close(out.read_end);
    ::_exit(body());
  }
  ::close(in.read_end);
  ::close(out.write_end);
  return Child{pid, in.write_end, out.read_end};
}

Child::Child(Child&& other) noexcept
    : pid_{std::exchange(other.pid_, -1)},
      input_{std::exchange(other.input_, -1)},
      output_{std::exchange(other.output_, -1)},
      seen_{std::move(other.seen_)} {}

Child::~Child() {
  if (pid_ >= 0) kill();
  if (input_ >= 0) ::close(input_);
  if (output_ >= 0) ::close(output_);
}

void Child::send(const std::string& text) {
  if (::write(input_, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    give_up("write to the child");
}

bool Child::wait_for(const std::string& text) {
  std::array<char, 4096> buffer;
  while (seen_.find(text) == std::string::npos) {
    pollfd ready{.fd = output_, .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, kTooLongMs) <= 0) return false;
    const ssize_t got = ::read(output_, buffer.data(), buffer.size());
    if (got <= 0) return false;
    seen_.append(buffer.data(), static_cast<std::size_t>(got));
  }
  seen_.erase(0, seen_.find(text) + text.size());
  return true;
}

void Child::kill() {
  ::kill(pid_, SIGKILL);
  reap();
}

int Child::finish() {
  ::close(std::exchange(input_, -1));
  return reap();
}

int Child::reap() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return exit_code(status);
}

}  // namespace openvhd::test
