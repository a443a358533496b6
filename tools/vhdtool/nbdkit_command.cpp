#include "nbdkit_command.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace vhdtool {
namespace {

constexpr const char* kLoopback = "127.0.0.1";

/// What may stand in a path or a query of a URI stays, all else becomes %XX.
std::string escaped(const std::string& text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
  std::string out;
  for (const char c : text) {
    if (kPlain.find(c) != std::string_view::npos) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    }
  }
  return out;
}

std::string name_of(const std::string& file) { return file.substr(file.rfind('/') + 1); }

bool with_tls(const ServeOptions& options) {
  return !options.tls_certificates.empty() || !options.tls_psk.empty();
}

void add_parents(std::vector<std::string>& words, const openvhd::ParentPolicy& parents) {
  for (const auto& folder : parents.parent_dirs) words.push_back("parent-dir=" + folder);
  for (const auto& parent : parents.chain) {
    const bool raw = parent.format == openvhd::Format::raw;
    words.push_back((raw ? "raw-parent=" : "parent=") + parent.path);
  }
  if (parents.cross_device) words.emplace_back("cross-device=true");
  for (const auto owner : parents.trusted_owners)
    words.push_back(fmt::format("trust-owner={}", owner));
}

}  // namespace

std::string serve_problem(const ServeOptions& options) {
  if (options.socket.empty() == !options.port)
    return "one of --socket and --port is needed, and not both";
  if (options.port && (*options.port < 1 || *options.port > 65535)) return "--port is 1 to 65535";
  if (!options.listen.empty() && !options.port) return "--listen is for --port";
  if (options.threads && (*options.threads < 1 || *options.threads > 64))
    return "--threads is 1 to 64";
  if (!options.tls_certificates.empty() && !options.tls_psk.empty())
    return "--tls-certificates and --tls-psk contradict each other";
  std::vector<std::string> names;
  for (std::size_t i = 0; i < options.files.size(); ++i) names.push_back(export_name(options, i));
  std::ranges::sort(names);
  const auto twice = std::ranges::adjacent_find(names);
  if (twice != names.end()) return fmt::format("two images have the name '{}'", *twice);
  return {};
}

std::vector<std::string> nbdkit_command(const std::string& nbdkit, const std::string& plugin,
                                        const std::string& pid_file, const ServeOptions& options) {
  std::vector<std::string> words{nbdkit, "--foreground", "--exit-with-parent", "--pidfile",
                                 pid_file};
  if (!options.socket.empty()) {
    words.insert(words.end(), {"--unix", options.socket});
  } else {
    words.insert(words.end(), {"--ipaddr", options.listen.empty() ? kLoopback : options.listen,
                               "--port", std::to_string(*options.port)});
  }
  if (options.read_only) words.emplace_back("--readonly");
  if (options.threads) words.insert(words.end(), {"--threads", std::to_string(*options.threads)});
  if (!options.tls_certificates.empty())
    words.insert(words.end(), {"--tls=require", "--tls-certificates=" + options.tls_certificates});
  if (!options.tls_psk.empty())
    words.insert(words.end(), {"--tls=require", "--tls-psk=" + options.tls_psk});
  words.push_back(plugin);
  for (const auto& file : options.files) words.push_back("file=" + file);
  if (options.read_only) words.emplace_back("readonly=true");
  if (options.open.direct) words.emplace_back("direct=true");
  if (options.open.format)
    words.push_back(std::string{"format="} + openvhd::to_string(*options.open.format));
  add_parents(words, options.open.parents);
  return words;
}

std::string export_name(const ServeOptions& options, std::size_t index) {
  return options.files.size() == 1 ? std::string{} : name_of(options.files[index]);
}

std::string export_uri(const ServeOptions& options, std::size_t index) {
  const std::string scheme = with_tls(options) ? "nbds" : "nbd";
  const auto name = escaped(export_name(options, index));
  if (!options.socket.empty())
    return fmt::format("{}+unix:///{}?socket={}", scheme, name, escaped(options.socket));
  const auto& address = options.listen.empty() ? std::string{kLoopback} : options.listen;
  const bool brackets = address.find(':') != std::string::npos;
  return fmt::format("{}://{}{}{}:{}/{}", scheme, brackets ? "[" : "", address, brackets ? "]" : "",
                     *options.port, name);
}

}  // namespace vhdtool
