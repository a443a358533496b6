#include "child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <utility>

namespace vhdtool {
namespace {

// What a program may say before somebody takes it.
constexpr std::size_t kMostSaid = std::size_t{1} << 20;

int code_of(int status) noexcept {
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  return 128 + (WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

/// Starts a program whose streams of `outputs` go to descriptor `to`. The error number, or 0.
int spawn(const std::vector<std::string>& arguments, const std::vector<int>& outputs, int to,
          pid_t& pid) {
  std::vector<char*> words;
  words.reserve(arguments.size() + 1);
  for (const std::string& word : arguments) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  for (const int output : outputs) ::posix_spawn_file_actions_adddup2(&actions, to, output);
  // What this program ignores (SIGXFSZ, SIGPIPE), the other one must not.
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t defaults;
  ::sigfillset(&defaults);
  ::posix_spawnattr_setsigdefault(&attributes, &defaults);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  const int wrong =
      ::posix_spawn(&pid, words.front(), &actions, &attributes, words.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  return wrong;
}

}  // namespace

std::string program_path(const std::string& name) {
  // Administrators' programs, which the path of a user does not have.
  const char* const path = std::getenv("PATH");
  const std::string folders =
      std::string{path != nullptr ? path : "/usr/bin:/bin"} + ":/usr/sbin:/sbin";
  for (std::size_t begin = 0; begin <= folders.size();) {
    const auto end = std::min(folders.find(':', begin), folders.size());
    const auto file = folders.substr(begin, end - begin) + '/' + name;
    if (end != begin && ::access(file.c_str(), X_OK) == 0) return file;
    begin = end + 1;
  }
  return {};
}

std::optional<Child> Child::start(const std::vector<std::string>& arguments) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return std::nullopt;
  pid_t pid = -1;
  const int wrong = spawn(arguments, {STDERR_FILENO}, ends[1], pid);
  ::close(ends[1]);
  if (wrong != 0) {
    ::close(ends[0]);
    errno = wrong;
    return std::nullopt;
  }
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return Child{pid, ends[0]};
}

Child::Child(Child&& other) noexcept
    : pid_{std::exchange(other.pid_, -1)},
      errors_{std::exchange(other.errors_, -1)},
      ended_{other.ended_},
      exit_code_{other.exit_code_},
      said_{std::move(other.said_)} {}

Child::~Child() {
  if (pid_ > 0 && !ended_) {
    send(SIGTERM);
    reap(true);
  }
  if (errors_ >= 0) ::close(errors_);
}

void Child::reap(bool block) noexcept {
  int status = 0;
  pid_t got = 0;
  do {
    got = ::waitpid(pid_, &status, block ? 0 : WNOHANG);
  } while (got < 0 && errno == EINTR && block);
  if (got != pid_) return;
  ended_ = true;
  exit_code_ = code_of(status);
}

bool Child::wait(std::chrono::milliseconds at_most) noexcept {
  if (!ended_) reap(false);
  pollfd look{.fd = errors_, .events = POLLIN, .revents = 0};
  const bool ready = ::poll(&look, 1, ended_ ? 0 : static_cast<int>(at_most.count())) > 0;
  std::array<char, 4096> some{};
  ssize_t got = 0;
  if (ready) got = ::read(errors_, some.data(), some.size());
  if (got > 0 && said_.size() < kMostSaid) said_.append(some.data(), static_cast<std::size_t>(got));
  if (got > 0) return true;
  // It closed its end, which mostly is its own end: not to be waited for in a busy loop.
  if (ready && !ended_) ::poll(nullptr, 0, 10);
  return !ended_;
}

std::string Child::take_errors() { return std::exchange(said_, {}); }

void Child::send(int signal) const noexcept {
  if (!ended_) ::kill(pid_, signal);
}

Ran run_program(const std::vector<std::string>& arguments) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return {.exit_code = 127, .output = {}};
  pid_t pid = -1;
  const int wrong = spawn(arguments, {STDOUT_FILENO, STDERR_FILENO}, ends[1], pid);
  ::close(ends[1]);
  Ran ran;
  std::array<char, 4096> some{};
  ssize_t got = 0;
  while (wrong == 0 &&
         ((got = ::read(ends[0], some.data(), some.size())) > 0 || (got < 0 && errno == EINTR))) {
    if (got > 0 && ran.output.size() < kMostSaid)
      ran.output.append(some.data(), static_cast<std::size_t>(got));
  }
  ::close(ends[0]);
  if (wrong != 0) return {.exit_code = 127, .output = {}};
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  ran.exit_code = code_of(status);
  while (!ran.output.empty() && ran.output.back() == '\n') ran.output.pop_back();
  return ran;
}

}  // namespace vhdtool
