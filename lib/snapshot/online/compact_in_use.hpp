/// A shorter file for a disk in use.
#pragma once

#include <openvhd/compact.hpp>

#include "snapshot/chain_files.hpp"
#include "snapshot/online/pace.hpp"

namespace openvhd::snapshot {

/// Moves blocks of the leaf towards the beginning of its file, and cuts it off. Nobody else changes
/// layers meanwhile. Errors: see openvhd::compact().
Result<CompactResult> compact_in_use(const Workshop& shop, detail::DiskState& disk,
                                     const Pace& pace);

}  // namespace openvhd::snapshot
