/// What nbdkit's command line says to the plugin: KEY=VALUE, in any order.
#pragma once

#include <openvhd/disk.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace openvhd::nbd {

/// The keys, one line each, for `nbdkit --help openvhd`.
extern const char kKeys[];

struct Settings {
  std::vector<std::string> files{};
  OpenOptions open{.access = Access::read_write};

  /// Takes one key. What is wrong with it, or empty.
  std::string take(std::string_view key, const std::string& value);
  /// Once all are taken. What is wrong with them together, or empty.
  std::string problem() const;
};

/// The name of the export of each file: "" of a single one, else the names of the files.
std::vector<std::string> export_names(const std::vector<std::string>& files);

}  // namespace openvhd::nbd
