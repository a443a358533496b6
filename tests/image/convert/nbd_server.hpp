/// NBD servers of others, run for a test on a Unix socket of their own.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "support/temp_dir.hpp"

namespace openvhd::test {

class NbdServer {
 public:
  /// Null when it does not come up within 10 s.
  static std::unique_ptr<NbdServer> nbdkit(const TempDir& in,
                                           const std::vector<std::string>& arguments);
  static std::unique_ptr<NbdServer> qemu_nbd(const TempDir& in,
                                             const std::vector<std::string>& arguments);
  NbdServer(pid_t pid, std::string socket) : pid_{pid}, socket_{std::move(socket)} {}
  NbdServer(const NbdServer&) = delete;
  NbdServer& operator=(const NbdServer&) = delete;
  ~NbdServer() { stop(); }

  std::string uri() const { return "nbd+unix:///?socket=" + socket_; }
  /// Ends it at once, as a crash would.
  void stop();

 private:
  static std::unique_ptr<NbdServer> start(std::vector<std::string> command, std::string socket);

  pid_t pid_;
  std::string socket_;
};

}  // namespace openvhd::test
