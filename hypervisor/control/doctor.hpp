/// `vhdvmm doctor`: what this host can do for guests, and what to do about what it cannot.
#pragma once

#include <string>
#include <vector>

#include "control/exit_code.hpp"

namespace openvhd::vmm {

struct Finding {
  enum class State : std::uint8_t {
    good,
    limited,  ///< Guests run, with less.
    missing,  ///< Guests do not run.
  };
  std::string what;  ///< Short and stable: "kvm", "seabios", "io_uring".
  State state{};
  std::string found;   ///< One line.
  std::string advice;  ///< What to do; empty where nothing is to be done.
};

/// Looks at the host: opens /dev/kvm, runs a guest of three instructions, makes a small image in
/// TMPDIR and removes it. Takes well below a second.
std::vector<Finding> examine_host();

std::string doctor_text(const std::vector<Finding>& findings);
/// One document: docs/vhdvmm.md has the schema.
std::string doctor_json(const std::vector<Finding>& findings);
/// `missing` when a finding is.
ExitCode doctor_code(const std::vector<Finding>& findings) noexcept;

}  // namespace openvhd::vmm
