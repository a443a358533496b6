#include "signals.hpp"

#include <signal.h>

#include <atomic>

namespace vhdtool {
namespace {

// The one variable of the program that is not somebody's member: a handler reaches nothing else.
constinit std::atomic<bool> asked_to_stop{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler sets it");

extern "C" void ask_to_stop(int) { asked_to_stop.store(true, std::memory_order_relaxed); }

void ignore(int signal) noexcept {
  struct sigaction action{};
  action.sa_handler = SIG_IGN;
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

void catch_interrupts() noexcept {
  struct sigaction action{};
  action.sa_handler = ask_to_stop;
  // What waits is interrupted, to look at asked_to_stop. The second signal finds the default action
  // and ends the process.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int signal : {SIGINT, SIGTERM}) ::sigaction(signal, &action, nullptr);
}

void leave_interrupts_to_others() noexcept {
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  for (const int signal : {SIGINT, SIGTERM}) ::sigaction(signal, &action, nullptr);
}

bool interrupted() noexcept { return asked_to_stop.load(std::memory_order_relaxed); }

void survive_size_limits() noexcept { ignore(SIGXFSZ); }

void survive_closed_pipes() noexcept { ignore(SIGPIPE); }

}  // namespace vhdtool
