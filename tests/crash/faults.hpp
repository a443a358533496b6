/// Every command of every workload fails once, or from then on (RELIABILITY T04).
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "crash/workload.hpp"

namespace openvhd::test {

struct FaultResult {
  std::uint64_t runs = 0;      ///< Of a workload, each with one command that fails.
  std::uint64_t recovery = 0;  ///< Of a recovery.
  std::string failure;
  /// How often each place in the library was where the failure showed: by what its error says.
  std::map<std::string, std::uint64_t> sites;
};

/// One in `every` commands, beginning with the `from`th.
struct FaultOptions {
  std::uint64_t every = 1;
  std::uint64_t from = 0;
  std::uint64_t seed = 1;
};

FaultResult inject_faults(const Workload& workload, const FaultOptions& options);

}  // namespace openvhd::test
