#include "image/convert/nbd_server.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>

#include "base/fd.hpp"

namespace openvhd::test {
namespace {

namespace fs = std::filesystem;

pid_t spawn(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  const int null = ::open("/dev/null", O_RDWR);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, fd);
  ::execvp(arguments[0], arguments.data());
  ::_exit(127);
}

bool answers(const std::string& path) {
  const Fd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return false;
  std::memcpy(address.sun_path, path.data(), path.size());
  return ::connect(socket.get(), static_cast<const sockaddr*>(static_cast<const void*>(&address)),
                   sizeof(address)) == 0;
}

}  // namespace

std::unique_ptr<NbdServer> NbdServer::start(std::vector<std::string> command, std::string socket) {
  const pid_t pid = spawn(command);
  if (pid < 0) return nullptr;
  auto server = std::make_unique<NbdServer>(pid, std::move(socket));
  // qemu-nbd serves one client unless it is told otherwise: look for the socket, do not connect
  // before it has had a moment to listen.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{10};
  while (std::chrono::steady_clock::now() < deadline) {
    if (fs::exists(server->socket_) && answers(server->socket_)) return server;
    std::this_thread::sleep_for(std::chrono::milliseconds{10});
  }
  return nullptr;
}

std::unique_ptr<NbdServer> NbdServer::nbdkit(const TempDir& in,
                                             const std::vector<std::string>& arguments) {
  const std::string socket = in / "nbd.sock";
  std::vector<std::string> command{"nbdkit", "-f", "--exit-with-parent", "-U", socket};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return start(std::move(command), socket);
}

std::unique_ptr<NbdServer> NbdServer::qemu_nbd(const TempDir& in,
                                               const std::vector<std::string>& arguments) {
  const std::string socket = in / "qemu.sock";
  std::vector<std::string> command{"qemu-nbd", "-t", "-e", "4", "-k", socket};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return start(std::move(command), socket);
}

void NbdServer::stop() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  ::unlink(socket_.c_str());
  pid_ = -1;
}

}  // namespace openvhd::test
