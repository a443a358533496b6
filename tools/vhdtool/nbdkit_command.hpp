/// How nbdkit is started, and where its clients find it: pure functions.
#pragma once

#include <cstdint>
#include <openvhd/disk.hpp>
#include <optional>
#include <string>
#include <vector>

namespace vhdtool {

struct ServeOptions {
  std::vector<std::string> files = {};
  openvhd::OpenOptions open = {};  ///< Format, parents, direct; the access from `read_only`.
  bool read_only = false;
  std::string socket = {};                 ///< Of the Unix kind; or a port:
  std::optional<std::uint64_t> port = {};  ///< TCP, on `listen`.
  std::string listen = {};                 ///< Empty: the loopback address.
  std::string tls_certificates = {};       ///< A directory, as nbdkit wants it.
  std::string tls_psk = {};                ///< A file of keys.
  std::optional<std::uint64_t> threads = {};
};

/// What is wrong with the options, or empty.
std::string serve_problem(const ServeOptions& options);

/// The words to start nbdkit with; `plugin` is a path, or a name that nbdkit knows.
std::vector<std::string> nbdkit_command(const std::string& nbdkit, const std::string& plugin,
                                        const std::string& pid_file, const ServeOptions& options);

/// The name of the export of file number `index`: "" of a single one, else the name of the file.
std::string export_name(const ServeOptions& options, std::size_t index);

/// "nbd+unix:///disk.vhdx?socket=/run/disk.sock", "nbds://[::1]:10809/".
std::string export_uri(const ServeOptions& options, std::size_t index);

}  // namespace vhdtool
