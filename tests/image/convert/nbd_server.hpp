/// NBD servers of others, run for a test on a Unix socket of their own.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

namespace openvhd::test {

/// A directory that goes away with everything in it.
class TempDirectory {
 public:
  TempDirectory();
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  ~TempDirectory();
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  /// Names in it.
  std::vector<std::string> names() const;

 private:
  std::string path_;
};

/// Whether `program` is on the path.
bool has_program(const std::string& program);

/// Runs a program, its output thrown away; its exit code, or -1.
int run_program(const std::vector<std::string>& command);

class NbdServer {
 public:
  /// Null when it does not come up within 10 s.
  static std::unique_ptr<NbdServer> nbdkit(const TempDirectory& in,
                                           const std::vector<std::string>& arguments);
  static std::unique_ptr<NbdServer> qemu_nbd(const TempDirectory& in,
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
