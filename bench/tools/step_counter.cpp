// Counts what a program executes in user space, all threads, by going through it step by step:
//   step_counter BATCH SKIP COUNT PROGRAM [ARGUMENT...]
// Begins when SKIP requests have been submitted, and a thread then submits BATCH or more by one
// io_uring_enter(); ends when COUNT more have been submitted, lets the program run to its end, and
// says on standard error: "steps=N requests=M status=0". Slow (some tens of thousands of steps per
// second), but it needs no counter of the processor, which virtual machines often do not have, and
// no emulator, which may not know that threads wait in io_uring. A repeated string instruction
// counts once for each repetition, a system call as one. x86-64 only.
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>

namespace {

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "step_counter: %s: %s\n", what, std::strerror(errno));
  std::exit(2);
}

class Stepper {
 public:
  struct Stretch {
    std::uint64_t batch = 0;
    std::uint64_t skip = 0;
    std::uint64_t count = 0;
  };

  Stepper(pid_t program, Stretch stretch) : program_{program}, stretch_{stretch} {
    int status = 0;
    if (waitpid(program, &status, __WALL) != program || !WIFSTOPPED(status)) die("wait");
    const long options =
        PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD;
    if (ptrace(PTRACE_SETOPTIONS, program, nullptr, options) != 0) die("ptrace");
    known_.insert(program);
    resume(program, 0);
  }

  void run() {
    for (;;) {
      int status = 0;
      const pid_t thread = waitpid(-1, &status, __WALL);
      if (thread < 0 && errno == EINTR) continue;
      if (thread < 0) return;  // ECHILD: all have ended
      if (WIFSTOPPED(status)) {
        stopped(thread, status);
      } else if (thread == program_) {
        code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      }
    }
  }

  std::uint64_t steps() const { return steps_; }
  std::uint64_t requests() const { return requests_; }
  int code() const { return code_; }

 private:
  enum class Phase { before, stepping, after };

  void stopped(pid_t thread, int status) {
    const int signal = WSTOPSIG(status);
    // A new thread begins with a stop of its own, which is not the program's business.
    const bool is_new = known_.insert(thread).second;
    if (signal == kSystemCall) {
      if (phase_ == Phase::before && is_beginning(thread)) phase_ = Phase::stepping;
      resume(thread, 0);
    } else if (status >> 16 != 0 || (is_new && signal == SIGSTOP)) {
      resume(thread, 0);
    } else if (signal == SIGTRAP) {
      if (phase_ == Phase::stepping) stepped(thread);
      resume(thread, 0);
    } else {
      resume(thread, signal);
    }
  }

  bool is_beginning(pid_t thread) {
    __ptrace_syscall_info info{};
    if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info) <= 0) return false;
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY || info.entry.nr != SYS_io_uring_enter) return false;
    const std::uint64_t submitted = info.entry.args[1];
    if (skipped_ >= stretch_.skip && submitted >= stretch_.batch) return true;
    skipped_ += submitted;
    return false;
  }

  void stepped(pid_t thread) {
    ++steps_;
    // The kernel keeps the number of a system call only as long as that was the last instruction.
    user_regs_struct registers{};
    if (ptrace(PTRACE_GETREGS, thread, nullptr, &registers) != 0) return;
    if (registers.orig_rax != SYS_io_uring_enter) return;
    if (begun_) requests_ += registers.rsi;  // to_submit
    begun_ = true;
    if (requests_ >= stretch_.count) phase_ = Phase::after;
  }

  // A thread that was killed meanwhile is told of by waitpid().
  void resume(pid_t thread, long signal) const {
    const auto how = phase_ == Phase::stepping ? PTRACE_SINGLESTEP
                     : phase_ == Phase::before ? PTRACE_SYSCALL
                                               : PTRACE_CONT;
    if (ptrace(how, thread, nullptr, signal) != 0 && errno != ESRCH) die("resume");
  }

  static constexpr int kSystemCall = SIGTRAP | 0x80;

  pid_t program_;
  Stretch stretch_;
  std::uint64_t skipped_ = 0;
  Phase phase_ = Phase::before;
  bool begun_ = false;  // the call that the first step goes through has ended
  std::uint64_t requests_ = 0;
  std::set<pid_t> known_;
  std::uint64_t steps_ = 0;
  int code_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fputs("usage: step_counter BATCH SKIP COUNT PROGRAM [ARGUMENT...]\n", stderr);
    return 2;
  }
  const pid_t program = fork();
  if (program < 0) die("fork");
  if (program == 0) {
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) die("ptrace");
    if (raise(SIGSTOP) != 0) die("raise");
    execvp(argv[4], argv + 4);
    die(argv[4]);
  }
  Stepper stepper{program,
                  {.batch = std::strtoull(argv[1], nullptr, 10),
                   .skip = std::strtoull(argv[2], nullptr, 10),
                   .count = std::strtoull(argv[3], nullptr, 10)}};
  stepper.run();
  std::fprintf(stderr, "steps=%llu requests=%llu status=%d\n",
               static_cast<unsigned long long>(stepper.steps()),
               static_cast<unsigned long long>(stepper.requests()), stepper.code());
  return stepper.code();
}
