/// The words of vhdvmm.
#pragma once

#include "control/exit_code.hpp"

namespace openvhd::vmm {

/// Parses, does what was asked, prints reports to standard output and one line for a failure to
/// standard error.
ExitCode run_command_line(int argc, const char* const* argv);

}  // namespace openvhd::vmm
