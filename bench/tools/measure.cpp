// Runs a program and tells how long it took and how much memory it had at most, in one line on
// standard error: "seconds=0.001234 peak_kib=5678 status=0". Small itself, because a process
// starts with the peak of whoever started it.
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstring>
#include <ctime>

extern char** environ;

namespace {

double now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: measure PROGRAM [ARGUMENT...]\n", stderr);
    return 2;
  }
  const double begin = now();
  pid_t child = 0;
  const int failed = posix_spawnp(&child, argv[1], nullptr, nullptr, argv + 1, environ);
  if (failed != 0) {
    std::fprintf(stderr, "measure: %s: %s\n", argv[1], std::strerror(failed));
    return 2;
  }
  int status = 0;
  rusage usage{};
  if (wait4(child, &status, 0, &usage) != child) {
    std::perror("measure: wait4");
    return 2;
  }
  const double seconds = now() - begin;
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  std::fprintf(stderr, "seconds=%.6f peak_kib=%ld status=%d\n", seconds, usage.ru_maxrss, code);
  return code;
}
