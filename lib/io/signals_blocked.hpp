/// Threads of the library must not run the program's signal handlers.
#pragma once

#include <csignal>

namespace openvhd {

/// While it lives, the calling thread takes no signal, and neither do threads that it starts, for
/// as long as they run: signals go to the program's own threads.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace openvhd
