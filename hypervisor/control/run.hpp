/// `vhdvmm run`: opens what was named, runs the machine, and says how it ended.
#pragma once

#include "control/exit_code.hpp"
#include "control/run_options.hpp"

namespace openvhd::vmm {

/// One line to standard error for a failure, naming option, file and reason. SIGINT and SIGTERM end
/// the guest at once; images are closed in order whatever happens.
ExitCode run_guest(const RunOptions& options);

}  // namespace openvhd::vmm
