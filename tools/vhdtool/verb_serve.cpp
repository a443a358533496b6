#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <openvhd/disk.hpp>

#include "child.hpp"
#include "console.hpp"
#include "nbdkit_command.hpp"
#include "shared_options.hpp"
#include "signals.hpp"
#include "text.hpp"
#include "verb.hpp"

namespace vhdtool {
namespace {

using openvhd::Access;
using std::chrono::milliseconds;

constexpr milliseconds kLook{20};
constexpr const char* kPlugin = "nbdkit-openvhd-plugin.so";

/// A folder for one file that nbdkit writes when it is ready.
class ReadyFolder {
 public:
  ReadyFolder() {
    std::error_code none;
    auto pattern = (std::filesystem::temp_directory_path(none) / "vhdtool-XXXXXX").string();
    if (::mkdtemp(pattern.data()) != nullptr) path_ = pattern;
  }
  ReadyFolder(const ReadyFolder&) = delete;
  ReadyFolder& operator=(const ReadyFolder&) = delete;
  ~ReadyFolder() {
    std::error_code none;
    if (!path_.empty()) std::filesystem::remove_all(path_, none);
  }
  bool made() const noexcept { return !path_.empty(); }
  std::string file() const { return path_ + "/pid"; }
  bool ready() const noexcept { return ::access(file().c_str(), F_OK) == 0; }

 private:
  std::string path_;
};

/// The plugin that belongs to this program: of the same build, of the same installation, or
/// whichever nbdkit knows.
std::string plugin() {
  std::error_code none;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", none).parent_path();
  for (const char* folder : {"../nbdkit", VHDTOOL_PLUGIN_FOLDER}) {
    const auto file = (self / folder / kPlugin).lexically_normal().string();
    if (::access(file.c_str(), R_OK) == 0) return file;
  }
  return "openvhd";
}

/// The last line of several, without the name of the program that said it.
std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  text = text.substr(text.rfind('\n') + 1);
  constexpr std::string_view kError = "error: ";
  const auto at = text.find(kError);
  return at == std::string::npos ? text : text.substr(at + kError.size());
}

class Serve : public Verb {
 public:
  VerbText text() const override {
    return {
        .name = "serve",
        .summary = "Serves disks over NBD.",
        .description =
            {"Starts nbdkit with the plugin of this package, and goes on until it is told to stop "
             "by SIGINT or SIGTERM, which closes the images. Prints the URI of each disk once "
             "clients may come; any number may, at once, and each sees what the others write.",
             "One image is the default export; several are exports by the names of their files. "
             "Without --listen only this machine reaches a --port; whoever may connect may read "
             "and write: --tls-certificates or --tls-psk keep others out.",
             "Clients are the kernel (nbd-client), QEMU, libnbd's tools and vhdtool convert."},
        .examples = {{"vhdtool serve disk.vhdx --socket /run/disk.sock", "For this machine."},
                     {"vhdtool serve disk.vhdx --read-only --port 10809 --listen 192.0.2.7",
                      "For others, who cannot change it."},
                     {"nbdcopy 'nbd+unix:///?socket=/run/disk.sock' disk.raw", "A client."}}};
  }

  void declare(Arguments& arguments) override {
    arguments.positional({.name = "IMAGE", .help = "The images."}, files_into(options_.files));
    arguments.option({.name = "--socket",
                      .value = "PATH",
                      .help = "Listens on a Unix socket, which it makes and removes."},
                     file_into(options_.socket));
    arguments.option({.name = "--port", .value = "N", .help = "Listens on a TCP port."},
                     number_into(options_.port));
    arguments.option({.name = "--listen",
                      .value = "ADDR",
                      .help = "The address for --port. The loopback address without it."},
                     text_into(options_.listen));
    arguments.option({.name = "--read-only",
                      .letter = 'r',
                      .help = "Clients cannot write, and other readers may have the images open."},
                     flag_into(options_.read_only));
    arguments.option({.name = "--threads",
                      .value = "N",
                      .help = "Requests of one client under way at once, 1 to 64. 16 without it."},
                     number_into(options_.threads));
    arguments.option({.name = "--tls-certificates",
                      .value = "DIR",
                      .help = "Demands TLS, with the certificates in DIR (nbdkit-tls(1))."},
                     file_into(options_.tls_certificates));
    arguments.option({.name = "--tls-psk",
                      .value = "FILE",
                      .help = "Demands TLS, with the shared keys in FILE (nbdkit-tls(1))."},
                     file_into(options_.tls_psk));
    arguments.option({.name = "--direct", .help = "Bypasses the page cache where the host allows."},
                     flag_into(options_.open.direct));
    declare_format(arguments, options_.open.format);
    declare_parents(arguments, options_.open.parents);
    declare_json(arguments, json_);
  }

  ExitCode run(Console& console) override {
    if (json_) console.use_json();
    if (const auto problem = serve_problem(options_); !problem.empty())
      return console.usage("serve: " + problem);
    // What is printed is for clients in other folders.
    std::error_code none;
    if (!options_.socket.empty())
      options_.socket = std::filesystem::absolute(options_.socket, none).string();
    const auto nbdkit = program_path("nbdkit");
    if (nbdkit.empty()) {
      return console.fail("serve: nbdkit is not installed (Debian: apt-get install nbdkit)",
                          "not-found", ExitCode::not_found);
    }
    if (const auto code = look_at_images(console); code != ExitCode::ok) return code;
    const ReadyFolder folder;
    if (!folder.made())
      return broken(console, std::string{"a temporary folder: "} + std::strerror(errno));
    auto server = Child::start(nbdkit_command(nbdkit, plugin(), folder.file(), options_));
    if (!server) return broken(console, nbdkit + ": " + std::strerror(errno));
    while (!folder.ready()) {
      const bool alive = server->wait(kLook);
      if (!alive) return refused(console, *server);
      if (interrupted()) return stopped(console, *server);
    }
    report(console, server->pid());
    return serve(console, *server);
  }

 private:
  static ExitCode broken(Console& console, const std::string& why) {
    return console.fail("serve: " + why, "io", ExitCode::io);
  }

  /// What is wrong with an image is told as every verb tells it. nbdkit opens them once more.
  ExitCode look_at_images(Console& console) {
    options_.open.access = options_.read_only ? Access::read_only : Access::read_write;
    for (const auto& file : options_.files) {
      openvhd::OpenReport report;
      options_.open.report = &report;
      auto disk = openvhd::Disk::open(file, options_.open);
      options_.open.report = nullptr;
      if (!disk) return console.fail(failure_of(disk.error(), report, file));
      console.notes(report.notes);
      sizes_.push_back(disk->geometry().virtual_size);
      if (const auto closed = disk->close(); !closed)
        return console.fail(failure_of(closed.error(), report, file));
    }
    return ExitCode::ok;
  }

  ExitCode refused(Console& console, Child& server) const {
    const auto line = last_line(server.take_errors());
    return broken(console, line.empty()
                               ? fmt::format("nbdkit ended with exit code {}", server.exit_code())
                               : "nbdkit: " + line);
  }

  static ExitCode stopped(Console& console, Child& server) {
    server.send(SIGTERM);
    while (server.wait(kLook)) {
    }
    return console.fail("serve: stopped before it began", "cancelled", ExitCode::cancelled);
  }

  void report(Console& console, pid_t pid) const {
    Json exports = Json::array();
    std::string lines;
    for (std::size_t i = 0; i < options_.files.size(); ++i) {
      exports.push_back({{"name", export_name(options_, i)},
                         {"file", options_.files[i]},
                         {"uri", export_uri(options_, i)},
                         {"virtual_size", sizes_[i]},
                         {"read_only", options_.read_only}});
      lines +=
          fmt::format("{}: {}\n", printable(options_.files[i]), printable(export_uri(options_, i)));
    }
    if (json_) {
      console.print_json({{"schema", kJsonSchema}, {"pid", pid}, {"exports", exports}});
    } else {
      console.print(lines);
    }
    console.flush();
  }

  ExitCode serve(Console& console, Child& server) const {
    bool told = false;
    while (server.wait(milliseconds{500})) {
      for (const auto& line : lines_of(server.take_errors())) console.error_line(printable(line));
      if (interrupted() && !told) server.send(SIGTERM);
      told = told || interrupted();
    }
    for (const auto& line : lines_of(server.take_errors())) console.error_line(printable(line));
    if (!options_.socket.empty()) ::unlink(options_.socket.c_str());
    if (server.exit_code() == 0) return ExitCode::ok;
    return broken(console, fmt::format("nbdkit ended with exit code {}", server.exit_code()));
  }

  static std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < text.size();) {
      const auto end = std::min(text.find('\n', at), text.size());
      lines.push_back(text.substr(at, end - at));
      at = end + 1;
    }
    return lines;
  }

  ServeOptions options_;
  std::vector<std::uint64_t> sizes_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> serve_verb() { return std::make_unique<Serve>(); }

}  // namespace vhdtool
